import math

import networkx as nx
import numpy as np
import pytest
import torch

from vergence.core.errors import BadInput
from vergence.methods.graph import transforms
from vergence.methods.graph.diffusion import heat, ppr, push, sparsify
from vergence.methods.graph.metapaths import metapath, nearest, pathsim, relation
from vergence.methods.graph.structure import core_numbers, degrees, distances, line_graph
from vergence.methods.graph.transforms import (
    edges_of,
    normalised_adjacency,
    sparse,
    spectral_vectors,
)

SPIDER = nx.Graph([(leg * 20 + i if i else 0, leg * 20 + i + 1) for leg in range(6) for i in range(20)])
PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])  # 0 - 1 - 2


def random_graph(n=60, p=0.08, seed=0):
    graph = nx.gnp_random_graph(n, p, seed=seed)
    return graph, torch.tensor(list(graph.edges)).T.contiguous()


def both_ways(edges):
    return torch.cat([edges, edges.flip(0)], dim=1)


def test_normalised_adjacency_of_a_path_by_hand_with_loops_once():
    loops = torch.cat([PATH, torch.tensor([[0], [0]])], dim=1)  # node 0 has its loop already
    for edges in (PATH, loops):
        s = sparse(*normalised_adjacency(edges, 3), 3).to_dense()
        a, b = 1 / 2, 1 / math.sqrt(6)
        assert torch.allclose(s, torch.tensor([[a, b, 0], [b, 1 / 3, b], [0, b, a]]))


def test_a_matrix_takes_from_the_source_of_a_directed_edge():
    s = sparse(*normalised_adjacency(torch.tensor([[0], [1]]), 2, loops=False), 2).to_dense()
    assert s[0, 1] == 0  # node 0 takes from nobody
    weighted = edges_of(np.array([[0, 0], [3.0, 0]]))
    assert weighted[0].tolist() == [[0], [1]] and weighted[1].tolist() == [3.0]


def test_ppr_equals_its_power_series():
    _, edges = random_graph()
    t = sparse(*normalised_adjacency(both_ways(edges), 60), 60).to_dense().double()
    series, power = torch.zeros(60, 60, dtype=torch.double), torch.eye(60, dtype=torch.double)
    for _ in range(200):
        series += 0.2 * power
        power = 0.8 * power @ t
    assert torch.allclose(ppr(edges, 60).double(), series, atol=1e-6)


@pytest.mark.parametrize("t", [0.5, 5.0])
def test_heat_columns_sum_to_one_and_it_is_the_exponential_of_the_matrix(t):
    _, edges = random_graph(40, 0.04, seed=3)  # some nodes are alone
    degree = degrees(edges, 40).double()
    assert (degree == 0).any()
    a = torch.zeros(40, 40, dtype=torch.double)
    a[edges[0], edges[1]] = a[edges[1], edges[0]] = 1
    a += torch.diag((degree == 0).double())
    exact = torch.linalg.matrix_exp(t * (a / a.sum(0) - torch.eye(40)))
    result = heat(edges, 40, t=t).double()
    assert torch.allclose(result, exact, atol=1e-6)
    assert torch.allclose(result.sum(0), torch.ones(40, dtype=torch.double), atol=1e-5)


@pytest.mark.parametrize("eps", [1e-2, 1e-4])
def test_push_is_below_the_exact_diffusion_by_at_most_the_stated_bound(eps):
    _, edges = random_graph(100, 0.05)
    exact = ppr(edges, 100).double()
    result = sparse(*push(edges, 100, eps=eps), 100).to_dense().double()
    degree = degrees(edges, 100).double() + 1
    missing = exact - result
    assert missing.min() > -1e-6
    assert (missing - eps * torch.sqrt(degree[:, None] * degree)).max() < 1e-6
    assert missing.max() > 1e-6  # it did stop early
    few = sparse(*push(edges, 100, eps=eps, top=3), 100).to_dense().double()
    assert ((few > 0).sum(1) <= 3).all()
    assert torch.allclose(few.sum(1), result.topk(3).values.sum(1))


def test_sparsify_keeps_the_asked_for_number_and_direction():
    s = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.6, 0.2], [0.0, 0.05, 0.95]])
    edges, weight = sparsify(s, degree=4 / 3)
    assert sorted(weight.tolist()) == pytest.approx([0.4, 0.5, 0.6, 0.95])
    assert torch.allclose(sparse(edges, weight, 3).to_dense()[0], torch.tensor([0.5, 0.4, 0.0]))
    assert sparse(*sparsify(s, top=1), 3).to_dense().diagonal().tolist() == pytest.approx([0.5, 0.6, 0.95])
    assert len(sparsify(s, eps=0.2)[1]) == 6
    with pytest.raises(BadInput, match="one of degree"):
        sparsify(s, degree=1, top=1)


def test_structure_agrees_with_networkx():
    graph, edges = random_graph(80, 0.1, seed=1)
    loops = torch.arange(5).repeat(2, 1)
    messy = torch.cat([edges, edges.flip(0)[:, :30], loops], dim=1)
    by_node = {
        core_numbers: nx.core_number(graph),
        degrees: dict(graph.degree),
    }
    for ours, theirs in by_node.items():
        assert ours(messy, 80).tolist() == pytest.approx([theirs[v] for v in range(80)]), ours.__name__


@pytest.mark.parametrize("seed", range(4))
def test_core_numbers_of_graphs_with_hubs_and_lone_nodes(seed):
    graph = nx.barabasi_albert_graph(200, 3, seed=seed)
    graph.remove_edges_from([e for e in graph.edges if sum(e) % 3 == 0])
    theirs = nx.core_number(graph)
    edges = torch.tensor(list(graph.edges)).T
    assert core_numbers(edges, 200).tolist() == [theirs[v] for v in range(200)]


