"""One geometry for pixels and targets: pictures whose targets are known, moved with them."""

import pytest
import torch

from vergence.data.image.batch import ImageBatch
from vergence.data.targets import (
    VOID,
    Boundaries,
    Boxes,
    Captions,
    Depth,
    Flow,
    Instances,
    Keypoints,
    Masks,
    from_centres,
    to_centres,
)
from vergence.views.pixels.augment import Augment, centre_view
from vergence.views.pixels.geometry import affine_matrix, box_matrix, warp
from vergence.views.pixels.targets import moved_targets

H, W, B = 96, 128, 24
DOTS = torch.tensor([[30.5, 40.5], [90.5, 22.5], [64.5, 70.5]])  # (x, y) of the dots' centres
BOX = (24, 16, 88, 72)  # left, top, right, bottom of the red block
CALM = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0}
MOTION = {"degrees": 40.0, "translate": (0.1, 0.1), "scale": (0.8, 1.3), "shear": 15.0}


def pictures(count=B, sizes=None):
    """A red block; three dots, one after the other, in green; everything known without looking."""
    pixels = torch.zeros(count, 3, H, W, dtype=torch.uint8)
    left, top, right, bottom = BOX
    pixels[:, 0, top:bottom, left:right] = 255
    block = pixels[:, 0] > 0
    for i in range(count):
        x, y = DOTS[i % 3].long().tolist()
        pixels[i, 1, y - 2 : y + 3, x - 2 : x + 3] = 255
    ramp = torch.arange(W).float().expand(count, H, W)
    targets = {
        "boxes": Boxes.of_samples([[BOX]] * count, [[7]] * count),
        "masks": Masks(block.to(torch.int16)),
        "instances": Instances(torch.arange(count), block, torch.full((count,), 7)),
        "keypoints": Keypoints.of_samples(DOTS[torch.arange(count) % 3][:, None]),
        "boundaries": Boundaries(torch.arange(count), block.float()),
        "depth": Depth(ramp + 0.5),
        "flow": Flow(torch.stack([torch.ones(count, H, W), torch.zeros(count, H, W)], 1)),
        "captions": Captions((("a block",),) * count),
    }
    where = torch.arange(count)
    return ImageBatch(pixels, where, where * 0, sizes=sizes, targets=targets)


def centroid(weight):
    """Return the centre ``(B, 2)`` (x, y) of maps ``(B, S, S)``."""
    at = torch.arange(weight.shape[1]) + 0.5
    total = weight.sum((1, 2))
    return torch.stack([(weight * at).sum((1, 2)), (weight * at[:, None]).sum((1, 2))], 1) / total[:, None]


def iou(first, second):
    return ((first & second).sum((1, 2)) / (first | second).sum((1, 2)).clamp_min(1)).float()


@pytest.mark.parametrize("affine", [None, MOTION])
@pytest.mark.parametrize("size", [64, 160])
def test_masks_instances_and_boundaries_stay_on_the_pixels(affine, size):
    torch.manual_seed(0)
    view = Augment(size, scale=(0.3, 1.0), affine=affine, **CALM)(pictures())
    seen = view.pixels[:, 0] > 0.5
    large = seen.sum((1, 2)) > size * size / 20
    assert large.sum() >= B / 2
    masks = view.targets["masks"].classes
    assert iou(seen, masks == 1)[large].min() > 0.93
    assert torch.equal((masks == 1), view.targets["instances"].masks.as_subclass(torch.Tensor))
    assert iou(seen, view.targets["boundaries"].maps > 0.5)[large].min() > 0.96


@pytest.mark.parametrize("affine", [None, MOTION])
def test_keypoints_land_on_their_dot_or_are_out_of_view(affine):
    torch.manual_seed(1)
    view = Augment(128, scale=(0.2, 1.0), affine=affine, **CALM)(pictures())
    points, green = view.targets["keypoints"], view.pixels[:, 1]
    away = torch.minimum(points.xy.amin((1, 2)), (128 - points.xy).amin((1, 2)))
    whole = away > 12  # the dot, at most 5 pixels at threefold size, is in view entirely
    assert whole.sum() >= 8
    assert (centroid(green)[whole] - points.xy[whole, 0]).abs().max() < 0.5
    lost = away < -12
    assert lost.any() and (green[lost].amax((1, 2)) == 0).all()
    assert (points.visibility[:, 0] == torch.where(away >= 0, 2, 0)).all()


