import pytest
import torch

from vergence.data.targets import Boxes, Depth, Flow, Keypoints, Segments
from vergence.views.pixels.geometry import affine_matrix
from vergence.views.pixels.planar import (
    Affine,
    Homography,
    ThinPlate,
    homography_between,
    random_homographies,
    random_thin_plates,
    sampled,
)
from vergence.views.pixels.targets import moved_targets

SIDE = 32
SIZES = torch.full((4, 2), SIDE)


def maps():
    seeded = torch.Generator().manual_seed(0)
    affine = affine_matrix(SIZES, angle=torch.full((4,), 0.3), scale=torch.full((4,), 1.2))[:, :2]
    return {
        "affine": Affine(affine),
        "homography": random_homographies(SIZES, generator=seeded),
        "thin plate": random_thin_plates(SIZES, generator=seeded),
    }


@pytest.mark.parametrize("kind", maps())
def test_there_and_back_is_the_same_point(kind):
    plane = maps()[kind]
    xy = torch.rand(4, 50, 2) * SIDE
    torch.testing.assert_close(plane.to_view(plane.to_source(xy)), xy, atol=2e-3, rtol=0)
    rows = torch.tensor([2, 2, 0])
    torch.testing.assert_close(
        plane.pick(rows).to_source(xy[rows]), plane.to_source(xy)[rows], atol=1e-3, rtol=0
    )


def test_a_spline_takes_its_control_points_to_their_places_and_is_affine_where_they_are():
    control = torch.rand(3, 7, 2, dtype=torch.float64) * SIDE
    target = control + torch.randn(3, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(ThinPlate(control, target).to_source(control), target)
    matrix = torch.randn(3, 2, 3, dtype=torch.float64)
    affine = Affine(matrix)
    plane = ThinPlate(control, affine.to_source(control))
    xy = torch.rand(3, 20, 2, dtype=torch.float64) * SIDE
    torch.testing.assert_close(plane.to_source(xy), affine.to_source(xy))


def test_four_points_say_a_homography():
    points = torch.tensor([(0, 0), (1, 0), (1, 1), (0, 1)]).expand(2, 4, 2) * 10.0
    to = points + torch.rand(2, 4, 2)
    torch.testing.assert_close(Homography(homography_between(points, to)).to_source(points), to)


def test_half_a_cell_is_not_lost():
    """A map by whole pixels moves whole pixels: nothing is interpolated, and the edge is where it was."""
    picture = torch.rand(1, 1, SIDE, SIDE)
    shift = Affine(torch.tensor([[[1.0, 0, 3], [0, 1, -2]]]))
    out, inside = sampled(picture, shift, SIDE)
    torch.testing.assert_close(out[..., 2:, :-3], picture[..., :-2, 3:])
    assert inside[0, 2:, :-3].all() and not inside[0, :2].any() and not inside[0, :, -3:].any()
    double = Affine(torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]]))
    out, _ = sampled(picture, double, 2 * SIDE, mode="nearest")
    assert torch.equal(out, picture.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("kind", maps())
def test_points_pixels_and_flows_move_alike(kind):
    """A bump goes where the point goes, a ramp has its coordinate as value, a flow ends where it should."""
    plane = maps()[kind]
    at = torch.arange(SIDE) + 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    point = torch.tensor([[14.3, 17.1]]).expand(4, 1, 2)
    bump = torch.exp(-((x - 14.3) ** 2 + (y - 17.1) ** 2) / 8).expand(4, 1, SIDE, SIDE)
    seen, _ = sampled(bump, plane, SIDE)
    weight = (seen / seen.sum((2, 3), keepdim=True))[:, 0]
    centre = torch.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1)
    keypoints = Keypoints.of_samples(point)
    uv = torch.tensor([1.5, -1.0]).view(1, 2, 1, 1).expand(4, 2, SIDE, SIDE).contiguous()
    targets = {"keypoints": keypoints, "flow": Flow(uv), "depth": Depth(x.expand(4, SIDE, SIDE).contiguous())}
    moved = moved_targets(targets, plane, SIDE, SIZES)
    xy = moved["keypoints"].xy.as_subclass(torch.Tensor)[:, 0]
    torch.testing.assert_close(
        xy, centre, atol=0.35, rtol=0
    )  # a bump's mean is its peak where the map is straight
    pixel = xy.long()
    every = torch.arange(4)
    expected = plane.to_view(plane.to_source((pixel + 0.5).float()[:, None]) + torch.tensor([1.5, -1.0]))[
        :, 0
    ]
    torch.testing.assert_close(
        moved["flow"].uv[every, :, pixel[:, 1], pixel[:, 0]], expected - pixel - 0.5, atol=2e-3, rtol=0
    )
    source_x = plane.to_source((pixel + 0.5).float()[:, None])[:, 0, 0]
    assert (moved["depth"].values[every, pixel[:, 1], pixel[:, 0]] - source_x).abs().max() <= 0.5


def test_boxes_hold_what_bends_and_lines_keep_their_seen_share():
    plane = maps()["thin plate"]
    boxes = Boxes.of_samples([[[6, 6, 24, 20]]] * 4)
    moved = moved_targets({"boxes": boxes}, plane, SIDE, SIZES)["boxes"].xyxy.as_subclass(torch.Tensor)
    dense = torch.cartesian_prod(torch.linspace(6, 24, 60), torch.linspace(6, 20, 60)).expand(4, -1, 2)
    inside = plane.to_view(dense)
    hull = torch.cat([inside.amin(1), inside.amax(1)], 1).clamp(0, SIDE)
    torch.testing.assert_close(moved, hull, atol=0.1, rtol=0)
    line = Segments(torch.arange(1), torch.tensor([[[-10.0, 5], [30, 5]]]), torch.ones(1))
    identity = Affine(torch.eye(2, 3)[None])
    assert moved_targets({"segments": line}, identity, SIDE, SIZES[:1])[
        "segments"
    ].share.item() == pytest.approx(0.75)
