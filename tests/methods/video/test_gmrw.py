import math

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput, Clock
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.encoders import build
from vergence.methods.video.gmrw import GMRW, There, homes
from vergence.nets.matcher import Matcher, Windows, displacement, smoothness
from vergence.use.tracking import track
from vergence.views.pixels.augment import View
from vergence.views.pixels.geometry import box_matrix

ENCODER = {"name": "resnet-tiny", "width": 8, "blocks": (1,), "frames": 4, "read": 8}
CONTRACT = {
    "encoder": ENCODER,
    "options": {"dim": 8, "layers": 1, "smooth": 1.0, "smooth_from": 0, "smooth_at": 2},
    "learn": {"lr": 5e-3},
    "two": {"": {"options": {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}}},  # as many cells count in each part
    "exempt": {"labels": "no single frame of the waves says their way, and the encoder sees single frames"},
}


def make(*, size=16, **options):
    torch.manual_seed(0)
    return GMRW(
        build("resnet-tiny", size=size, width=8, blocks=(1,), frames=4), **{"dim": 8, "layers": 1, **options}
    )


def crop(box, pixels):
    boxes = torch.tensor(box, dtype=torch.float32)
    none = torch.zeros(len(boxes))
    return View(pixels, boxes, none.bool(), none, box_matrix(boxes, pixels.shape[-1]))


def round_trip(*, size=16, b=2):
    torch.manual_seed(1)
    first, second, again = torch.rand(3, b, 3, size, size)
    box = [[0.0, 0.0, 16.0, 16.0], [2.0, 4.0, 10.0, 8.0]][:b]
    other = [[4.0, 2.0, 12.0, 12.0], [0.0, 0.0, 16.0, 16.0]][:b]
    return There(crop(box, first), crop(box, second), crop(other, again))


def test_the_loss_is_the_way_there_and_back_written_as_loops():
    method, views = make(smooth=0.0).eval(), round_trip()
    net = method.matcher
    maps = [net(v.pixels).map for v in (views.first, views.second, views.again)]

    def step(of, to):
        of, to = (part.flatten(2).mT for part in net.meet(of, to))
        return torch.stack([(a @ b.T / math.sqrt(8)).softmax(1) for a, b in zip(of, to, strict=True)])

    trip = step(maps[0], maps[1]) @ step(maps[1], maps[2])
    costs = []
    for b, (box, other) in enumerate(zip(views.first.box.tolist(), views.again.box.tolist(), strict=True)):
        for cell in range(64):
            y, x = ((n + 0.5) / 8 for n in divmod(cell, 8))
            y, x = box[0] + y * box[2], box[1] + x * box[3]  # in the source
            y, x = 8 * (y - other[0]) / other[2], 8 * (x - other[1]) / other[3]
            if 0 <= y < 8 and 0 <= x < 8:
                costs.append(-(trip[b, cell, 8 * int(y) + int(x)] + 1e-7).log())
    assert len(costs) < 128
    torch.testing.assert_close(method.loss(views)["cycle"], torch.stack(costs).mean())


def test_in_the_same_crop_everyone_is_at_home_where_it_stands_and_mirrors_are_followed():
    views = round_trip()
    home, shown = homes(views.first, views.first, (4, 6))
    assert shown.all()
    assert torch.equal(home, torch.arange(24).expand(2, -1))
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    flip = torch.tensor([True])
    mirrored = View(views.first.pixels[:1], boxes, flip, torch.zeros(1), box_matrix(boxes, 16, flip))
    plain = View(views.first.pixels[:1], boxes, ~flip, torch.zeros(1), box_matrix(boxes, 16))
    home, shown = homes(plain, mirrored, (1, 4))
    assert home.tolist() == [[3, 2, 1, 0]]
    quarter = crop([[0.0, 0.0, 8.0, 8.0]], views.first.pixels[:1])
    home, shown = homes(plain, quarter, (2, 2))
    assert shown.tolist() == [[True, False, False, False]]
    home, shown = homes(quarter, plain, (2, 2))
    assert shown.all() and (home == 0).all()