def test_distances_of_a_path_and_a_lone_node():
    assert distances(PATH, 4, torch.tensor([0])).tolist() == [[0, 1, 2, -1]]
    assert distances(PATH, 4, torch.tensor([0, 3]), most=1).tolist() == [[0, 1, -1, -1], [-1, -1, -1, 0]]


def test_line_graph_joins_edges_that_meet():
    graph, edges = random_graph(50, 0.1)
    messy = torch.cat([edges, edges.flip(0), torch.tensor([[4], [4]])], dim=1)
    line = line_graph(messy, 50)
    degree = degrees(edges, 50)
    assert line.nodes == graph.number_of_edges()
    assert line.edge_index.shape[1] == int((degree * (degree - 1)).sum())  # both directions
    u, v = line.edges[:, line.edge_index[0]], line.edges[:, line.edge_index[1]]
    assert (((u[:, None] == v[None]).sum((0, 1))) == 1).all()
    assert line.place[-1] == -1
    assert torch.equal(line.edges[:, line.place[:-1]], messy[:, :-1].sort(dim=0).values)
    assert torch.equal(line.place[: edges.shape[1]], line.place[edges.shape[1] : -1])


def test_pathsim_of_papers_that_share_authors():
    # papers 0: {a, b}, 1: {a, b, c}, 2: {c}
    written = relation(torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 2]]), 3, 3)
    paths = metapath(written)
    assert paths.toarray().tolist() == [[2, 2, 0], [2, 3, 1], [0, 1, 1]]
    s = pathsim(paths)
    assert s.toarray() == pytest.approx(np.array([[0, 0.8, 0], [0.8, 0, 0.5], [0, 0.5, 0]]))
    edges, weight = nearest(s, 1)
    assert edges.tolist() == [[1, 0, 1], [0, 1, 2]] and weight.tolist() == pytest.approx([0.8, 0.8, 0.5])
    with pytest.raises(BadInput, match="cannot follow"):
        metapath(written, relation(torch.tensor([[0], [0]]), 2, 2))


@pytest.mark.parametrize("n", [60, 700])
def test_spectral_vectors_are_eigenvectors_of_the_laplacian(n):
    _, edges = random_graph(n, 8 / n)
    values, vectors = spectral_vectors(edges, n, 5)
    s = sparse(*normalised_adjacency(both_ways(edges), n, loops=False), n).to_dense()
    s += torch.diag((s.sum(1) == 0).float())
    assert torch.allclose(vectors - s @ vectors, vectors * values, atol=1e-5)
    assert torch.allclose(vectors.T @ vectors, torch.eye(5), atol=1e-5)
    assert values[0] == pytest.approx(0, abs=1e-5) and (values.diff() >= -1e-6).all()
    assert torch.equal(spectral_vectors(edges, n, 5)[1], vectors)


def test_spectral_vectors_lie_on_one_component_of_equal_values_on_the_largest_first():
    rings = nx.disjoint_union_all(
        [nx.empty_graph(1), nx.cycle_graph(4), nx.cycle_graph(6), nx.cycle_graph(4)]
    )
    values, vectors = spectral_vectors(torch.tensor(list(rings.edges)).T, 15, 9)
    assert values.tolist() == pytest.approx([0, 0, 0, 0, 0.5, 0.5, 1, 1, 1], abs=1e-6)
    part = np.repeat([0, 1, 2, 3], [1, 4, 6, 4])
    assert [set(part[v != 0].tolist()) for v in vectors.T.abs().numpy().round(6)] == [
        {2}, {1}, {3}, {0}, {2}, {2}, {1}, {1}, {3}
    ]  # fmt: skip
    torch.testing.assert_close(vectors[part == 1][:, [1, 6]], vectors[part == 3][:, [2, 8]])


@pytest.mark.parametrize("graph", [nx.cycle_graph(120), SPIDER], ids=["cycle", "spider"])
def test_spectral_vectors_of_a_large_graph_do_not_depend_on_where_the_solver_starts(graph, monkeypatch):
    monkeypatch.setattr(transforms, "_DENSE", 64)
    edges, n = torch.tensor(list(graph.edges)).T, len(graph)
    values, vectors = spectral_vectors(edges, n, 4)
    exact = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(graph).toarray())[:4]
    np.testing.assert_allclose(values, exact, atol=1e-6)
    assert exact[2] - exact[1] < 1e-12
    solve, draw = transforms.eigsh, np.random.default_rng(0)
    monkeypatch.setattr(
        transforms, "eigsh", lambda t, k, which, v0: solve(t, k, which=which, v0=draw.random(n))
    )
    torch.testing.assert_close(spectral_vectors(edges, n, 4)[1], vectors, atol=1e-6, rtol=0)


def test_spectral_vectors_of_a_small_graph_are_filled_up():
    values, vectors = spectral_vectors(PATH, 3, 5)
    assert values.tolist() == pytest.approx([0, 1, 2, 2, 2], abs=1e-6)
    assert vectors.shape == (3, 5) and (vectors[:, 3:] == 0).all()
    assert vectors[:, 0].tolist() == pytest.approx([0.5, math.sqrt(0.5), 0.5])


def test_bad_graphs_are_named():
    with pytest.raises(BadInput, match="node 7"):
        ppr(torch.tensor([[0], [7]]), 3)
    with pytest.raises(BadInput, match="alpha"):
        push(PATH, 3, alpha=0)
    with pytest.raises(BadInput, match="push"):
        ppr(PATH, 10**6)
    assert line_graph(torch.empty(2, 0, dtype=torch.long), 3).nodes == 0
    assert core_numbers(torch.empty(2, 0, dtype=torch.long), 1).tolist() == [0]
