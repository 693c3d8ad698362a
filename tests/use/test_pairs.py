"""Pairs above a cosine, and their groups, against slow, obvious derivations."""

import numpy as np
import pytest
import torch

from vergence.use.pairs import near_pairs, near_pairs_ivf, stars


def cosines(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.3, 0.8, 1.0])
def test_pairs_and_groups_equal_the_whole_matrix(monkeypatch, precision, threshold):
    import vergence.use.pairs as module

    monkeypatch.setattr(module, "SIDE", 16)
    monkeypatch.setattr(module, "HELD", 20)
    monkeypatch.setattr(module, "best_precision", lambda device: precision)
    torch.manual_seed(0)
    x = torch.randn(70, 6)
    x[50:55] = x[3] * 2.5  # the same direction
    x[60] = x[3] + 0.1 * torch.randn(6)
    result = near_pairs(x, threshold=threshold)
    similarity = cosines(x.double().numpy())
    expected = {(i, j) for i in range(70) for j in range(i + 1, 70) if similarity[i, j] >= threshold - 1e-6}
    assert {(i, j) for i, j in result.pairs.tolist()} == expected and result.total == len(expected) >= 15
    assert (np.diff(result.similarity) <= 0).all()
    np.testing.assert_allclose(result.similarity, similarity[tuple(result.pairs.T)], atol=1e-5)

    grouped = [row for group in result.groups for row in group.tolist()]
    assert len(grouped) == len(set(grouped)) and [len(g) for g in result.groups] == sorted(
        (len(g) for g in result.groups), reverse=True
    )
    for centre, *others in (group.tolist() for group in result.groups):
        assert others and all((min(centre, row), max(centre, row)) in expected for row in others)
    assert all(i in grouped or j in grouped for i, j in expected), "nobody is alone with somebody alone"


@pytest.mark.parametrize("levelled", [False, True])
def test_pairs_in_cells_are_those_of_the_whole_table(levelled):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((900, 6)).astype(np.float32)
    x[500:700] = x[:200] + 0.02 * generator.standard_normal((200, 6))  # nearly the same
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    level = generator.uniform(0, 0.1, 900).astype(np.float32) if levelled else None
    exact = near_pairs(
        torch.from_numpy(x), threshold=0.9, level=None if level is None else torch.from_numpy(level)
    )
    quick = near_pairs_ivf(x, threshold=0.9, level=level)
    wanted, result = ({tuple(p) for p in part.pairs.tolist()} for part in (exact, quick))
    assert result <= wanted and len(quick.pairs) == quick.total, "each pair once, and only true ones"
    assert len(result) >= 0.95 * len(wanted) and len(wanted) > 200
    assert quick.recall == pytest.approx(len(result) / len(wanted), abs=1e-6), "all rows are asked: no guess"
    score = {tuple(p): s for p, s in zip(exact.pairs.tolist(), exact.similarity, strict=True)}
    np.testing.assert_allclose(quick.similarity, [score[tuple(p)] for p in quick.pairs.tolist()], atol=1e-5)


def test_when_everything_is_alike_the_list_is_cut():
    result = near_pairs(torch.ones(1500, 4), threshold=0.9, limit=10)
    assert result.total == 1500 * 1499 // 2
    assert result.pairs.tolist()[:3] == [[0, 1], [0, 2], [0, 3]] and len(result.pairs) == 10
    whole = near_pairs(torch.ones(300, 4), threshold=0.9)
    assert [len(g) for g in whole.groups] == [300] and whole.surplus.tolist() == list(range(1, 300))


def test_a_group_is_one_row_and_what_is_like_it_not_a_chain():
    chain = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [7, 9]])  # 0 - 1 - 2 - 3 - 4
    assert [group.tolist() for group in stars(chain, 10)] == [[1, 0, 2], [3, 4], [7, 9]]
    assert stars(np.empty((0, 2), np.int64), 10) == []
    random = np.random.default_rng(0)
    pairs = np.unique(np.sort(random.integers(0, 60, (200, 2))), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    known, groups = {tuple(pair) for pair in pairs.tolist()}, stars(pairs, 60)
    for centre, *near in (group.tolist() for group in groups):
        assert all((min(centre, row), max(centre, row)) in known for row in near)
    rows = np.concatenate(groups)
    assert len(np.unique(rows)) == len(rows)
