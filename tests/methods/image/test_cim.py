"""CIM: where a piece was cut out of a picture is known to the pixel; only the pieces' branch learns it."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.cim import CIM, covered, map_cost, turned_boxes
from vergence.methods.image.encoders import build
from vergence.nets.vit import ViT
from vergence.views.pixels.geometry import warp

SMALL = {"exemplars": 2, "width": 16, "heads": 2}
CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 2, "dim": 64, "depth": 2},
    "learn": {"epochs": 6},
    "options": {"exemplars": 2, "width": 32, "heads": 2, "momentum": 0.9},
    "exempt": {"labels": "80 steps are few to learn to compare; its run of record measures"},
}


def make(**options):
    torch.manual_seed(0)
    vit = ViT(size=24, patch=4, dim=16, depth=1, heads=2)
    return CIM(vit, **{**SMALL, "context_size": 24, "exemplar_size": 8, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 30, 30), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(5), torch.full((5,), -1))


def test_views_are_a_whole_and_pieces_of_it_with_their_masks(batch):
    views = make(exemplars=3).views(batch)
    assert views.context.shape == (5, 3, 24, 24) and views.exemplars.shape == (15, 3, 8, 8)
    assert views.masks.shape == (15, 24, 24) and views.masks.dtype == torch.bool
    share = views.masks.float().mean((1, 2))
    assert share.min() > 0.01 and share.max() < 0.9
    plain = CIM(build("vit-small32", size=56), **SMALL)
    assert (
        plain.context_size == 42 and plain.recolour.size == 14
    )  # nearest to 160/224 and 64/224, patches of 7


@pytest.mark.parametrize("affine", [None, {"degrees": 10.0, "translate": (0.05, 0.05)}])
def test_a_piece_is_what_its_mask_covers_in_the_context(affine):
    """A photo whose red is x and green is y tells of each pixel where it came from."""
    at = (torch.arange(240) + 0.5) / 240
    ramp = torch.stack([at.expand(240, 240), at[:, None].expand(240, 240), torch.zeros(240, 240)])
    method = make(degrees=45.0, exemplars=4)
    still = {"jitter_p": 0.0, "grey": 0.0, "solarize": 0.0}
    method.configure_views(still if affine is None else {**still, "affine": affine})
    pixels = (255 * ramp).round().to(torch.uint8).expand(6, -1, -1, -1).contiguous()
    views = method.views(ImageBatch(pixels, torch.arange(6), torch.full((6,), -1)))
    for row in range(24):
        seen = views.context[row % 6][:2, views.masks[row]]  # (2, pixels that are covered)
        piece = views.exemplars[row][:2].flatten(1)
        torch.testing.assert_close(seen.mean(1), piece.mean(1), atol=0.03, rtol=0)
        if affine is None:  # the corners of a turned whole show no photo, and pieces of them neither
            assert (seen.amin(1) - piece.amin(1)).abs().max() < 0.1
            assert (seen.amax(1) - piece.amax(1)).abs().max() < 0.1


def test_turned_boxes_stay_within_the_picture_and_are_upright_boxes_where_nothing_turns():
    boxes = torch.tensor([[2.0, 4.0, 10.0, 6.0]])
    sides = torch.full((1, 2), 20)
    matrix = turned_boxes(boxes, torch.zeros(1), sides, 4)
    torch.testing.assert_close(matrix, torch.tensor([[[1.5, 0.0, 4.0], [0.0, 2.5, 2.0]]]))
    mask = covered(matrix, 4, 20)[0]
    assert mask.sum() == 60 and mask[2:12, 4:10].all()
    torch.manual_seed(0)
    top, left = 10 * torch.rand(2, 500)
    boxes = torch.stack([top, left, 1 + 9 * torch.rand(500), 1 + 9 * torch.rand(500)], 1)
    angle = (torch.rand(500) - 0.5) * math.pi / 2
    matrix = turned_boxes(boxes, angle, torch.full((500, 2), 20), 4)
    corners = torch.tensor([[0.0, 0.0, 1], [4, 0, 1], [0, 4, 1], [4, 4, 1]])
    where = corners @ matrix.mT
    assert where.min() > -1e-4 and where.max() < 20 + 1e-4
    torch.testing.assert_close(where.mean(1), torch.stack([left + boxes[:, 3] / 2, top + boxes[:, 2] / 2], 1))
    torch.testing.assert_close(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]), angle)
    white = warp(torch.ones(500, 1, 20, 20), matrix, 4)
    assert white.min() > 0.6  # no black corners; a sample at the very border is mixed with what is beyond


def test_the_loss_is_the_sum_over_exemplars_of_the_maps_cross_entropy_written_as_loops(batch):
    method = make()
    views = method.views(batch)
    context, pieces = method.teacher(views.context), method.encoder(views.exemplars)
    part, look = method.correlate, method.correlate.look
    places = torch.cat([torch.zeros(1, 16), sincos_by_hand(6, 16)])
    total = 0.0
    for e in range(2):
        costs = []
        for b in range(5):
            row = 5 * e + b
            x = part.embed(torch.cat([context.pooled[b, None], context.tokens[b]])) + places
            t = part.embed(torch.cat([pieces.pooled[row, None], pieces.tokens[row]]))
            q = look.query(look.norm_queries(x)).view(-1, 2, 8)
            k, v = look.key_value(look.norm_tokens(t)).view(-1, 2, 2, 8).unbind(1)
            heads = [(q[:, h] @ k[:, h].T / 8**0.5).softmax(1) @ v[:, h] for h in range(2)]
            x = x + look.proj(torch.cat(heads, 1))
            x = x + look.mlp(look.norm(x))
            scores = part.answer(part.norm(x[1:])).T.view(1, 2, 6, 6)
            fine = interpolate(scores, (24, 24), mode="bilinear", align_corners=True)
            costs.append(cross_entropy(fine, views.masks[row][None].long()))
        total += torch.stack(costs).mean().item()
    assert method.loss(views)["correlate"].item() == pytest.approx(total, rel=1e-4)


def sincos_by_hand(side, width):
    rate = 10_000.0 ** -(torch.arange(width // 4) / (width // 4))
    rows = [
        torch.cat([(y * rate).sin(), (y * rate).cos(), (x * rate).sin(), (x * rate).cos()])
        for y in range(side)
        for x in range(side)
    ]
    return torch.stack(rows)


def test_a_map_that_is_right_costs_less_than_one_that_is_wrong():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :4] = True
    scores = 4 * torch.stack([1 - 2 * mask.float(), 2 * mask.float() - 1], 1)
    right, overlap = map_cost(scores, mask)
    wrong, none = map_cost(-scores, mask)
    assert right < 0.01 < math.log(2) < wrong and overlap == 1 and none == 0


def test_only_the_pieces_branch_learns_and_the_patches_stay_as_they_are(batch):
    method = make()
    method.loss(method.views(batch))["correlate"].backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert not any(p.requires_grad for p in method.encoder.patch_embed.parameters())
    assert all(p.requires_grad for p in make(train_patches=True).encoder.patch_embed.parameters())
    with torch.no_grad():
        method.encoder.cls_token.fill_(1.0)
        method.teacher.network.cls_token.zero_()
    method.clock = Clock(5, 10)  # of the step just taken
    method.step_end(Clock(6, 10))
    moved = method.teacher.network.cls_token
    torch.testing.assert_close(moved, torch.full_like(moved, 0.005))  # .99 has half of its way to 1


def test_mistakes_are_one_line(batch):
    with pytest.raises(BadInput, match=r"1 or more exemplars, .*; got 0, 0.99 and 45.0"):
        make(exemplars=0)

    class Vectors(nn.Module):
        out_dim, input_spec = 4, {"size": 24}

        def forward(self, images):
            return images.mean((2, 3)) @ torch.ones(3, 4)

    method = CIM(Vectors(), **SMALL)
    with pytest.raises(BadInput, match="CIM needs an encoder with tokens; Vectors has none"):
        method.loss(method.views(batch))
