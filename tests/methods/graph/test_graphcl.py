"""GraphCL: Eq. 3 written as a loop, every augmentation's promise, and a set of graphs that it learns from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

import vergence
from two_processes import rings, two_copies
from vergence.core import BadInput
from vergence.data.graph.pyg import Batch
from vergence.methods.graph import encoders
from vergence.methods.graph.augment import AUGMENTS
from vergence.methods.graph.graphcl import GraphCL, others_over_own

CONTRACT = {
    "kinds": ("graphs",),
    "exempt": {"labels": "80 steps gain little on graphs this small (82 %, untrained 78)"},
    "two": {
        "": {
            "source": rings,
            "encoder": {"name": "gin", "width": 16, "norm": "batch", "readout": "sum"},
            "views": lambda method: two_copies,
        }
    },
}


def rings(sizes=(10, 20, 5), width=3):
    """A batch of rings with random features."""
    edges, batch, ptr = [], [], [0]
    for i, n in enumerate(sizes):
        a = torch.arange(n)
        b = (a + 1) % n
        edges.append(torch.cat([torch.stack([a, b]), torch.stack([b, a])], dim=1) + ptr[-1])
        batch += [i] * n
        ptr.append(ptr[-1] + n)
    graphs = Batch(edge_index=torch.cat(edges, dim=1), batch=torch.tensor(batch), ptr=torch.tensor(ptr))
    graphs.x = torch.randn(ptr[-1], width, generator=torch.Generator().manual_seed(0))
    graphs.num_nodes = ptr[-1]
    return graphs


def method(**options):
    torch.manual_seed(0)
    return GraphCL(encoders.build("gin", in_dim=3, width=8, layers=3, readout="sum"), **options)


def test_the_loss_is_equation_3_written_as_a_loop():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(rows, 3, generator=generator) for rows in (4, 6))
    total = 0.0
    for i in range(4):
        scores = [float(cosine_similarity(first[i], row, dim=0)) / 0.5 for row in second]
        total -= scores[i] - math.log(sum(math.exp(s) for j, s in enumerate(scores) if j != i))
    assert others_over_own(first, second, temperature=0.5).item() == pytest.approx(total / 4, rel=1e-5)


def test_equal_rows_cost_the_log_of_the_others_and_aligned_rows_less():
    same = torch.ones(5, 2)
    assert others_over_own(same, same, temperature=0.2).item() == pytest.approx(math.log(4), rel=1e-5)
    eye = torch.eye(5)
    aligned, turned = (others_over_own(eye, other, temperature=0.2) for other in (eye, eye.roll(1, 0)))
    assert aligned.item() == pytest.approx(math.log(4) - 5, rel=1e-5)
    assert turned > aligned


def test_both_views_are_augmented_and_the_batch_stays():
    graphs = rings()
    before = graphs.clone()
    torch.manual_seed(0)
    views = method(augment=["drop_nodes"]).views(graphs)
    for view in views:
        assert torch.bincount(view.batch).tolist() == [8, 16, 4]
        assert view.edge_index.max() < 28
    assert not torch.equal(views[0].x, views[1].x)
    assert all(torch.equal(graphs[name], before[name]) for name in ("x", "edge_index", "batch", "ptr"))


@pytest.mark.parametrize("name", AUGMENTS)
def test_each_augmentation_changes_a_share_of_every_graph_inside_that_graph(name):
    graphs = rings()
    torch.manual_seed(1)
    view = method(augment=name, ratio=0.2).views(graphs)[0]
    sizes = torch.bincount(view.batch).tolist()
    assert sizes == ([8, 16, 4] if name in ("drop_nodes", "subgraph") else [10, 20, 5])
    assert torch.equal(view.batch[view.edge_index[0]], view.batch[view.edge_index[1]])
    assert view.ptr.tolist() == [0, sizes[0], sum(sizes[:2]), sum(sizes)]
    if name == "mask_nodes":
        assert (view.x != graphs.x).any(1).long().split([10, 20, 5])[1].sum() == 4
    if name == "perturb_edges":
        moved = (view.edge_index != graphs.edge_index).any(0)
        assert 0 < moved.sum() <= 2 * (2 + 4 + 1)
    if name == "identity":
        assert torch.equal(view.edge_index, graphs.edge_index) and torch.equal(view.x, graphs.x)


def test_identity_gives_equal_views_and_vectors_are_sums_of_every_layer():
    built = method(augment="identity").eval()
    first, second = (built.encode(view) for view in built.views(rings()))
    assert torch.equal(first, second) and first.shape == (3, 24)
    layers = torch.cat(built.encoder.layers(rings()), dim=1)
    torch.testing.assert_close(first[1], layers[10:30].sum(0))


def test_what_it_cannot_learn_from_is_named(tmp_path):
    with pytest.raises(BadInput, match="Use grace for nodes"):
        vergence.learn("graphcl", vergence.open("karate"), out=tmp_path / "run", quiet=True)
    with pytest.raises(BadInput, match="drop_node"):
        method(augment=["drop_node"])
    with pytest.raises(BadInput, match="ratio in"):
        method(ratio=1.0)
    with pytest.raises(BadInput, match="2 or more graphs"):
        method().loss([rings((5,)), rings((5,))])


def test_seconds_of_molecules_lower_the_cost(data_root, tmp_path):
    molecules = vergence.open(f"tu:{data_root / 'tu' / 'MUTAG'}")
    run = vergence.learn("graphcl", molecules, epochs=10, batch_size=64, out=tmp_path / "run", quiet=True)
    costs = [row["loss"] for row in run.metrics]
    third = len(costs) // 3
    assert run.encoder.out_dim == 96 and np.mean(costs[-third:]) < np.mean(costs[:third]) - 0.1
