"""GRACE: the loss written out node by node, its identities, and views that corrupt what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

import vergence
from two_processes import rings, two_copies
from vergence.core import BadInput, Features
from vergence.data.graph.pyg import Data
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE

CONTRACT = {
    "kinds": ("", "graphs"),
    "exempt": {"labels graph": "80 steps gain nothing on a graph this small (83 %, untrained 83)"},
    "two": {
        "": {
            "source": rings,
            "encoder": {"name": "gin", "width": 8, "norm": "none", "readout": "sum"},
            "views": lambda method: two_copies,
        }
    },
}


class Given(nn.Module):
    """Answers with the nodes' features."""

    out_dim = 5

    def forward(self, graph):
        seeds = graph.get("seeds")
        return Features(pooled=graph.x if seeds is None else graph.x[seeds])


def given(**options):
    torch.manual_seed(0)
    return GRACE(Given(), **options)


def graphs(n=6):
    generator = torch.Generator().manual_seed(1)
    edges = torch.zeros(2, 0, dtype=torch.long)
    return [Data(x=torch.randn(n, 5, generator=generator), edge_index=edges) for _ in range(2)]


def one_way(u, v, t, intra):
    """Eq. 1 of every node, averaged."""
    n, total = len(u), 0.0
    for i in range(n):
        positive = math.exp(cosine_similarity(u[i], v[i], dim=0) / t)
        across = sum(math.exp(cosine_similarity(u[i], v[j], dim=0) / t) for j in range(n) if j != i)
        within = sum(math.exp(cosine_similarity(u[i], u[j], dim=0) / t) for j in range(n) if j != i)
        total -= math.log(positive / (positive + across + within * intra))
    return total / n


@pytest.mark.parametrize("intra", [True, False])
def test_the_loss_is_equations_1_and_2_written_as_loops(intra):
    method, views = given(temperature=0.7, intra=intra), graphs()
    with torch.no_grad():
        u, v = (method.project(graph.x) for graph in views)
        result = method.loss(views)["contrast"]
    wanted = (one_way(u, v, 0.7, intra) + one_way(v, u, 0.7, intra)) / 2
    assert result.item() == pytest.approx(wanted, rel=1e-5)


def test_one_node_costs_nothing_and_the_order_of_views_and_nodes_does_not_matter():
    method = given()
    assert method.loss(graphs(1))["contrast"].item() == pytest.approx(0.0, abs=1e-6)
    first, second = graphs(9)
    cost = method.loss([first, second])["contrast"]
    turn = torch.randperm(9)
    turned = [Data(x=g.x[turn], edge_index=g.edge_index) for g in (second, first)]
    torch.testing.assert_close(method.loss(turned)["contrast"], cost)


def test_only_the_seeds_of_a_mini_batch_are_compared():
    method, views = given(), graphs(8)
    seeds = torch.tensor([5, 0, 3])
    cost = method.loss([Data(x=g.x[seeds], edge_index=g.edge_index) for g in views])["contrast"]
    for graph in views:
        graph.seeds = seeds
    torch.testing.assert_close(method.loss(views)["contrast"], cost)


def test_views_lose_whole_columns_and_single_edges_by_their_own_shares():
    torch.manual_seed(0)
    graph = Data(x=torch.ones(7, 4_000), edge_index=torch.randint(7, (2, 4_000)))
    views = given(drop_edges=(0.1, 0.6), mask_columns=(0.5, 0.0)).views(graph)
    for view, edges, columns in zip(views, (0.9, 0.4), (0.5, 1.0), strict=True):
        assert (view.x == view.x[0]).all()
        assert view.x[0].mean().item() == pytest.approx(columns, abs=0.03)
        assert view.edge_index.shape[1] / 4_000 == pytest.approx(edges, abs=0.03)
    assert graph.x.all() and graph.edge_index.shape == (2, 4_000)


def test_options_of_views_bend_its_own():
    method = given(mask_columns=0.1)
    method.configure_views({"drop_edges": [0.5, 0.6], "ratio": 0.3})
    assert method.drop_edges == (0.5, 0.6) and method.mask_columns == (0.1, 0.1)


def test_without_corruption_both_views_are_the_graph():
    method = GRACE(encoders.build("gcn", in_dim=5, width=8), drop_edges=(0, 0), mask_columns=(0, 0))
    graph = graphs()[0]
    u, v = (method.encode(view) for view in method.views(graph))
    assert torch.equal(u, v) and torch.equal(u, method.embed(graph))


def test_training_separates_the_members_of_the_karate_club(tmp_path):
    club = vergence.open("karate")
    run = vergence.learn(
        "grace", club, epochs=60, lr=1e-2, encoder_options={"width": 16}, out=tmp_path / "run", quiet=True
    )
    costs = [row["loss"] for row in run.metrics]
    assert np.mean(costs[-5:]) < np.mean(costs[:3]) - 0.05 and costs[0] < 1.1 * math.log(67)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop_edges": (0.2, 1.0)}, "drop_edges"),
        ({"mask_columns": (0.2,)}, "mask_columns"),
        ({"temperature": 0.0}, "temperature > 0"),
    ],
)
def test_settings_out_of_range_are_named(options, said):
    with pytest.raises(BadInput, match=said):
        given(**options)
