"""AASSL: pairs of a clip and the motion between them, NT-Xent of both, and quaternions."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

import vergence as vg
from vergence.data.worlds.shapes3d import camera
from vergence.methods.image.aassl import AASSL, quaternion


@cache
def dials():
    """32 dials of a colour each, whose bright hand is seen in 8 places."""
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, (32, 8)).reshape(-1)
    thing = np.arange(32).repeat(8)
    y, x = np.mgrid[:16, :16] + 0.5 - 8
    near = [
        (x - 5 * c) ** 2 + (y - 5 * s) ** 2 < 9 for c, s in zip(np.cos(angle), np.sin(angle), strict=True)
    ]
    paint = random.integers(0, 120, (32, 3))[thing][:, None, None]
    pixels = np.where(np.stack(near)[..., None], 250, paint).astype(np.uint8)
    source = vg.open(pixels, labels=thing % 4, targets={"group": thing, "pose": angle})
    return source.with_targets(["pose"], "AASSL")


CONTRACT = {
    "source": dials,
    "options": {"dim": 16, "hidden": 16, "joint_hidden": 32, "motion": "turn"},
    "exempt": {"labels": "it learns how dials are turned, of which no label speaks; its own loss judges"},
}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 8}, 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 6)

    def forward(self, images):
        return self.linear(getattr(images, "pixels", images).flatten(1))


def turned(axis, angle):
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis), dim=0)
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return torch.matrix_exp(angle * cross)


def seen_from(azimuth):
    """Cameras [R | t] at one height about a thing."""
    one = np.ones(len(azimuth))
    cameras = camera.Cameras(np.asarray(azimuth), 0.4 * one, 0 * one, 3 * one, np.zeros((len(one), 3)))
    shift = -np.einsum("bij,bj->bi", cameras.rotation, cameras.position)
    return torch.from_numpy(np.concatenate([cameras.rotation, shift[..., None]], 2)).float()


def clips(poses, each=4):
    """Pictures whose colour is ten times their row."""
    n = len(poses)
    colour = 10 * np.arange(n, dtype=np.uint8)
    pixels = np.zeros((n, 8, 8, 3), np.uint8) + colour[:, None, None, None]
    source = vg.open(pixels, targets={"group": np.arange(n) // each, "pose": np.asarray(poses)})
    return source.with_targets(["pose"], "AASSL")


def test_a_quaternion_is_cosine_and_sine_of_half_the_turn_about_its_axis():
    axis, angles = [0.6, -0.64, 0.48], [0.0, 0.3, 2.0, math.pi - 1e-3]
    expected = [[math.cos(a / 2), *(math.sin(a / 2) * x for x in axis)] for a in angles]
    given = torch.stack([turned(axis, a) for a in angles])
    torch.testing.assert_close(quaternion(given), torch.tensor(expected), atol=1e-5, rtol=0)
    halves = torch.stack([turned([float(i == k) for i in range(3)], math.pi) for k in range(3)])
    torch.testing.assert_close(quaternion(halves)[:, 1:].abs(), torch.eye(3), atol=1e-5, rtol=0)


def test_one_turn_is_one_motion_from_wherever_it_begins():
    start = np.array([0.2, 1.7, 4.0])
    first, second = seen_from(start), seen_from(start - 0.5)
    method = AASSL(Flat(), motion="turn")
    expected = torch.tensor([[math.sin(0.5), math.cos(0.5)]]).expand(3, 2)
    torch.testing.assert_close(method.motion_between(first, second), expected)
    torch.testing.assert_close(
        method.motion_between(torch.tensor([0.1, 6.2]), torch.tensor([0.6, 6.7])), expected[:2]
    )
    camera_motion = AASSL(Flat()).motion_between(first, second)
    expected = torch.tensor([math.cos(0.25), 0, 0, math.sin(0.25), 0, 0, 0]).expand(3, 7)
    torch.testing.assert_close(camera_motion, expected, atol=1e-5, rtol=0)
    back = AASSL(Flat()).motion_between(second, first)
    torch.testing.assert_close(back[:, 3], -camera_motion[:, 3])


def test_views_are_of_one_clip_and_the_motion_is_that_between_them():
    poses = np.linspace(0, 3, 16)
    source = clips(poses)
    method = AASSL(Flat(), motion="turn")
    method.setup(source)
    method.configure_views({"jitter_p": 0.0, "grey": 0.0})
    torch.manual_seed(0)
    first, second, motions = method.views(next(source.loader(16, shuffle=True)))
    one, other = ((view.pixels[:, 0, 4, 4] * 25.5).round().long() for view in (first, second))
    assert sorted(one.tolist()) == list(range(16))
    assert torch.equal(one // 4, other // 4)
    assert (one != other).any()
    turn = torch.from_numpy(poses).float()[other] - torch.from_numpy(poses).float()[one]
    torch.testing.assert_close(motions, torch.stack([turn.sin(), turn.cos()], 1), atol=1e-6, rtol=0)


def test_motions_of_cameras_are_standardised_and_what_stays_the_same_stays_finite():
    random = np.random.default_rng(0)
    poses = seen_from(random.uniform(0, 6, 64)).numpy()
    poses[:, 2, 3] = random.uniform(2, 50, 64)
    method = AASSL(Flat())
    method.setup(clips(poses, each=16))
    assert method.std[4].item() == pytest.approx(1.0)  # the thing stays in the middle
    assert method.std[6] > 5
    assert method.mean.isfinite().all() and method.std.isfinite().all()


def test_the_loss_is_nt_xent_of_views_and_of_motions_with_pairs_written_as_loops():
    torch.manual_seed(0)
    method = AASSL(
        Flat(), dim=5, hidden=7, joint_hidden=9, temperature=0.2, motion_temperature=0.3, motion_weight=2.0
    )
    method.double()
    first, second = (torch.rand(4, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    motions = torch.randn(4, 7, dtype=torch.float64)
    terms = method.loss((first, second, motions))
    h1, h2 = method.encoder(first), method.encoder(second)
    pairs = method.projector(h1), method.projector(h2)
    both = method.code(motions), method.joint(torch.cat([h1, h2], 1))

    def looped(a, b, temperature):
        rows, total = [*a, *b], 0.0
        for i, row in enumerate(rows):
            mass = [math.exp(cosine_similarity(row, x, dim=0).item() / temperature) for x in rows]
            total -= math.log(mass[(i + 4) % 8] / (sum(mass) - mass[i]))
        return total / 8

    assert terms["contrast"].item() == pytest.approx(looped(*pairs, 0.2), rel=1e-6)
    assert terms["motion"].item() == pytest.approx(2 * looped(*both, 0.3), rel=1e-6)


def test_without_weight_the_motion_moves_nothing_and_swapped_views_are_another_pair():
    torch.manual_seed(0)
    method = AASSL(Flat(), dim=5, hidden=7, joint_hidden=9, motion_weight=0.0)
    first, second, motions = torch.rand(6, 3, 8, 8), torch.rand(6, 3, 8, 8), torch.randn(6, 7)
    sum(method.loss((first, second, motions)).values()).backward()
    assert all(p.grad.abs().sum() == 0 for p in [*method.code.parameters(), *method.joint.parameters()])
    method.motion_weight = 1.0
    ahead, back = (method.loss((*pair, motions))["motion"] for pair in ((first, second), (second, first)))
    assert ahead.item() != pytest.approx(back.item(), rel=1e-3)


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(ValueError, match="motion 'camera' or 'turn'; got 0.1, 0.1, 1.0 and 'arc'"):
        AASSL(Flat(), motion="arc")
    with pytest.raises(ValueError, match="a mirror image reverses its motion"):
        AASSL(Flat()).configure_views({"flip": 0.5})
    with pytest.raises(ValueError, match=r"AASSL needs poses \(n, 3, 4\), for motion='turn' also radians"):
        AASSL(Flat()).setup(clips(np.zeros(8)))
    with pytest.raises(
        ValueError, match="AASSL needs the pose of every picture, and memory:images lacks some"
    ):
        AASSL(Flat(), motion="turn").setup(clips(np.full(8, np.nan)))
    many = np.zeros(40_000)
    many[-1] = np.nan  # one that few draws would find
    with pytest.raises(ValueError, match="lacks some"):
        AASSL(Flat(), motion="turn").setup(clips(many))
    with pytest.raises(ValueError, match="aassl needs pose, which digits does not hold"):
        vg.learn("aassl", "digits", epochs=1, quiet=True)
