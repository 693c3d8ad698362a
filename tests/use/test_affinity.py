"""Graphs, cuts, walks and carried labels, each beside its definition written as loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.manifold import SpectralEmbedding
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.use import affinity
from vergence.use.affinity import (
    affinities,
    cut_value,
    geodesic_distances,
    knn_graph,
    normalised_cut,
    propagate,
    split,
    threshold_graph,
    transitions,
    walk,
)


def tokens(n=40, d=6, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["cosine", "dot"])
@pytest.mark.parametrize("block", [None, 100])
def test_graphs_have_the_edges_that_two_loops_find(kind, block, monkeypatch):
    if block:
        monkeypatch.setattr(affinity, "BLOCK", block)
    x, k = tokens(), 5
    score = affinities(x, x, kind=kind).double()
    unit = normalize(x, dim=1) if kind == "cosine" else x
    assert score[3, 7] == pytest.approx(float(unit[3] @ unit[7]), abs=1e-6)
    near, above = np.zeros((2, 40, 40))
    for i in range(40):
        others = sorted((j for j in range(40) if j != i), key=lambda j: -score[i, j])
        for j in others[:k]:
            if score[i, j] > 0:
                near[i, j] = near[j, i] = score[i, j]
        for j in others:
            above[i, j] = score[i, j] if score[i, j] >= 0.4 else 0
    np.testing.assert_allclose(knn_graph(x, k, kind=kind).toarray(), near, atol=1e-6)
    np.testing.assert_allclose(threshold_graph(x, 0.4, kind=kind).toarray(), above, atol=1e-6)


def test_equal_tokens_are_neighbours_without_loops():
    graph = knn_graph(torch.ones(9, 3), 2)
    assert graph.diagonal().sum() == 0 and (graph.sum(1) >= 2 - 1e-6).all() and graph.nnz <= 9 * 8


def test_geodesic_distances_are_the_shortest_ways_of_floyd_and_warshall():
    x = tokens(25, 3)
    graph = knn_graph(x, 3)
    w = graph.toarray()
    way = np.where(w > 0, np.arccos(np.clip(w, -1, 1)), np.inf)
    np.fill_diagonal(way, 0)
    for k in range(25):
        way = np.minimum(way, way[:, k, None] + way[None, k])
    np.testing.assert_allclose(geodesic_distances(graph, np.arange(25)), way, atol=1e-9)
    circle = torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in np.linspace(0, 1.5, 16)])
    ends = geodesic_distances(knn_graph(circle, 2), np.array([0]))[0, -1]
    assert ends == pytest.approx(1.5, abs=1e-3)  # along the arc, by steps of a tenth


def dense_cut(w):
    """Solve the generalised problem by scipy's dense solver."""
    from scipy.linalg import eigh

    degree = np.diag(w.sum(1))
    return eigh(degree - w, degree)


@pytest.mark.parametrize("n", [60, 400])  # dense, and by the sparse solver
def test_a_normalised_cut_solves_the_generalised_problem_and_is_orthogonal_to_the_constant(n):
    x = tokens(n, 5)
    graph = knn_graph(x, 6)
    assert connected_components(graph)[0] == 1
    w, degree = graph.toarray(), graph.toarray().sum(1)
    cut = normalised_cut(graph, 4)
    values, vectors = dense_cut(w)
    np.testing.assert_allclose(cut.values, values[1:5], atol=1e-8)
    for i in range(4):
        y = cut.vectors[:, i]
        np.testing.assert_allclose((np.diag(degree) - w) @ y, cut.values[i] * degree * y, atol=1e-7)
        assert degree @ y == pytest.approx(0, abs=1e-7) and degree @ y**2 == pytest.approx(1)
        assert abs((vectors[:, i + 1] * degree) @ y) == pytest.approx(1, abs=1e-6)
    theirs = SpectralEmbedding(1, affinity="precomputed", random_state=0).fit_transform(w)[:, 0]
    assert abs(np.corrcoef(theirs, cut.vectors[:, 0])[0, 1]) > 1 - 1e-4


@pytest.mark.parametrize("n", [30, 300])
def test_equal_eigenvalues_get_a_basis_that_another_numbering_does_not_change(n):
    """A ring: every eigenvalue beside the first comes twice."""
    ring = np.roll(np.eye(n), 1, 1) + np.roll(np.eye(n), -1, 1)
    order = np.random.default_rng(0).permutation(n)
    cut, again = (normalised_cut(csr_array(ring), 1) for _ in range(2))
    assert np.array_equal(cut.vectors, again.vectors)
    moved = normalised_cut(csr_array(ring[order][:, order]), 1)
    np.testing.assert_allclose(np.sort(moved.vectors[:, 0]), np.sort(cut.vectors[:, 0]), atol=1e-6)
    assert cut.values[0] == pytest.approx(1 - math.cos(2 * math.pi / n), abs=1e-9)


def test_parts_without_edges_between_them_come_first_with_a_loss_of_nothing():
    w = np.zeros((7, 7))
    for i, j in [(0, 1), (1, 2), (3, 4), (4, 5)]:
        w[i, j] = w[j, i] = 1
    cut = normalised_cut(csr_array(w), 3)
    np.testing.assert_allclose(cut.values[:2], 0, atol=1e-9)
    assert cut.values[2] > 0.5
    for part in ([0, 1, 2], [3, 4, 5]):
        assert np.ptp(cut.vectors[part][:, :2], axis=0).max() < 1e-8


