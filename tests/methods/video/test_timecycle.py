import math

import pytest
import torch
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.encoders import build
from vergence.methods.video.timecycle import (
    PatchLater,
    TimeCycle,
    Tracker,
    box_at,
    cell_affinity,
    changing_place,
    cut_out,
    fitting_size,
    grid_distance,
    soft_inliers,
)

SMALL = {"dim": 8, "frames": 2, "kernel": 2, "widths": (8, 6)}
CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 8, "blocks": (1,), "frames": 4, "read": 8},
    "options": {**SMALL, "kernel": 1},  # frames of 12 pixels have 6 cells a side
    "exempt": {
        "learns": "80 steps on the waves teach no correspondence: place alone then explains most of a cell's "
        "variance, and a patch of another clip is found as well as the own; no world shows more yet",
    },
}


def make(**options):
    torch.manual_seed(0)
    encoder = build("resnet-tiny", size=24, width=8, blocks=(1,), frames=4)
    method = TimeCycle(encoder, **{**SMALL, **options})
    torch.nn.init.normal_(method.tracker.where.weight, std=0.3)
    return method


def later(b=2, t=2):
    torch.manual_seed(1)
    past, target = torch.rand(b, t, 3, 24, 24), torch.rand(b, 3, 24, 24)
    box = box_at(torch.rand(b, 3) - 0.5)
    return PatchLater(past, target, cut_out(target, box, 8), box)


def test_each_term_is_its_formula_written_out():
    method, views = make(cycle=2.0, skip=3.0, inlier=5.0).eval(), later()
    terms = method.loss(views)
    patch, target = method.cells(views.patch), method.cells(views.target)
    one, two = (method.cells(views.past[:, t]) for t in (0, 1))

    def find(patch, frame):
        return method.tracker(cell_affinity(patch, frame, 8**-0.5))

    def cut(frame, box):
        return cut_out(frame, box, 4)

    short = find(cut(two, find(patch, two)), target)
    back = cut(two, find(patch, two))
    back = cut(one, find(back, one))
    forth = cut(two, find(back, two))
    long = find(forth, target)
    both = (grid_distance(short, views.box) + grid_distance(long, views.box)) / 2
    torch.testing.assert_close(terms["cycle"], 2 * both)
    leaps = [find(cut(frame, find(patch, frame)), target) for frame in (one, two)]
    leap = sum(grid_distance(box, views.box) for box in leaps) / 2
    torch.testing.assert_close(terms["skip"], 3 * leap)
    inside = [
        soft_inliers(cell_affinity(patch, frame, 8**-0.5), find(patch, frame)).mean() for frame in (one, two)
    ]
    torch.testing.assert_close(terms["inlier"], -5 * sum(inside) / 2)


def test_an_affinity_is_a_softmax_over_the_frame_for_each_cell_of_the_patch():
    patch, frame = torch.randn(1, 5, 2, 2), torch.randn(1, 5, 6, 6)
    affinity = cell_affinity(patch, frame, 0.2)
    torch.testing.assert_close(affinity.sum(1), torch.ones(1, 4))
    near = normalize(patch[0, :, 1, 0], dim=0)
    scores = normalize(frame[0], dim=0).flatten(1).T @ near
    torch.testing.assert_close(affinity[0, :, 2], (scores / 0.2).softmax(0))


def test_a_box_cuts_a_third_out_where_it_says_and_turned():
    frame = torch.arange(81.0).view(1, 1, 9, 9)
    middle = cut_out(frame, box_at(torch.zeros(1, 3)), 3)
    torch.testing.assert_close(middle[0, 0], frame[0, 0, 3:6, 3:6])
    corner = cut_out(frame, box_at(torch.tensor([[2 / 3, -2 / 3, 0.0]])), 3)
    torch.testing.assert_close(corner[0, 0], frame[0, 0, :3, 6:], rtol=1e-4, atol=1e-4)
    turned = cut_out(frame, box_at(torch.tensor([[0.0, 0.0, math.pi / 2]])), 3)
    torch.testing.assert_close(turned[0, 0], torch.rot90(frame[0, 0, 3:6, 3:6], 1), rtol=1e-4, atol=1e-4)


