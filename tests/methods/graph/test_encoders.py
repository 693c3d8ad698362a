import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.pyg import Data
from vergence.data.graph.source import GraphsSource, NodeSource
from vergence.methods.graph import encoders


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    graph, _ = build(Edges(rng.integers(0, 60, (2, 200)), 60), "t", x=rng.random((60, 5)))
    return NodeSource(graph, "t")


@pytest.mark.parametrize("name", encoders.LAYERS)
def test_every_kind_answers_for_nodes_and_is_made_again_from_its_spec(name, source):
    encoder = encoders.for_source(source, name, width=8).eval()
    batch = source.whole_graph()
    assert encoder(batch).pooled.shape == (60, encoder.out_dim) == (60, 8)
    again = encoders.build(**encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(batch).pooled, encoder(batch).pooled)


@pytest.mark.parametrize("name", encoders.LAYERS)
def test_each_layer_is_pygs_with_the_same_weights(name, source):
    from torch_geometric import nn as pyg

    torch.manual_seed(0)
    ours = encoders.LAYERS[name](5, 8, **({"heads": 2} if name == "gat" else {}))
    theirs = {
        "gcn": lambda: pyg.GCNConv(5, 8),
        "gat": lambda: pyg.GATConv(5, 4, heads=2),
        "sage": lambda: pyg.SAGEConv(5, 8),
        "gin": lambda: pyg.GINConv(ours.nn),
    }[name]()
    weights = dict(ours.state_dict())
    if name == "gat":
        weights["att_src"], weights["att_dst"] = weights.pop("ends").unsqueeze(1)
    theirs.load_state_dict(weights, strict=name != "gin")  # which keeps its eps of 0
    edges, weight = source.data.edge_index, torch.rand(source.data.num_edges)
    more = (weight,) if name == "gcn" else ()
    result = ours(source.x, ours.links(edges, 60, *more))
    torch.testing.assert_close(result, theirs(source.x, edges, *more), rtol=1e-4, atol=1e-5)


def test_gcn_is_kipf_and_wellings_formula():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    encoder = encoders.build("gcn", in_dim=2, width=3, layers=1, act="none", bias=False)
    x = torch.randn(3, 2)
    A = torch.eye(3)
    A[edges[0], edges[1]] = 1
    scale = A.sum(1).rsqrt()
    want = scale[:, None] * A * scale @ x @ encoder.convs[0].lin.weight.T
    torch.testing.assert_close(encoder(Data(x=x, edge_index=edges)).pooled, want)


def test_pooled_are_the_seeds(source):
    encoder = encoders.for_source(source, "gcn", width=8).eval()
    part = source.subset([7, 3])
    batch = part.whole_graph()
    assert torch.equal(encoder(batch).pooled, encoder.nodes(batch)[[7, 3]])
    assert batch.index.tolist() == [0, 1]


def test_a_sampled_neighbourhood_with_all_neighbours_gives_the_whole_graphs_vectors(source):
    encoder = encoders.for_source(source, "sage", width=8).eval()
    source.fanouts = (-1, -1)
    few = np.array([9, 4, 30])
    near = source.around(few)
    assert near.num_nodes <= 60 and near.node[:3].tolist() == [9, 4, 30]
    torch.testing.assert_close(encoder(near).pooled, encoder(source.whole_graph()).pooled[[9, 4, 30]])


def test_batches_of_nodes_cover_an_epoch_and_repeat_by_their_seed(source):
    def epoch(number):
        return [
            b.index.tolist() for b in source.loader(16, shuffle=True, seed=1, epoch=number, drop_last=True)
        ]

    assert epoch(0) == epoch(0) != epoch(1)
    assert len({i for batch in epoch(0) for i in batch}) == 48
    (whole,) = source.loader(60, shuffle=True)
    assert whole.get("seeds") is None and whole.num_nodes == 60


