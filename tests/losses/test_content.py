"""Matches by what is shown, against the formula written as a loop."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from vergence.losses import content, content_nce, koleo, nt_xent

IDS = torch.tensor(
    [[0, 0], [1, 1], [2, 2], [0, 0], [1, 2], [2, 2], [5, 5]]
)  # row 4 shows two, row 6 is alone


@pytest.fixture
def vectors():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_loop(vectors, ids, t, anchors):
    shows = [set(row) for row in ids.tolist()]
    total = 0.0
    for i in range(anchors):
        score = [math.exp(cosine_similarity(vectors[i], v, dim=0).item() / t) for v in vectors]
        others = sum(s for s, what in zip(score, shows, strict=True) if not what & shows[i])
        costs = [
            -math.log(score[j] / (score[j] + others))
            for j in range(len(ids))
            if j != i and shows[j] & shows[i]
        ]
        total += sum(costs) / max(1, len(costs))
    return total / anchors


@pytest.mark.parametrize("anchors", [None, 1, 5])
def test_the_cost_is_the_formula(vectors, anchors):
    result = content_nce(vectors, IDS, temperature=0.3, anchors=anchors)
    assert result.item() == pytest.approx(by_loop(vectors, IDS, 0.3, anchors or 7))


def test_blocks_change_neither_cost_nor_gradient(vectors, monkeypatch):
    def computed():
        x = vectors.clone().requires_grad_()
        cost = content_nce(x, IDS, temperature=0.2) + koleo(x, content=IDS)
        return cost.detach(), *torch.autograd.grad(cost, x)

    whole = computed()
    monkeypatch.setitem(content.SCORES_AT_ONCE, "cpu", 14)
    assert len(content.row_blocks(7, vectors)) == 4
    torch.testing.assert_close(computed(), whole)


def test_two_views_a_photo_are_the_contrast_of_simclr():
    x, ids = torch.randn(10, 6), torch.arange(5).repeat(2)[:, None]
    result = content_nce(x, ids, temperature=0.1)
    torch.testing.assert_close(result, nt_xent(x[:5], x[5:], temperature=0.1))
    order = torch.randperm(10)
    torch.testing.assert_close(content_nce(2 * x[order], ids[order], temperature=0.1), result)


def test_gradients_are_those_of_finite_differences(vectors):
    x = vectors.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: content_nce(v, IDS, temperature=0.4, anchors=5), (x,))
    assert torch.autograd.gradcheck(lambda v: koleo(v, content=IDS, anchors=5), (x,))


def test_a_batch_of_one_photo_costs_nothing_and_teaches_nothing():
    x = torch.randn(4, 3, requires_grad=True)
    cost = content_nce(x, torch.zeros(4, 1, dtype=torch.long), temperature=0.05)
    (slope,) = torch.autograd.grad(cost, x)
    assert cost.item() == 0 and torch.equal(slope, torch.zeros_like(slope))


def test_koleo_looks_for_the_nearest_that_shows_something_else(vectors):
    vectors[3] = vectors[0] + 0.1  # another view of one photo
    unit, shows = normalize(vectors, dim=1), [set(row) for row in IDS.tolist()]
    distances = [
        min((unit[i] - unit[j]).norm().item() for j in range(7) if not shows[i] & shows[j]) for i in range(7)
    ]
    expected = -sum(math.log(d) for d in distances) / 7
    assert koleo(vectors, content=IDS).item() == pytest.approx(expected, rel=1e-6)
    first = -sum(math.log(d) for d in distances[:2]) / 2
    assert koleo(vectors, content=IDS, anchors=2).item() == pytest.approx(first, rel=1e-6)
    assert koleo(vectors) > koleo(vectors, content=IDS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: content_nce(x, IDS, temperature=0.0), "temperature > 0; got 0.0"),
        (lambda x: content_nce(x, IDS[:3], temperature=0.1), r"vectors \(M, D\) and their ids"),
        (lambda x: content_nce(x, IDS, temperature=0.1, anchors=8), "8 anchors are more"),
        (lambda x: koleo(x, content=IDS[:3]), "koleo needs vectors"),
    ],
)
def test_what_cannot_be_is_said(vectors, call, message):
    with pytest.raises(ValueError, match=message):
        call(vectors)