def test_boxes_that_agree_are_no_distance_apart_and_a_shift_is_its_square():
    box = box_at(torch.rand(4, 3))
    assert grid_distance(box, box) == 0
    moved = box.clone()
    moved[:, 0, 2] += 0.3
    assert grid_distance(moved, box).item() == pytest.approx(0.09, rel=1e-4)


def test_cells_in_place_are_inliers_and_others_are_none():
    affinity = torch.zeros(2, 36, 4)
    for cell in range(4):
        affinity[:, 6 * (2 + cell // 2) + 2 + cell % 2, cell] = 1
    boxes = box_at(torch.tensor([[0.0, 0.0, 0.0], [2 / 3, 2 / 3, 0.0]]))
    inside = soft_inliers(affinity, boxes)
    assert inside[0].item() == pytest.approx(1, abs=1e-3)
    assert inside[1] == pytest.approx(0, abs=1e-5)
    even = soft_inliers(torch.full((2, 36, 4), 1 / 36), boxes)
    torch.testing.assert_close(even, torch.full((2,), 1 / 36), rtol=1e-3, atol=0)


def test_in_a_still_clip_with_a_tracker_that_knows_both_ways_cost_nothing():
    method, views = make().eval(), later()
    still = PatchLater(views.target[:, None].expand(-1, 2, -1, -1, -1), views.target, views.patch, views.box)
    method.tracker.forward = lambda affinity: views.box.repeat_interleave(len(affinity) // 2, 0)
    terms = method.loss(still)
    assert terms["cycle"] == terms["skip"] == 0


def test_patches_are_cut_where_things_change():
    torch.manual_seed(0)
    change = torch.zeros(200, 27, 27)
    change[:, 15:, :12] = 1
    x, y, turn = changing_place(change).unbind(1)
    assert x.max() < 0.2 and y.min() > -0.2
    assert turn.abs().max() <= math.pi / 4
    every = changing_place(torch.rand(500, 27, 27))[:, :2]
    assert every.abs().max() <= 2 / 3


def test_views_are_frames_in_order_and_a_patch_of_the_one_before_the_last():
    method = make()
    b, t = 3, 8
    pixels = (25 * torch.arange(t, dtype=torch.uint8)).view(1, t, 1, 1, 1).repeat(b, 1, 3, 30, 30)
    batch = VideoBatch(pixels, torch.arange(b), torch.full((b,), -1), torch.arange(t).expand(b, t) / 8)
    seen = method.views(batch)
    assert seen.past.shape == (3, 2, 3, 24, 24)
    assert seen.patch.shape == (3, 3, 8, 8)
    level = torch.cat([seen.past, seen.target[:, None]], 1).mean((2, 3, 4))
    assert (level.diff(dim=1) > 0).all()
    inner = seen.patch[:, :, 3:5, 3:5].mean((1, 2, 3))
    torch.testing.assert_close(inner, level[:, -1])


def test_frames_are_as_large_as_three_times_a_patch_allows():
    net = build("resnet-tiny", size=16, width=8, blocks=(1,), frames=4).backbone
    assert fitting_size(net, 16) == (12, 6)
    assert fitting_size(net, 24) == (24, 12)
    with pytest.raises(BadInput, match="which no size of up to 5 pixels has here"):
        fitting_size(build("resnet-tiny", size=64, width=8, frames=4).backbone, 5)
    assert Tracker(21).side == 7


def test_every_part_learns():
    method = make().train()
    sum(method.loss(later()).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_descent_on_one_batch_puts_affinity_where_the_box_is():
    method, views = make(cycle=0.0, skip=0.0).train(), later(8)
    descend = torch.optim.Adam(method.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = sum(method.loss(views).values())
        descend.zero_grad()
        loss.backward()
        descend.step()
        losses.append(loss.item())
    assert losses[-1] < 1.5 * losses[0] < 0


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="TimeCycle needs an image encoder on frames"):
        TimeCycle(build("c3d-small", size=24, frames=4, width=4))
    with pytest.raises(BadInput, match="n of 7 or more; got 12"):
        make(kernel=4)
    with pytest.raises(BadInput, match="got 0, 0.02, 0.1 and 1.0"):
        make(frames=0)
