import math

import pytest
import torch

from vergence.losses import centred, dino, koleo, sinkhorn, soft_cross_entropy


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_centred_takes_away_what_is_usual():
    scores, centre = torch.tensor([[2.0, 1.0]]), torch.tensor([1.0, 0.0])
    torch.testing.assert_close(centred(scores, centre, temperature=0.1), torch.tensor([[0.5, 0.5]]))
    odds = centred(scores, torch.zeros(2), temperature=0.5)[0]
    assert (odds[0] / odds[1]).item() == pytest.approx(math.exp(2))
    assert not centred(scores.requires_grad_(), centre, temperature=0.1).requires_grad


def test_sinkhorn_equals_scaling_written_as_loops():
    scores = torch.randn(5, 3).double()
    mass = [[math.exp(s / 0.5) for s in row] for row in scores.tolist()]
    for _ in range(3):
        for k in range(3):
            total = sum(row[k] for row in mass)
            for row in mass:
                row[k] /= total * 3
        for row in mass:
            total = sum(row)
            row[:] = [m / total for m in row]
    torch.testing.assert_close(sinkhorn(scores, temperature=0.5), torch.tensor(mass).double())


def test_sinkhorn_balances_the_prototypes_and_keeps_the_order_of_preference():
    scores = torch.rand(64, 8) + torch.tensor([3.0] + [0.0] * 7)  # one prototype wins everywhere
    assert (scores.argmax(dim=1) == 0).all()
    targets = sinkhorn(scores, temperature=0.3, rounds=30)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(targets.sum(dim=0), torch.full((8,), 8.0), rtol=1e-3, atol=0)
    shifted = sinkhorn(scores + torch.randn(64, 1), temperature=0.3, rounds=30)
    torch.testing.assert_close(shifted, targets, rtol=1e-3, atol=1e-5)


def test_sinkhorn_survives_scores_far_apart():
    scores = torch.zeros(4, 6)
    scores[:, 0], scores[:, 5] = 100.0, -100.0
    targets = sinkhorn(scores, temperature=0.04)
    assert targets.isfinite().all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))


def test_soft_cross_entropy_by_hand():
    scores, targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    costs = math.log(1 + math.exp(-2)), math.log(2)
    assert soft_cross_entropy(scores, targets, temperature=0.5).item() == pytest.approx(sum(costs) / 2)
    weighted = soft_cross_entropy(scores, targets, temperature=0.5, weights=torch.tensor([3.0, 1.0]))
    assert weighted.item() == pytest.approx((3 * costs[0] + costs[1]) / 4)


def test_soft_cross_entropy_is_least_where_the_student_says_what_the_teacher_says():
    wanted = torch.randn(6, 5)
    targets = torch.softmax(wanted / 0.3, dim=1)
    entropy = -(targets * targets.log()).sum(dim=1).mean()
    torch.testing.assert_close(soft_cross_entropy(wanted, targets, temperature=0.3), entropy)
    assert soft_cross_entropy(torch.randn(6, 5), targets, temperature=0.3) > entropy


def test_no_masked_patch_costs_nothing():
    scores = torch.zeros(0, 4, requires_grad=True)
    loss = soft_cross_entropy(scores, torch.zeros(0, 4), temperature=0.1, weights=torch.zeros(0))
    loss.backward()
    assert loss.item() == 0


def test_dino_is_the_mean_over_all_pairs_but_a_crop_with_itself():
    student = [torch.randn(4, 7, requires_grad=True) for _ in range(5)]
    teacher = [torch.softmax(torch.randn(4, 7), dim=1) for _ in range(2)]
    pairs = [
        -(t * torch.log_softmax(s / 0.1, dim=1)).sum(dim=1).mean()
        for i, t in enumerate(teacher)
        for j, s in enumerate(student)
        if i != j
    ]
    assert len(pairs) == 2 * 3 + 2
    loss = dino(student, teacher)
    torch.testing.assert_close(loss, torch.stack(pairs).mean())
    loss.backward()
    assert all(s.grad.abs().sum() > 0 for s in student)
    own = dino([torch.zeros(1, 2), torch.tensor([[9.0, 0.0]])], [torch.tensor([[1.0, 0.0]])])
    assert own.item() == pytest.approx(0, abs=1e-6)  # the only pair: crop 2 against the target of crop 1


def test_koleo_by_hand_and_its_limits():
    angle = torch.tensor([0.0, 60.0, 180.0]).deg2rad()  # nearest: 1, 0, 1 at chords 1, 1, sqrt(3)
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.tensor([[1.0], [5.0], [0.2]])
    assert koleo(points).item() == pytest.approx(-math.log(math.sqrt(3)) / 3, abs=1e-6)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert koleo(x).item() == pytest.approx(-math.log(2))
    twins = torch.ones(4, 3, requires_grad=True)
    koleo(twins).backward()
    assert koleo(twins).item() == pytest.approx(-math.log(1e-8), rel=1e-4)
    assert twins.grad.isfinite().all()


def test_koleo_spreads_what_is_crowded():
    x = (torch.ones(16, 3) + 0.1 * torch.randn(16, 3)).requires_grad_()
    before = koleo(x)
    (step,) = torch.autograd.grad(before, x)
    assert koleo(x - 0.01 * step) < before
    order = torch.randperm(16)
    torch.testing.assert_close(koleo(x[order] * 3), before, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.softmax(torch.randn(6, 4, dtype=torch.float64), dim=1)
    assert torch.autograd.gradcheck(koleo, (x,))
    assert torch.autograd.gradcheck(lambda s: soft_cross_entropy(s, targets, temperature=0.3), (x,))


def test_autocast_leaves_the_arithmetic_in_float32():
    x = torch.randn(8, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = koleo(x), sinkhorn(x, temperature=0.5), dino([x, x], [torch.softmax(x.float(), 1)] * 2)
    wide = x.float()
    high = koleo(wide), sinkhorn(wide, temperature=0.5), dino([wide, wide], [torch.softmax(wide, 1)] * 2)
    for got, wanted in zip(low, high, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: koleo(x[:1]), "koleo needs embeddings"),
        (lambda x: sinkhorn(x, temperature=0.0), "sinkhorn needs temperature > 0; got 0.0"),
        (lambda x: sinkhorn(x, temperature=0.1, rounds=0), "rounds=0"),
        (lambda x: centred(x, x[0], temperature=-1.0), "centred needs temperature"),
        (lambda x: soft_cross_entropy(x, x[:2], temperature=0.1), "one shape"),
        (lambda x: dino([x], [x]), "two or more student crops"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 3))