def test_boxes_are_the_block_cut_at_the_edge_and_say_how_much_is_left():
    torch.manual_seed(2)
    batch = pictures(200)
    view = Augment(64, scale=(0.05, 0.6), flip=0.5, **CALM)(batch)
    boxes, seen = view.targets["boxes"], view.pixels[:, 0] > 0.5
    assert boxes.xyxy.canvas_size == (64, 64) and (boxes.label == 7).all()
    lost = boxes.share == 0
    assert lost.any() and not seen[lost].any()
    inside = seen.flatten(1).sum(1) > 30
    columns, rows = seen.any(1), seen.any(2)
    first = torch.stack([columns.float().argmax(1), rows.float().argmax(1)], 1)
    last = 64 - torch.stack([columns.flip(1).float().argmax(1), rows.flip(1).float().argmax(1)], 1)
    true = torch.cat([first, last], 1)
    assert (boxes.xyxy[inside] - true[inside]).abs().max() <= 1
    top, left, tall, wide = view.box.unbind(1)
    width = (torch.minimum(left + wide, torch.tensor(88.0)) - left.clamp_min(24)).clamp_min(0)
    height = (torch.minimum(top + tall, torch.tensor(72.0)) - top.clamp_min(16)).clamp_min(0)
    torch.testing.assert_close(boxes.share, width * height / (64 * 56), rtol=1e-4, atol=1e-5)


def test_a_mirror_image_of_a_mirror_image_is_the_picture():
    batch = pictures()
    square = centre_view(batch, H).targets
    whole = torch.tensor([[0.0, 0.0, H, H]]).expand(B, 4)
    mirror = box_matrix(whole, H, torch.ones(B, dtype=torch.bool))
    sizes = torch.full((B, 2), H)
    once = moved_targets(square, mirror, H, sizes)
    twice = moved_targets(once, mirror, H, sizes)
    assert (once["flow"].uv[:, 0] == -1).all() and (once["flow"].uv[:, 1] == 0).all()
    assert torch.equal(once["masks"].classes, square["masks"].classes.flip(2))
    for name in ("boxes", "masks", "instances", "keypoints", "boundaries", "depth", "flow"):
        for field in ("xyxy", "share", "classes", "masks", "xy", "visibility", "maps", "values", "uv"):
            if hasattr(square[name], field):
                torch.testing.assert_close(getattr(twice[name], field), getattr(square[name], field))
    assert twice["captions"] is batch.targets["captions"]


def test_depth_and_flow_keep_their_values_and_flow_turns_with_the_view():
    batch, quarter = pictures(4), torch.full((4,), torch.pi / 2)
    sizes = torch.tensor([[H, W]]).expand(4, 2)
    matrix = affine_matrix(sizes, angle=quarter)[:, :2]
    turned = moved_targets(batch.targets, matrix, H, sizes)
    known = turned["depth"].values.isfinite()
    assert (turned["flow"].uv[:, 0].isfinite() == known).all() and not known.all()
    uv = turned["flow"].uv.permute(0, 2, 3, 1)[known]
    torch.testing.assert_close(uv, torch.tensor([0.0, 1.0]).expand_as(uv), atol=1e-5, rtol=0)  # clockwise
    assert ((turned["depth"].values[known] - 0.5) % 1 == 0).all()
    assert (turned["masks"].classes[~known] == VOID).all()
    magnified = moved_targets(
        batch.targets, affine_matrix(sizes, scale=torch.full((4,), 2.0))[:, :2], H, sizes
    )
    assert (magnified["flow"].uv[:, 0] == 2).all()


def test_what_lies_beside_a_smaller_photo_on_its_canvas_is_unknown():
    sizes = torch.tensor([[H, W], [40, 50]])
    view = centre_view(pictures(2, sizes), 40)
    assert (view.targets["masks"].classes != VOID).all()
    wide = moved_targets(pictures(2, sizes).targets, torch.eye(2, 3).expand(2, 2, 3), H, sizes)
    assert (wide["masks"].classes[1, 40:] == VOID).all() and (wide["masks"].classes[1, :, 50:] == VOID).all()
    assert (wide["masks"].classes[0] != VOID).all()


def test_a_views_pixels_do_not_depend_on_the_targets_and_without_any_there_are_none():
    torch.manual_seed(3)
    batch = pictures(6)
    bare = ImageBatch(batch.pixels, batch.index, batch.label)
    make = Augment(32)
    views = [make(part, torch.Generator().manual_seed(5)) for part in (batch, bare)]
    assert torch.equal(views[0].pixels, views[1].pixels) and views[1].targets is None
    assert warp(batch.pixels, views[0].matrix, 32).shape == (6, 3, 32, 32)


def test_coordinates_of_files_that_count_pixel_centres_move_by_half_a_pixel():
    first = from_centres(torch.tensor([0.0, 0.0]))
    assert first.tolist() == [0.5, 0.5] and to_centres(first).tolist() == [0.0, 0.0]