def test_split_is_the_best_of_all_thresholds_and_cut_value_that_of_the_definition():
    graph = knn_graph(tokens(14, 3), 3)
    w, vector = graph.toarray(), normalised_cut(graph).vectors[:, 0]

    def loss(part):
        across = sum(w[i, j] for i in np.flatnonzero(part) for j in np.flatnonzero(~part))
        return across / w[part].sum() + across / w[~part].sum()

    losses = [loss(vector > t) for t in np.sort(vector)[:-1]]
    best = split(graph, vector)
    assert cut_value(graph, best) == pytest.approx(min(losses)) == pytest.approx(loss(best))
    every = [np.array(p, bool) for p in itertools.product([0, 1], repeat=14) if 0 < sum(p) < 14]
    lowest = min(cut_value(graph, part) for part in every[:: len(every) // 2000])
    assert normalised_cut(graph).values[0] <= lowest + 1e-9  # the relaxed problem bounds every cut


def test_two_kinds_of_tokens_are_cut_apart():
    kinds = torch.cat(
        [torch.tensor([[3.0, 0, 0]]).repeat(30, 1), torch.tensor([[0, 3.0, 0.5]]).repeat(50, 1)]
    )
    graph = threshold_graph(kinds + 0.8 * tokens(80, 3), 0.05)
    part = split(graph, normalised_cut(graph).vectors[:, 0])
    assert (
        max((part[:30].mean() + (~part[30:]).mean()) / 2, ((~part[:30]).mean() + part[30:].mean()) / 2) > 0.95
    )


def test_walks_are_products_of_row_softmaxes():
    frames = torch.randn(2, 4, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    result = walk(frames, temperature=0.2)
    unit = normalize(frames, dim=-1)
    for b in range(2):
        reached = torch.eye(5).double()
        for t in range(3):
            step = torch.zeros(5, 5).double()
            for i in range(5):
                weight = [math.exp(float(unit[b, t, i] @ unit[b, t + 1, j]) / 0.2) for j in range(5)]
                step[i] = torch.tensor(weight) / sum(weight)
            reached = reached @ step
        torch.testing.assert_close(result[b], reached)
    torch.testing.assert_close(result.sum(2), torch.ones(2, 5).double())
    sharp = walk(frames[:, [0, 0]], temperature=1e-4)
    torch.testing.assert_close(sharp, torch.eye(5).double().expand(2, 5, 5))


def slow_propagation(queries, references, labels, k, radius, temperature):
    d, h, w = queries.shape
    result = torch.zeros(labels.shape[1], h, w, dtype=labels.dtype)
    for y, x in itertools.product(range(h), range(w)):
        candidates = []
        for m, v, u in itertools.product(range(len(references)), range(h), range(w)):
            if radius is None or (abs(v - y) <= radius and abs(u - x) <= radius):
                a, b = queries[:, y, x], references[m, :, v, u]
                candidates.append((float(a @ b / a.norm() / b.norm()), labels[m, :, v, u]))
        kept = sorted(candidates, key=lambda c: -c[0])[:k]
        weights = [math.exp(score / temperature) for score, _ in kept]
        for weight, (_, label) in zip(weights, kept, strict=True):
            result[:, y, x] += weight / sum(weights) * label
    return result


@pytest.mark.parametrize("radius", [0, 1, 2, None])
@pytest.mark.parametrize(
    ("k", "block", "group"), [(1, 1 << 24, 2), (4, 1, 32), (4, 300, 2), (2, 1 << 24, 3), (99, 1 << 24, 32)]
)
def test_labels_are_carried_as_five_loops_carry_them_whatever_the_block(radius, k, block, group, monkeypatch):
    monkeypatch.setattr(affinity, "GROUP", group)
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 4, 5, 3, generator=generator).double()
    references = torch.randn(2, 2, 4, 5, 3, generator=generator).double()
    labels = torch.rand(2, 2, 3, 5, 3, generator=generator).double()
    result = propagate(queries, references, labels, k=k, radius=radius, temperature=0.1, block=block)
    for b in range(2):
        expected = slow_propagation(queries[b], references[b], labels[b], k, radius, 0.1)
        torch.testing.assert_close(result[b], expected)
    shares = propagate(queries, references, labels.softmax(2), k=k, radius=radius, temperature=0.1)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 5, 3).double())  # a mixture stays one


def test_what_cannot_be_done_is_one_line():
    graph = knn_graph(tokens(9, 3), 2)
    with pytest.raises(BadInput, match="A graph of 9 nodes has 1 to 8 cuts; got k=9"):
        normalised_cut(graph, 9)
    with pytest.raises(BadInput, match="affinities of 0 or more"):
        normalised_cut(-graph)
    with pytest.raises(BadInput, match="Unknown kind of affinity 'cos'; did you mean 'cosine'"):
        knn_graph(tokens(), 3, kind="cos")
    with pytest.raises(BadInput, match="two values or more"):
        split(graph, np.zeros(9))
    with pytest.raises(ValueError, match="a threshold above 0; got 0"):
        threshold_graph(tokens(), 0)
    with pytest.raises(ValueError, match="a temperature above 0; got 0"):
        transitions(tokens(), tokens(), temperature=0)
    maps = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match="propagate needs queries"):
        propagate(maps, maps[:, None], maps[:, None, :, :3])
    with pytest.raises(ValueError, match="k >= 1, temperature > 0 and radius >= 0; got 0"):
        propagate(maps, maps[:, None], maps[:, None], k=0)