def test_homes_and_ways_are_the_same_where_the_rest_is_bfloat16():
    torch.manual_seed(0)
    boxes = torch.rand(8, 4) * 30 + torch.tensor([0.0, 0.0, 70.0, 70.0])
    first, again = (
        View(torch.zeros(8, 3, 128, 128), b, None, None, box_matrix(b, 128, torch.zeros(8, dtype=torch.bool)))
        for b in (boxes, boxes.flip(0))
    )
    chances = torch.rand(8, 64, 64).softmax(-1)
    apart = homes(first, again, (16, 16)), displacement(chances, (8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = homes(first, again, (16, 16)), displacement(chances, (8, 8))
    assert all(torch.equal(a, b) for a, b in zip(apart[0], mixed[0], strict=True))
    torch.testing.assert_close(apart[1], mixed[1])


def test_views_are_two_frames_in_one_crop_and_the_first_in_another():
    method = make()
    batch = VideoBatch(
        torch.randint(0, 256, (3, 8, 3, 20, 20), dtype=torch.uint8),
        torch.arange(3), torch.full((3,), -1), torch.arange(8).expand(3, 8) / 8,
    )  # fmt: skip
    seen = method.views(batch)
    assert seen.first.pixels.shape == seen.again.pixels.shape == (3, 3, 16, 16)
    assert torch.equal(seen.first.box, seen.second.box)
    assert not torch.equal(seen.first.box, seen.again.box)
    assert not torch.equal(seen.first.pixels, seen.second.pixels)


@pytest.mark.parametrize("splits", [1, 2])
def test_each_picture_sees_the_other_and_the_order_of_the_two_does_not_matter(splits):
    net = make(layers=2, splits=splits).matcher.eval()
    first, second = torch.randn(2, 1, 8, 8, 8)
    one, two = net.meet(first, second)
    again, other = net.meet(second, first)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(two, again)
    changed, _ = net.meet(first, second + torch.randn_like(second))
    assert not torch.allclose(one, changed)
    torch.testing.assert_close(net.match(first, second).sum(2), torch.ones(1, 64))


def test_shifted_windows_are_put_together_again_and_cells_from_over_the_edge_do_not_meet():
    windows = Windows(4, 8, 2, shifted=True)
    cells = torch.arange(32.0).view(1, 32, 1)
    cut = windows.cut(cells)
    assert cut.shape == (1, 4, 8, 1)
    assert torch.equal(windows.merge(cut), cells)
    apart = windows.apart(cut)
    row, column = (cut[0, :, :, 0] // 8, cut[0, :, :, 0] % 8)
    for w in range(4):
        for i in range(8):
            for j in range(8):
                near = (row[w, i] - row[w, j]).abs() < 2 and (column[w, i] - column[w, j]).abs() < 4
                assert bool(apart[w, i, j] == 0) is bool(near)
    assert Windows(4, 8, 2, shifted=False).apart(cut) is None


def test_displacement_is_the_mean_way_or_that_around_the_likeliest_cell():
    chances = torch.zeros(1, 6, 6)
    chances[0, :, 5] = 0.6
    chances[0, :, 0] = 0.4
    mean = displacement(chances, (2, 3))
    torch.testing.assert_close(mean[0, :, 0, 0], torch.tensor([0.6 * 2, 0.6]))
    near = displacement(chances, (2, 3), window=1.5)
    torch.testing.assert_close(near[0, :, 0, 0], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(near[0, :, 1, 2], torch.zeros(2))


def test_only_a_flow_that_bends_where_the_picture_is_even_costs():
    even, steps = torch.zeros(1, 3, 8, 8), torch.arange(8.0).expand(1, 3, 8, 8) / 4
    ramp = torch.arange(4.0).expand(1, 2, 4, 4)
    bent = ramp.square()
    assert smoothness(ramp, even).item() == pytest.approx(0.001, rel=1e-3)
    assert smoothness(bent, even) > 0.1
    assert smoothness(bent, steps) < 0.01  # it bends across the steps
    assert smoothness(bent.mT, steps) > 0.1


def test_smoothness_comes_in_step_by_step():
    method, views = make(smooth=4.0, smooth_from=2, smooth_at=6).eval(), round_trip()
    weights = []
    for step in (0, 2, 3, 6, 9):
        method.clock = Clock(step, 10, 1)
        weights.append(method.loss(views).get("smooth", torch.zeros(())).item())
    assert weights[:2] == [0, 0]
    assert weights[3] == weights[4] == pytest.approx(4 * weights[2])


def test_a_run_keeps_a_matcher_that_follows_pixels_and_points(tmp_path):
    from vergence.data.video.example import example

    options = {key: value for key, value in ENCODER.items() if key != "name"}
    vergence.learn(
        GMRW, example().subset(np.arange(32)), encoder="resnet-tiny", encoder_options=options, epochs=1,
        batch_size=16, out=tmp_path / "run", quiet=True, dim=8, layers=1,
    )  # fmt: skip
    net = vergence.load(tmp_path / "run").backbone
    assert isinstance(net, Matcher)
    frames = torch.rand(2, 3, 24, 32)
    assert net.flow(frames, frames, window=2.0).shape == (2, 2, 24, 32)
    shown = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8).repeat(2, 0)
    tracks = track(shown, points=[(9, 21)], encoder=f"run:{tmp_path / 'run'}")
    np.testing.assert_allclose(tracks.points[-1, 0], (9, 21), atol=2)


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="GMRW needs an image encoder on frames"):
        GMRW(build("c3d-small", size=16, frames=4, width=4))
    with pytest.raises(BadInput, match="grows from step smooth_from to a later smooth_at; got 1.0, 5 and 5"):
        make(smooth=1.0, smooth_from=5, smooth_at=5)
    with pytest.raises(BadInput, match="a dim that is a multiple of 4, .* got 6, 1 and 2"):
        make(dim=6)
    with pytest.raises(BadInput, match="Maps of 8 x 8 cells cannot be cut in 3 x 3 windows"):
        make(splits=3).loss(round_trip())
