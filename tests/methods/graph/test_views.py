import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph import augment
from vergence.methods.graph.views import KINDS, drop_edges, mask_columns, shuffle_features


@pytest.fixture
def graph():
    rng, n = np.random.default_rng(0), 200
    pairs = rng.integers(0, n, (2, 3000))
    values = {"edge_attr": rng.random((3000, 2))}
    graph, _ = build(Edges(pairs, n, values), "t", x=rng.random((n, 50)) + 1)
    return graph


@pytest.fixture
def batch():
    """40 rings of 10 nodes with two features and a value an edge."""
    ring = np.stack([np.arange(10), (np.arange(10) + 1) % 10])
    pairs = np.concatenate([ring + 10 * i for i in range(40)], axis=1)
    x = np.random.default_rng(0).random((400, 2))
    every, _ = build(Edges(pairs, 400, {"edge_attr": np.arange(400.0)[:, None]}), "rings", x=x)
    return GraphsSource(every, np.arange(0, 401, 10), "rings").batch(np.arange(40))


def test_edges_fall_one_by_one_with_their_values(graph):
    torch.manual_seed(0)
    view = drop_edges(graph, 0.3)
    known = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_attr.tolist(), strict=True))
    seen = dict(zip(map(tuple, view.edge_index.T.tolist()), view.edge_attr.tolist(), strict=True))
    assert all(known[pair] == value for pair, value in seen.items())
    assert 1 - len(seen) / len(known) == pytest.approx(0.3, abs=0.03)
    one_way = sum((b, a) not in seen for a, b in seen)
    assert one_way / len(seen) == pytest.approx(0.3, abs=0.05)  # the other direction falls on its own
    assert torch.equal(drop_edges(graph, 0.0).edge_index, graph.edge_index)


def test_columns_are_zero_for_all_nodes_or_for_none(graph):
    torch.manual_seed(0)
    zero = mask_columns(graph, 0.4).x == 0
    assert ((zero.all(0)) | (~zero.any(0))).all()
    assert 0.2 < zero.all(0).float().mean() < 0.6
    assert (graph.x != 0).all()


def test_shuffling_moves_whole_rows(graph):
    torch.manual_seed(0)
    moved = shuffle_features(graph)
    assert not torch.equal(moved.x, graph.x)
    assert torch.equal(moved.x.sort(0).values, graph.x.sort(0).values)
    assert torch.equal(moved.edge_index, graph.edge_index)


def test_the_two_views_lose_what_each_is_to_lose(graph):
    torch.manual_seed(0)
    first, second = KINDS["pair"](drop_edges=(0.0, 0.5), mask_columns=(0.0, 0.0))(graph)
    assert first.num_edges == graph.num_edges
    assert second.num_edges / graph.num_edges == pytest.approx(0.5, abs=0.05)
    for wrong in (1.0, (0.1, 0.2, 0.3), -0.1):
        with pytest.raises(BadInput, match="drop_edges"):
            KINDS["pair"](drop_edges=wrong)
    with pytest.raises(BadInput, match="did you mean 'drop_nodes'"):
        KINDS["pair"](augment=["drop_node"])


def test_lowest_marks_so_many_in_every_group():
    score = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0])
    marked = augment.lowest(score, torch.tensor([0, 0, 0, 1, 1]), torch.tensor([2, 1]))
    assert marked.tolist() == [False, True, True, False, True]


def fits(view):
    sizes = torch.bincount(view.batch, minlength=40)
    assert torch.equal(view.ptr, torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)]))
    assert len(view.x) == len(view.batch) == view.num_nodes == int(view.ptr[-1])
    a, b = view.edge_index
    assert torch.equal(view.batch[a], view.batch[b])
    assert len(view.edge_attr) == view.edge_index.shape[1]
    return sizes


@pytest.mark.parametrize("name", augment.AUGMENTS)
def test_only_chosen_graphs_change(name, batch):
    torch.manual_seed(0)
    chosen = torch.arange(40) < 20
    view = augment.AUGMENTS[name](batch, chosen, 0.3)
    fits(view)
    kept = view.ptr[20]
    assert torch.equal(view.x[kept:], batch.x[200:])
    late = view.edge_index[:, view.edge_index[0] >= kept] - kept
    assert torch.equal(late, batch.edge_index[:, batch.edge_index[0] >= 200] - 200)
    same = view.num_nodes == batch.num_nodes and torch.equal(view.x, batch.x)
    assert (same and torch.equal(view.edge_index, batch.edge_index)) == (name == "identity")


def test_dropped_nodes_take_their_edges_along(batch):
    torch.manual_seed(0)
    view = augment.drop_nodes(batch, torch.ones(40, dtype=torch.bool), 0.3)
    assert (fits(view) == 7).all()
    assert (torch.bincount(view.edge_index[0], minlength=280) <= 2).all()
    alone = augment.drop_nodes(batch, torch.ones(40, dtype=torch.bool), 0.999)
    assert (fits(alone) >= 1).all()


def test_a_subgraph_is_a_connected_part_of_its_size(batch):
    torch.manual_seed(0)
    view = augment.subgraph(batch, torch.ones(40, dtype=torch.bool), 0.4)
    assert (fits(view) == 6).all()
    links = torch.bincount(view.batch[view.edge_index[0]], minlength=40)
    assert (links == 10).all()  # 6 of a ring that hang together: a path of 5 links, both ways


def test_perturbed_links_keep_their_number_and_both_directions(batch):
    torch.manual_seed(0)
    view = augment.perturb_edges(batch, torch.ones(40, dtype=torch.bool), 0.3)
    fits(view)
    assert view.edge_index.shape == batch.edge_index.shape
    pairs = sorted(map(tuple, view.edge_index.T.tolist()))
    assert pairs == sorted((b, a) for a, b in pairs)
    before = set(map(tuple, batch.edge_index.T.tolist()))
    assert 0.5 < sum(pair in before for pair in pairs) / len(pairs) < 0.85


def test_masked_nodes_are_a_share_of_each_graph(batch):
    torch.manual_seed(0)
    view = augment.mask_nodes(batch, torch.ones(40, dtype=torch.bool), 0.2)
    changed = (view.x != batch.x).any(1)
    assert (torch.bincount(batch.batch[changed], minlength=40) == 2).all()
