import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from vergence.losses import asymmetric


def test_asymmetric_equals_the_formula_written_as_a_loop_and_skips_what_nobody_knows():
    torch.manual_seed(0)
    logits, values, known = 3 * torch.randn(5, 4), torch.rand(5, 4) < 0.4, torch.rand(5, 4) < 0.7
    costs = []
    for logit, yes, sure in zip(logits.flatten(), values.flatten(), known.flatten(), strict=True):
        p = 1 / (1 + math.exp(-logit.item()))
        q = max(p - 0.1, 0.0)
        if sure:
            costs.append(-((1 - p) ** 1.5) * math.log(p) if yes else -(q**3) * math.log(1 - q))
    value = asymmetric(logits, values, known, focus=(1.5, 3.0), margin=0.1)
    assert value.item() == pytest.approx(sum(costs) / len(costs), rel=1e-5)
    assert 0 < len(costs) < 20
    changed = torch.where(known, logits, logits + 5)
    assert torch.equal(asymmetric(changed, values, known, focus=(1.5, 3.0), margin=0.1), value)
    assert asymmetric(logits, values, torch.zeros_like(known)) == 0


def test_asymmetric_without_focus_is_binary_cross_entropy_and_stays_finite_far_out():
    logits, values = torch.tensor([[2.0, -3.0, 0.5]]), torch.tensor([[True, True, False]])
    expected = binary_cross_entropy_with_logits(logits, values.float())
    torch.testing.assert_close(asymmetric(logits, values, focus=(0.0, 0.0), margin=0.0), expected)
    far = torch.tensor([[200.0, -200.0, -200.0, 200.0]], requires_grad=True)
    cost = asymmetric(far, torch.tensor([[True, False, True, False]]))
    cost.backward()
    assert torch.isfinite(cost) and torch.isfinite(far.grad).all()


def test_asymmetric_forgives_an_unlikely_no_and_never_a_missed_yes():
    logits = torch.tensor([[-3.2]], requires_grad=True)  # p = .039, within the margin
    assert asymmetric(logits, torch.tensor([[False]])) == 0
    assert asymmetric(logits, torch.tensor([[True]])) > 3
    with pytest.raises(ValueError, match=r"of one shape; got \(1, 1\), \(2, 1\)"):
        asymmetric(logits, torch.zeros(2, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="margin in"):
        asymmetric(logits, torch.tensor([[False]]), margin=1.0)
