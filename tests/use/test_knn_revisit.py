"""Votes against loops; the limits of the blend; what hard examples change."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.use.knn_revisit import _folds, fit, leave_one_out, tuned


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    centres = 1.2 * torch.randn(3, 6, generator=generator)
    y = torch.arange(60) % 3
    return centres[y] + torch.randn(60, 6, generator=generator), y


def votes(query, bank, labels, k, temperature, classes, own=None):
    far = [(((query - b) ** 2).sum().item(), i) for i, b in enumerate(bank) if i != own]
    result = [0.0] * classes
    for d, i in sorted(far)[:k]:
        result[labels[i]] += math.exp(-d / temperature)
    return [v / sum(result) for v in result]


def test_neighbours_vote_as_the_formula_says(data):
    x, y = data
    model = fit(x, y, k=5, temperature=0.3)
    unit = normalize(x - x.mean(0), dim=1)
    query = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    unit_query = normalize(query - x.mean(0), dim=1)
    expected = [votes(q, unit, y.tolist(), 5, 0.3, 3) for q in unit_query]
    np.testing.assert_allclose(model.of_neighbours(query), expected, rtol=1e-4, atol=1e-6)
    rows, weights = model.neighbours(query)
    assert rows.shape == (4, 5) and (weights.diff(dim=1) <= 0).all()


def test_a_row_is_not_its_own_neighbour_even_among_twins(data):
    x, y = data
    unit = normalize(x - x.mean(0), dim=1)
    expected = [votes(unit[i], unit, y.tolist(), 4, 0.3, 3, own=i) for i in range(60)]
    np.testing.assert_allclose(leave_one_out(unit, y, k=4, temperature=0.3), expected, rtol=1e-3, atol=1e-5)
    twins = torch.ones(9, 2) / 2**0.5
    result = leave_one_out(twins, torch.tensor([0, 1] + [1] * 7), k=3, temperature=0.01)
    assert torch.isfinite(result).all() and result.sum(1).tolist() == pytest.approx([1] * 9)


def test_blends_of_0_and_1_are_the_parts_and_all_sum_to_1(data):
    x, y = data
    for blend in (0.0, 0.35, 1.0):
        model = fit(x, y, blend=blend)
        p = model.proba(x)
        torch.testing.assert_close(p.sum(1), torch.ones(60))
        expected = blend * model.of_neighbours(x) + (1 - blend) * model.of_head(x)
        torch.testing.assert_close(p, expected)
        if blend in (0.0, 1.0):
            torch.testing.assert_close(p, model.of_neighbours(x) if blend else model.of_head(x))


def test_no_underflow_at_the_smallest_temperature(data):
    x, y = data
    far = torch.full((1, 6), 1e3)
    p = fit(x, y, k=3, temperature=1e-4).of_neighbours(far)
    assert torch.isfinite(p).all() and p.sum().item() == pytest.approx(1)


def test_the_head_is_at_the_minimum_of_the_weighted_cost(data):
    x, y = data
    model = fit(x, y, k=5, temperature=0.3, hard="log", alpha=2.0, strength=0.05)
    leaving_out = leave_one_out(model.bank, y, k=5, temperature=0.3)[torch.arange(60), y]
    weights = 1 + 2.0 * -leaving_out.log().clamp_min(-100)
    weight, bias = model.weight.clone().requires_grad_(), model.bias.clone().requires_grad_()
    z = (x - model.mean) / model.scale
    costs = torch.nn.functional.cross_entropy(z @ weight + bias, y, reduction="none")
    ((weights * costs).mean() + 0.025 * weight.square().sum()).backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 2e-3
    plain = fit(x, y, k=5, temperature=0.3, hard="none", strength=0.05)
    assert (plain.weight - model.weight).abs().max() > 0.05


def test_focal_with_gamma_0_and_log_with_alpha_0_are_the_plain_head(data):
    x, y = data
    plain = fit(x, y, hard="none").of_head(x)
    torch.testing.assert_close(fit(x, y, hard="focal", gamma=0.0).of_head(x), plain, atol=1e-4, rtol=0)
    torch.testing.assert_close(fit(x, y, hard="log", alpha=0.0).of_head(x), plain, atol=1e-4, rtol=0)


def test_settings_are_chosen_by_the_held_out_rows_only(data):
    x, y = data
    held = torch.arange(60) % 4 == 0
    model = tuned(x[~held], y[~held], x[held], y[held], ks=(1, 5, 10_000), strengths=(0.1, 0.01))
    right = lambda p: (p.argmax(1) == y[held]).float().mean().item()  # noqa: E731
    parts = right(model.of_neighbours(x[held])), right(model.of_head(x[held]))
    assert right(model.proba(x[held])) >= max(parts) and model.k in (1, 5)
    shifted = torch.cat([x[held], x[held][:1]]), torch.cat([y[held], torch.tensor([7])])
    again = tuned(x[~held], y[~held], *shifted, ks=(1, 5), strengths=(0.1, 0.01))
    assert again.blend == model.blend, "a class nobody has shown is left out"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"k": 60}, "k from 1 to 59"),
        ({"temperature": 0.0}, "above 0"),
        ({"blend": 1.5}, r"blend in \[0, 1\]"),
        ({"hard": "focl"}, "did you mean 'focal'"),
    ],
)
def test_mistakes_are_told(data, options, line):
    with pytest.raises(BadInput, match=line):
        fit(*data, **options)
    with pytest.raises(BadInput, match=r"labels \(n,\) from 0"):
        fit(data[0], data[1] - 1)


def test_without_held_out_rows_settings_are_chosen_by_leaving_rows_out(data):
    x, y = data
    model = tuned(x, y, ks=(1, 5), strengths=(0.1, 0.01), seed=3)
    bank = normalize(x - x.mean(0), dim=1)
    assert len(model.bank) == 60, "it is fitted to all rows"
    right = {
        k: max(
            (leave_one_out(bank, y, k=k, temperature=t).argmax(1) == y).sum() for t in (0.01, 0.1, 1.0, 10.0)
        )
        for k in (1, 5)
    }
    assert right[model.k] == max(right.values())


def test_folds_hold_equally_many_of_every_class():
    y = torch.tensor([0] * 10 + [1] * 5 + [2])
    part = _folds(y, 5, seed=0)
    assert [torch.bincount(part[y == label], minlength=5).tolist() for label in (0, 1)] == [[2] * 5, [1] * 5]
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    assert tuned(x, y, ks=(1,), strengths=(0.1,)).proba(x).shape == (16, 3), "also with a class of one row"
    with pytest.raises(BadInput, match="2 or more folds"):
        tuned(x, y, folds=1)
