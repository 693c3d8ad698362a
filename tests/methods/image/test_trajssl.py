"""TrajSSL: three views in a row through one draw, VICReg of the middle one, and how far the way is bent."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import vergence as vg
from vergence.losses import vicreg
from vergence.methods.image.trajssl import TrajSSL, bend


@cache
def orbits():
    return vg.open("shapes3d:orbit?count=16&steps=8&size=16")


CONTRACT = {
    "source": orbits,
    "options": {"hidden": 64},
    "exempt": {"labels": "16 solids are too few for ten kinds; its run of record judges by other solids"},
}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 8}, 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 6)

    def forward(self, images):
        return self.linear(getattr(images, "pixels", images).flatten(1))


def clips(count=3, each=5):
    """Noise, each picture a little brighter than the one before it in its clip."""
    random = np.random.default_rng(0)
    thing = random.integers(0, 150, (count, 1, 8, 8, 3))
    pixels = (thing + 20 * np.arange(each).reshape(1, each, 1, 1, 1)).astype(np.uint8).reshape(-1, 8, 8, 3)
    return vg.open(pixels, targets={"group": np.arange(count).repeat(each)})


def test_the_bend_is_one_minus_the_cosine_between_both_steps_written_as_a_loop():
    torch.manual_seed(0)
    three = torch.randn(3, 7, 4, dtype=torch.float64)
    total = 0.0
    for left, centre, right in zip(*three.tolist(), strict=True):
        u = [c - a for a, c in zip(left, centre, strict=True)]
        v = [b - c for b, c in zip(right, centre, strict=True)]
        total += 1 - sum(x * y for x, y in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)
    assert bend(*three).item() == pytest.approx(total / 7, rel=1e-9)


def test_straight_is_0_a_right_angle_1_back_2_and_standing_still_1():
    a, b, c = torch.eye(3)
    for right, expected in ((2 * b - a, 0.0), (b + c, 1.0), (a, 2.0), (b, 1.0)):
        assert bend(a[None], b[None], right[None]).item() == pytest.approx(expected, abs=1e-5)


def test_the_bend_knows_no_place_no_scale_and_no_direction_of_time_and_its_gradient_straightens():
    torch.manual_seed(0)
    left, centre, right = torch.randn(3, 6, 5, dtype=torch.float64)
    value = bend(left, centre, right)
    torch.testing.assert_close(bend(3 * left + 1, 3 * centre + 1, 3 * right + 1), value)
    torch.testing.assert_close(bend(right, centre, left), value)
    still = torch.zeros(2, 5, requires_grad=True)
    bend(still, still, still).backward()
    assert still.grad.isfinite().all()
    centre.requires_grad_()
    for _ in range(100):
        (gradient,) = torch.autograd.grad(bend(left, centre, right), centre)
        centre = (centre - 0.5 * gradient).detach().requires_grad_()
    assert bend(left, centre, right).item() < value.item() / 2


def test_three_pictures_are_seen_through_one_draw_and_the_centre_through_another():
    source = clips()
    method = TrajSSL(Flat())
    method.setup(source)
    method.configure_views({"jitter_p": 0.0, "grey": 0.0, "blur": 0.0})
    torch.manual_seed(0)
    left, centre, right, again = method.views(next(source.loader(15, shuffle=True)))
    for view in (left, right):
        assert torch.equal(view.box, centre.box) and torch.equal(view.flip, centre.flip)
    assert not torch.equal(again.box, centre.box)
    step = torch.full_like(centre.pixels, 20 / 255)
    torch.testing.assert_close(centre.pixels - left.pixels, step, atol=1e-4, rtol=0)
    torch.testing.assert_close(right.pixels - centre.pixels, step, atol=1e-4, rtol=0)


def test_the_loss_is_vicreg_of_the_centre_and_the_weighted_bend():
    torch.manual_seed(0)
    method = TrajSSL(Flat(), hidden=8, trajectory=3.0).double()
    views = [torch.rand(6, 3, 8, 8, dtype=torch.float64) for _ in range(4)]
    terms = method.loss(views)
    left, centre, right, again = (method.projector(method.encoder(view)) for view in views)
    for name, value in vicreg(centre, again).items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(terms["trajectory"], 3 * bend(left, centre, right))
    assert method.pop_logged()["bend"].item() == pytest.approx(bend(left, centre, right).item())


def test_mistakes_are_answered_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="trajectory >= 0 and a step of 1 or more; got -1 and 1"):
        TrajSSL(Flat(), trajectory=-1)
    with pytest.raises(
        ValueError, match="TrajSSL needs clips of 7 pictures or more; the longest of .* has 5"
    ):
        TrajSSL(Flat(), step=3).setup(clips())
    with pytest.raises(ValueError, match="TrajSSL learns from clips, and digits does not say"):
        vg.learn("trajssl", "digits", epochs=1, out=tmp_path / "run", quiet=True)