def test_attention_is_what_gat_weighs_its_neighbours_by(source):
    encoder = encoders.for_source(source, "gat", width=8, heads=2, act="none").eval()
    graph = source.whole_graph()
    layers = encoder.attention(graph)
    assert len(layers) == 2
    x = graph.x
    for conv, (edges, shares) in zip(encoder.convs, layers, strict=True):
        summed = torch.zeros(len(x), 2).index_add(0, edges[1], shares)
        torch.testing.assert_close(summed, torch.ones_like(summed))
        heard = conv.lin(x).unflatten(1, (2, 4))[edges[0]] * shares[..., None]
        x = torch.zeros(len(x), 2, 4).index_add(0, edges[1], heard).flatten(1) + conv.bias
    torch.testing.assert_close(x, encoder.nodes(graph))
    assert encoders.for_source(source, "gcn").attention(graph) == []


def test_readouts_do_not_cross_graphs():
    pairs = np.array([[0, 2, 3], [1, 3, 4]])
    every, _ = build(Edges(pairs, 5), "two", x=np.arange(10.0).reshape(5, 2))
    batch = GraphsSource(every, np.array([0, 2, 5]), "two").batch(np.array([1, 0]))
    h = batch.x
    assert torch.equal(encoders.read_out(h, batch, "sum"), torch.tensor([[18.0, 21.0], [2.0, 4.0]]))
    assert torch.equal(encoders.read_out(h, batch, "mean"), torch.tensor([[6.0, 7.0], [1.0, 2.0]]))
    assert torch.equal(encoders.read_out(h, batch, "max"), torch.tensor([[8.0, 9.0], [2.0, 3.0]]))


def test_gin_of_graphs_joins_all_layers():
    encoder = encoders.build("gin", in_dim=4, width=32, layers=3, readout="sum")
    assert encoder.out_dim == 96


def test_a_table_answers_with_the_nodes_of_the_whole_graph(source):
    table = encoders.Table(torch.randn(60, 3))
    assert torch.equal(table(source.around(np.array([5, 8]))).pooled, table.vectors[[5, 8]])
    assert torch.equal(table(source.subset([2]).whole_graph()).pooled, table.vectors[[2]])


@pytest.mark.parametrize("rows", [59, 61])
def test_a_table_does_not_answer_for_another_graph(source, rows):
    table = encoders.Table(torch.randn(rows, 3))
    for batch in (source.whole_graph(), source.around(np.array([5, 8]))):
        with pytest.raises(BadInput, match=f"knows the {rows} samples .* here are 60; learn from these"):
            table(batch)


def test_a_table_of_graphs_does_not_answer_for_some_of_them():
    every = Data(x=torch.zeros(3, 1), edge_index=torch.zeros(2, 0, dtype=torch.long))
    shapes = GraphsSource(every, np.arange(4), "three")
    table = encoders.Table(torch.randn(3, 2))
    assert torch.equal(table(shapes.batch(np.array([2, 0]))).pooled, table.vectors[[2, 0]])
    with pytest.raises(BadInput, match="knows the 3 samples .* here are 2"):
        table(shapes.subset([1, 2]).batch(np.array([0])))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "gnc"}, "did you mean .* 'gcn'"),
        ({"name": "gcn", "heads": 2}, "Unknown option of gcn"),
        ({"name": "gat", "width": 10}, "4 heads divide"),
        ({"name": "gcn", "act": "rleu"}, "did you mean 'relu'"),
        ({"name": "os:system"}, "your own os:system: pass it again, .* does not choose what code is loaded"),
    ],
)
def test_wrong_wishes_are_answered_in_one_line(options, said):
    with pytest.raises(BadInput, match=said):
        encoders.build(**{"in_dim": 4, **options})


def test_graphs_have_no_size_in_pixels():
    with pytest.raises(BadInput, match="no size in pixels"):
        encoders.for_source(vergence.open("karate"), size=32)


def test_other_features_than_it_was_built_for_are_said(source):
    with pytest.raises(BadInput, match="built for 9 node features; the graph has 5"):
        encoders.build("gcn", in_dim=9)(source.whole_graph())
