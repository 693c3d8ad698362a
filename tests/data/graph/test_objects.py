"""Graphs in memory: of networkx and of PyG, one or several."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData, InMemoryDataset

import vergence
from vergence.core import BadInput


def ring(nodes=6, **more):
    nodes_of = torch.arange(nodes)
    edges = torch.stack([nodes_of, (nodes_of + 1) % nodes])
    return Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=nodes, **more)


def karate():
    return nx.karate_club_graph()


def test_a_graph_of_networkx_is_the_same_as_its_file(tmp_path):
    nx.write_gml(karate(), tmp_path / "karate.gml")
    read, held = vergence.open(tmp_path / "karate.gml"), vergence.open(karate())
    assert held.classes == read.classes and held.labels.tolist() == read.labels.tolist()
    assert torch.equal(held.data.edge_index, read.data.edge_index)
    assert torch.equal(held.data.edge_weight, read.data.edge_weight)
    assert held.names == read.names and held.uri == "memory:graph"


def test_attributes_of_networkx_are_features_and_the_label_that_is_named():
    graph = nx.path_graph(4)
    for node in graph:
        graph.nodes[node].update(size=np.int64(node), kind="ab"[node % 2], word=f"w{node}")
    graph.nodes[3].pop("kind")
    source = vergence.open(graph, label="kind")
    assert source.labels.tolist() == [0, 1, 0, -1] and source.classes == ["a", "b"]
    assert source.data.x.tolist() == [[0], [1], [2], [3]]
    assert "left out word" in source.reading


def test_a_graph_of_pyg_keeps_features_labels_and_its_split():
    mask = torch.arange(6)
    masks = {"train_mask": mask < 2, "val_mask": mask == 2, "test_mask": mask > 2}
    graph = ring(x=torch.arange(12.0).reshape(6, 2), y=torch.tensor([0, 1, 0, 1, 0, 1]), **masks)
    source = vergence.open(graph)
    assert (len(source), source.in_dim, source.labels.tolist()) == (6, 2, [0, 1, 0, 1, 0, 1])
    assert not source.directed and source.data.num_edges == 12
    (split,) = source.splits("public")
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1], [2], [3, 4, 5])
    batch = next(source.loader(6))
    assert torch.equal(batch.x, graph.x)
    one_way = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=3)
    assert vergence.open(one_way).directed and vergence.open(one_way).data.num_edges == 2


def test_several_graphs_are_a_set_of_them():
    graphs = [ring(n, x=torch.full((n, 2), float(n)), y=torch.tensor([n % 2])) for n in (3, 4, 5)]
    source = vergence.open(graphs)
    assert (source.grain, len(source), source.labels.tolist()) == ("graphs", 3, [1, 0, 1])
    for i, graph in enumerate(graphs):
        assert torch.equal(source.sample(i).x, graph.x)
        assert source.sample(i).num_edges == graph.num_edges
    networks = [nx.cycle_graph(n) for n in (3, 4, 5)]
    for network, name in zip(networks, ("odd", "even", "odd"), strict=True):
        network.graph["label"] = name
    drawn = vergence.open(networks)
    assert (drawn.labels.tolist(), drawn.classes) == ([1, 0, 1], ["even", "odd"])
    assert [drawn.sample(i).num_nodes for i in range(3)] == [3, 4, 5]


class Set(InMemoryDataset):
    def __init__(self, graphs):
        super().__init__()
        self.data, self.slices = self.collate(graphs)


def test_data_sets_of_pyg_are_their_graphs_and_a_set_of_one_its_nodes():
    assert len(vergence.open(Set([ring(n) for n in (3, 4)]))) == 2
    assert vergence.open(Set([ring(y=torch.arange(6) % 2)])).grain == "nodes"


def test_a_graph_in_memory_is_learned_from_embedded_and_measured(tmp_path):
    graph = karate()
    run = vergence.learn("grace", graph, epochs=2, out=tmp_path / "run", quiet=True)
    assert len(vergence.embed(run, graph, tmp_path / "s.lance")) == 34
    assert "learned" in vergence.measure(run, graph, protocols=["knn"], quiet=True).rows


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (nx.empty_graph(3), "a graph of 3 nodes without edges; there is nothing to learn from"),
        (Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=3), "3 nodes without edges"),
        (Data(x=torch.zeros(3, 2)), r"needs edge_index \(2, E\); got NoneType"),
        (Data(edge_index=torch.zeros(3, 4, dtype=torch.long)), r"edge_index \(2, E\); got \(3, 4\)"),
        (
            Data(edge_index=torch.tensor([[0], [7]]), num_nodes=3),
            "joins nodes 0 and 7, but there are 3 nodes",
        ),
        (ring(x=torch.full((6, 1), torch.nan)), "are not finite numbers"),
        (ring(x=torch.zeros(4, 1)), r"features x \(N, F\) of its 6 nodes; got \(4, 1\)"),
        (ring(edge_weight=torch.ones(3)), "3 edge_weight for 12 edges"),
        ([ring(x=torch.zeros(6, 1)), ring(x=torch.zeros(6, 2))], "as many features each; these have 1 and 2"),
        ([ring(), ring(x=torch.zeros(6, 2))], "these have 2 and none"),
        ([nx.empty_graph(2)], "2 nodes without edges"),
        (HeteroData(), "nodes of several types"),
    ],
)
def test_what_is_no_graph_to_learn_from_is_one_line(data, said):
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(data)
    assert "\n" not in str(error.value)


def test_labels_are_where_each_library_has_them():
    with pytest.raises(BadInput, match="Unknown attribute of the nodes of memory:graph 'clubb'; .* 'club'"):
        vergence.open(karate(), label="clubb")
    with pytest.raises(BadInput, match="The labels of a PyG graph are its y; leave label out"):
        vergence.open(ring(), label="y")
