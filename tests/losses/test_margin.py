"""The margin loss against a loop over pairs."""

import pytest
import torch
from torch.nn.functional import normalize

from vergence.losses.margin import hard_margin, recall


def loop(x, group, margin, negatives):
    near = far = 0.0
    for i in range(len(x)):
        apart = []
        for j in range(len(x)):
            d = (x[i] - x[j]).norm()
            if group[i] == group[j]:
                near += d.square() / 2
            elif negatives or i < j:
                apart.append(d)
        apart = sorted(apart)[:negatives] if negatives else apart
        far += sum(max(0.0, margin - d) ** 2 for d in apart)
    return near, far


@pytest.mark.parametrize("negatives", [0, 1, 3, 50])
def test_hard_margin_equals_the_loop(negatives):
    torch.manual_seed(0)
    x, group = normalize(torch.randn(9, 3), dim=1), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    result = hard_margin(x, group, margin=1.2, negatives=negatives)
    for ours, theirs in zip(result, loop(x, group, 1.2, negatives), strict=True):
        torch.testing.assert_close(ours, torch.as_tensor(theirs))


def test_equal_vectors_of_two_groups_cost_the_margin_and_keep_a_finite_gradient():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    near, far = hard_margin(x, torch.tensor([0, 1]), margin=0.5, negatives=1)
    (near + far).backward()
    assert near.item() == 0 and far.item() == pytest.approx(2 * 0.25, abs=1e-5)
    assert torch.isfinite(x.grad).all()


def test_one_group_has_nothing_to_keep_apart():
    near, far = hard_margin(torch.eye(3), torch.zeros(3, dtype=torch.int64), margin=0.5, negatives=2)
    assert near.item() == 6 and far.item() == 0


def test_recall_counts_own_group_among_the_nearest():
    x = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), dim=1)
    assert recall(x, torch.tensor([0, 0, 1, 1]), k=1).item() == 1
    assert recall(x, torch.tensor([0, 1, 0, 1]), k=1).item() == 0


def test_a_wrong_margin_is_refused():
    with pytest.raises(ValueError, match="margin > 0"):
        hard_margin(torch.eye(2), torch.tensor([0, 1]), margin=0.0, negatives=1)
