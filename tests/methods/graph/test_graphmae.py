"""GraphMAE: the error by hand, what is hidden and re-masked, and the decoder against PyG's attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.methods.graph import encoders
from vergence.methods.graph.graphmae import Attention, GraphMAE, scaled_cosine_error
from vergence.methods.graph.views import with_x

CONTRACT = {
    "kinds": ("", "graphs"),
    "learn graph": {"epochs": 300},
    "exempt": {
        "two": "views of a whole batch of graphs, drawn by chance, cannot be divided",
        "labels": "80 steps gain little on graphs this small (87 %, untrained 88)",
    },
}


def source(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.random((n, 12)) < 0.4).astype(np.float32)
    x[:, 0] = 1
    graph, _ = build(Edges(rng.integers(0, n, (2, 4 * n)), n), "test", x=x)
    return NodeSource(graph, "test")


def method(kind="gat", src=None, **options):
    torch.manual_seed(0)
    more = {"heads": 2} if kind == "gat" else {}
    return GraphMAE(encoders.for_source(src or source(), kind, width=8, **more), **options)


def test_the_error_by_hand():
    guess = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1.0]])
    truth = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    by_hand = (0 + 1 + 2**3 + (1 - 0.5**0.5) ** 3) / 4
    assert scaled_cosine_error(guess, truth, gamma=3.0).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_error_is_zero_only_of_one_direction_and_knows_no_length():
    guess, truth = torch.randn(9, 5), torch.randn(9, 5)
    assert scaled_cosine_error(guess, 4 * guess, gamma=2.0) < 1e-10
    error = scaled_cosine_error(guess, truth, gamma=2.0)
    torch.testing.assert_close(scaled_cosine_error(7 * guess, 0.1 * truth, gamma=2.0), error)
    assert error > 0.1
    assert scaled_cosine_error(guess[:0], truth[:0], gamma=2.0) == 0


def test_half_of_the_nodes_are_hidden_and_a_few_of_them_show_another_node():
    src = source(200)
    graph = src.whole_graph()
    view = method(src=src, mask_ratio=0.5, replace=0.1).views(graph)
    assert len(view.hidden) == 100 and len(view.blank) == 90
    assert len(set(view.hidden.tolist())) == 100 and set(view.blank.tolist()) <= set(view.hidden.tolist())
    assert (view.x[view.blank] == 0).all()
    seen = torch.ones(200, dtype=torch.bool).index_fill(0, view.hidden, False)
    assert torch.equal(view.x[seen], graph.x[seen])
    swapped = view.hidden[:10]
    assert all((row == graph.x).all(dim=1).any() for row in view.x[swapped])
    assert torch.equal(view.truth, graph.x)


def test_a_guess_does_not_depend_on_what_is_asked_for():
    """Neither hidden features nor hidden codes reach the loss: with another truth, the guesses stay."""
    src = source()
    model = method(src=src, replace=0.0).eval()
    guesses = []
    model.error = lambda guess, truth: guesses.append(guess) or guess.sum()
    view = model.views(src.whole_graph())
    model.loss(view)
    other = view.clone()
    other.truth = view.truth.index_add(0, view.hidden, torch.ones(len(view.hidden), 12))
    model.loss(other)
    assert torch.equal(guesses[0], guesses[1])


def test_hidden_codes_are_masked_again_after_the_bridge():
    z = torch.ones(4, 3)
    assert method().remask(z, torch.tensor([1, 3])).tolist() == [[1] * 3, [0] * 3, [1] * 3, [0] * 3]
    src, seen = source(), []
    model = method(src=src)
    model.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    view = model.views(src.whole_graph())
    model.loss(view)
    assert (seen[0][view.hidden] == 0).all() and seen[0].abs().sum() > 0


def test_only_hidden_seeds_with_features_are_asked_for():
    src = source()
    graph = src.whole_graph()
    graph.x = graph.x.clone()
    graph.x[:20] = 0
    graph.seeds = torch.arange(10, 40)
    model = method(src=src)
    view = model.views(graph)
    masked = set(model.masked_nodes(view).tolist())
    assert masked == set(view.hidden.tolist()) & set(range(20, 40)) and masked


def test_the_decoder_is_graph_attention_of_one_head():
    from torch_geometric.nn import GATConv

    torch.manual_seed(0)
    ours, theirs, src = Attention(6, 9), GATConv(6, 9, heads=1), source()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.lift.weight)
        theirs.bias.copy_(ours.lift.bias.uniform_())
        theirs.att_src.copy_(ours.ends[0].view(1, 1, 9))
        theirs.att_dst.copy_(ours.ends[1].view(1, 1, 9))
    z, edges, rows = torch.randn(60, 6), src.data.edge_index, torch.tensor([5, 2, 59])
    torch.testing.assert_close(ours(z, edges, rows), theirs(z, edges)[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gat", "gcn", "gin"])
def test_every_part_learns_and_the_error_falls(kind):
    src = source()
    model = method(kind, src=src, dropout=0.0)
    optimizer, errors = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(40):
        loss = model.loss(model.views(src.whole_graph()))["features"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])
    assert model.token.abs().sum() > 0


def test_the_token_stands_where_nothing_is_shown():
    src = source()
    model = method(src=src, replace=0.0)
    with torch.no_grad():
        model.token.fill_(5.0)
    seen, plain = [], model.encoder.nodes
    model.encoder.nodes = lambda graph: seen.append(graph.x) or plain(graph)
    view = model.views(src.whole_graph())
    model.loss(view)
    assert (seen[0][view.hidden] == 5).all()
    assert (view.x[view.hidden] == 0).all()
    assert torch.equal(with_x(view, view.truth).x, src.x)


def test_it_learns_from_sampled_neighbourhoods(tmp_path):
    run = vergence.learn(
        "graphmae", source(), encoder_options={"width": 8, "heads": 2}, epochs=2, batch_size=16,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert vergence.load(tmp_path / "run").out_dim == run.encoder.out_dim == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [({"mask_ratio": 0.0}, "mask_ratio"), ({"replace": 1.0}, "replace"), ({"gamma": 0.5}, "gamma")],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(BadInput, match=said):
        method(**options)


def test_an_encoder_without_node_vectors_is_refused():
    with pytest.raises(BadInput, match="answers for nodes"):
        GraphMAE(encoders.Table(torch.zeros(3, 2)))
