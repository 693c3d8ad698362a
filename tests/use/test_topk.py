import pytest
import torch

from vergence.core.errors import BadInput
from vergence.use import topk as module
from vergence.use.topk import topk


def vectors(n, d=7, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_loop(queries, bank, k, metric):
    result = []
    for q in queries.double():
        if metric == "cosine":
            score = torch.stack([q @ b / (q.norm() * b.norm()) for b in bank.double()])
        elif metric == "dot":
            score = torch.stack([q @ b for b in bank.double()])
        else:
            score = torch.stack([-(q - b).norm() for b in bank.double()])
        order = sorted(range(len(bank)), key=lambda i, score=score: -score[i].item())[:k]
        result.append((score[order], order))
    return torch.stack([s for s, _ in result]).float(), torch.tensor([o for _, o in result])


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("block", [1, 40, 1 << 24])
def test_topk_equals_a_loop_whatever_the_block(metric, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    queries, bank = vectors(9), vectors(31, seed=1)
    scores, rows = topk(queries, bank, 5, metric)
    expected, order = by_loop(queries, bank, 5, metric)
    assert torch.equal(rows, order)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


def test_topk_merges_blocks_of_a_bank_wider_than_one(monkeypatch):
    monkeypatch.setattr(module, "COLUMNS", 4)
    queries, bank = vectors(6), vectors(30, seed=1)
    assert torch.equal(topk(queries, bank, 7)[1], by_loop(queries, bank, 7, "cosine")[1])


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("slice_", [4, 12, 1 << 13])
def test_topk_by_groups_equals_a_loop(metric, slice_, monkeypatch):
    for name, value in {"COLUMNS": 32, "GROUP": 4, "SLICE": slice_, "QUERIES": 5, "BLOCK": 200}.items():
        monkeypatch.setattr(module, name, value)
    queries, bank = vectors(9), vectors(211, seed=1)  # 52 groups of 4, and 3 rows
    bank[209] = 3 * queries[4]
    called = []
    by_groups = module.topk_by_groups
    monkeypatch.setattr(module, "topk_by_groups", lambda *a: called.append(1) or by_groups(*a))
    scores, rows = topk(queries, bank, 3, metric)
    expected, order = by_loop(queries, bank, 3, metric)
    assert called and torch.equal(rows, order)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-5)


def test_topk_gives_the_whole_bank_when_k_is_larger():
    scores, rows = topk(vectors(3), vectors(4, seed=1), 10)
    assert rows.sort(1).values.tolist() == [[0, 1, 2, 3]] * 3
    assert (scores.diff(dim=1) <= 0).all()


def test_topk_accumulates_bfloat16_in_float32():
    bank = vectors(200, 64, seed=1).bfloat16()
    scores, rows = topk(bank[:5], bank, 1)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.ones(5, 1))


def test_topk_takes_no_queries_and_an_empty_bank():
    assert topk(vectors(0), vectors(4), 3)[1].shape == (0, 3)
    assert topk(vectors(2), vectors(0), 3)[1].shape == (2, 0)


def test_topk_says_what_is_wrong():
    with pytest.raises(BadInput, match="Unknown metric 'cosin'; did you mean 'cosine'"):
        topk(vectors(2), vectors(2), 1, "cosin")
    with pytest.raises(ValueError, match=r"got \(2, 7\) and \(2, 3\)"):
        topk(vectors(2), vectors(2, 3), 1)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        topk(vectors(2), vectors(2), 0)


@pytest.mark.parametrize("columns", [1 << 16, 32])
def test_small_distances_far_from_the_origin_are_kept(columns, monkeypatch):
    """Rows a unit apart at 30,000 from the origin, where the products of float32 are wrong by hundreds."""
    for name, value in {"COLUMNS": columns, "GROUP": 4, "SLICE": 16}.items():
        monkeypatch.setattr(module, name, value)
    bank = vectors(400, 6, seed=1) + 3e4
    queries = bank[:9] + 0.01 * vectors(9, 6, seed=2)
    scores, rows = topk(queries, bank, 3, "euclidean")
    away = (queries.double()[:, None] - bank.double()).norm(dim=2)
    assert rows[:, 0].tolist() == list(range(9))
    torch.testing.assert_close(scores.double(), -away.sort(1).values[:, :3], atol=1e-5, rtol=1e-4)
