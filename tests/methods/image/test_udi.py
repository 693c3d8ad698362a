"""UDI: samples lie at the same place of both crops, and a second class token is taught by their mean."""

import pytest
import torch
from torch.nn.functional import log_softmax

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image import udi
from vergence.methods.image.encoders import build
from vergence.methods.image.udi import UDI, centres, class_tokens, mixed, overlapping, strata, union
from vergence.nets.vit import ViT
from vergence.views.pixels.geometry import random_boxes
from vergence.views.pixels.planar import from_view_to_view

SMALL = {"prototypes": 20, "hidden": 16, "bottleneck": 8, "n_local": 2, "local_size": 8}
CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 4, "dim": 64, "depth": 2},
    "options": {"prototypes": 64, "hidden": 64, "bottleneck": 32, "n_local": 1, "momentum": 0.9},
    "learn": {"batch_size": 32, "epochs": 2},
    "exempt": {"labels": "32 steps are few for a student of its own copy; its run of record measures"},
}


def make(**options):
    torch.manual_seed(0)
    return UDI(ViT(size=24, patch=4, dim=16, depth=1, heads=2), **{**SMALL, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 30, 30), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(5), torch.full((5,), -1))


@pytest.mark.parametrize("affine", [None, {"degrees": 20.0, "translate": (0.1, 0.1)}])
def test_samples_lie_where_the_same_pixels_are(affine):
    """A photo whose red is x and green is y tells where a sample lies, in any crop, mirrored or turned."""
    at = (torch.arange(240) + 0.5) / 240
    ramp = torch.stack([at.expand(240, 240), at[:, None].expand(240, 240), torch.zeros(240, 240)])
    method = make()
    still = {"jitter_p": 0.0, "grey": 0.0, "solarize": 0.0, "blur": 0.0}
    method.configure_views(still if affine is None else {**still, "affine": affine})
    ramp[2] = 1.0  # nothing where a turned crop shows no photo
    pixels = (255 * ramp).round().to(torch.uint8).expand(8, -1, -1, -1).contiguous()
    views = method.views(ImageBatch(pixels, torch.arange(8), torch.full((8,), -1)))
    assert views.own.shape == (16, 4, 2) and views.there.shape == (16, 4 + 2, 2)  # windows of 3, then of 2
    assert 0.3 < torch.stack([crop.flip for crop in views.crops]).float().mean() < 0.7
    for q in range(2):
        for b in range(8):
            for i in range(4):
                if views.inside[8 * q + b, i]:
                    own, other = views.own[8 * (1 - q) + b, i], views.there[8 * q + b, i].clamp(0.5, 23.4)
                    colours = [
                        crop.pixels[b, :, int(y), int(x)]
                        for crop, (x, y) in ((views.crops[1 - q], own), (views.crops[q], other))
                    ]
                    if min(colour[2] for colour in colours) == 1:
                        torch.testing.assert_close(*colours, atol=0.08, rtol=0)


def test_samples_of_local_crops_lie_where_the_same_pixels_are(monkeypatch):
    """What a local crop shows at a patch that was drawn, a global crop shows at the place it is sent to."""
    places = []
    monkeypatch.setattr(udi, "strata", lambda *args: places.append(strata(*args)) or places[-1])
    at = (torch.arange(240) + 0.5) / 240
    ramp = torch.stack([at.expand(240, 240), at[:, None].expand(240, 240), torch.zeros(240, 240)])
    pixels = (255 * ramp).round().to(torch.uint8).expand(16, -1, -1, -1).contiguous()
    method = make(n_local=2, local_size=16)
    method.configure_views({"jitter_p": 0.0, "grey": 0.0, "solarize": 0.0, "blur": 0.0})
    views = method.views(ImageBatch(pixels, torch.arange(16), torch.full((16,), -1)))
    drawn = [centres(each, 4, 4) for each in places[1:]]  # 4 patches of 4 pixels a side, 2 windows
    assert views.there.shape == (32, 4 + 4 + 4, 2) and {crop.flip.sum().item() for crop in views.crops} != {0}
    compared = 0
    for v, own in enumerate(drawn):
        shown = mixed(views.crops[2 + v].pixels.flatten(2).mT, (16, 16), own / 16)
        for q in range(2):
            rows, part = slice(16 * q, 16 * (q + 1)), slice(4 + 4 * v, 8 + 4 * v)
            there, inside = views.there[rows, part], views.inside[rows, part]
            inside &= ((there > 0.5) & (there < 23.5)).all(2)  # where four pixels are mixed
            sent = mixed(views.crops[q].pixels.flatten(2).mT, (24, 24), there / 24)
            torch.testing.assert_close(sent[inside], shown[inside], atol=0.02, rtol=0)
            compared += inside.sum().item()
    assert compared > 100


def test_crops_share_half_of_the_smaller_side_and_stay_within_the_photo():
    torch.manual_seed(0)
    sizes = torch.tensor([[40, 60]]).expand(400, 2)
    first, second = (random_boxes(sizes, scale=(0.05, 0.5), ratio=(0.75, 4 / 3)) for _ in range(2))
    pushed = overlapping(second, first, sizes)
    end = torch.minimum(first[:, :2] + first[:, 2:], pushed[:, :2] + pushed[:, 2:])
    shared = end - torch.maximum(first[:, :2], pushed[:, :2])
    assert (shared >= torch.minimum(first[:, 2:], second[:, 2:]) / 2 - 1e-4).all()
    assert pushed.min() >= 0 and (pushed[:, :2] + pushed[:, 2:] <= sizes + 1e-4).all()
    assert torch.equal(pushed[:, 2:], second[:, 2:])
    assert torch.equal(overlapping(pushed, first, sizes), pushed)
    around = union(first, second)
    assert (around[:, :2] <= first[:, :2]).all() and (around[:, :2] <= second[:, :2]).all()


def test_every_window_gives_one_patch_and_leftover_patches_get_their_turn():
    torch.manual_seed(0)
    places = strata(600, 8, 3)  # 2 x 2 windows of 3 in a grid of 8, pushed to one of four corners
    y, x = places // 8, places % 8
    assert places.shape == (600, 4)
    assert (y[:, 2] - y[:, 0] >= 1).all() and (x[:, 1] - x[:, 0] >= 1).all()
    assert set(places.flatten().tolist()) == set(range(64))
    torch.testing.assert_close(
        centres(torch.tensor([[0, 9]]), 8, 4), torch.tensor([[[2.0, 2.0], [6.0, 6.0]]])
    )


def test_all_terms_are_the_formulas_written_as_loops(batch):
    method = make(alpha=0.3)
    for name in ("centre", "second_centre", "patch_centre"):
        getattr(method, name).normal_()
    kept = [getattr(method, name).clone() for name in ("centre", "second_centre", "patch_centre")]
    views = method.views(batch)
    encoder, head = method.teacher.network
    said = [class_tokens(method.encoder, crop)[0] for crop in views.crops]
    whole = torch.cat([crop.pixels for crop in views.crops[:2]])
    meant, parts = method.teach(whole, views.there / 24)
    classes, seconds, patches, everywhere = [], [], [], []
    for q, v, b in ((q, v, b) for q in range(2) for v in range(4) if v != q for b in range(5)):
        samples = range(4) if v < 2 else range(4 + v - 2, 5 + v - 2)
        at = [i for i in samples if views.inside[5 * q + b, i]]
        t = meant[5 * q + b]
        words = [parts[5 * q + b, i] for i in at]
        both = 0.3 * (torch.stack(words).mean(0) if words else torch.zeros(20)) + 0.7 * t
        for token, target, centre, costs in ((0, t, kept[0], classes), (1, both, kept[1], seconds)):
            log_p = log_softmax(method.head(said[v][b, token]) / 0.1, 0)
            costs.append(-(torch.softmax((target - centre) / 0.04, 0) * log_p).sum())
        everywhere += words
        if v < 2:
            _, tokens, grid = class_tokens(method.encoder, views.crops[v])
            scores = method.head(method.look(tokens, grid, views.own[5 * v : 5 * v + 5] / 24))[b]
            for i, word in zip(at, words, strict=True):
                target = torch.softmax((word - kept[2]) / 0.04, 0)
                patches.append(-(target * log_softmax(scores[i] / 0.1, 0)).sum())
    terms = method.loss(views)
    for name, costs in (("class", classes), ("second", seconds), ("patches", patches)):
        assert terms[name].item() == pytest.approx(torch.stack(costs).mean().item() / 3, rel=1e-4)
    torch.testing.assert_close(method.patch_centre, 0.9 * kept[2] + 0.1 * torch.stack(everywhere).mean(0))
    torch.testing.assert_close(method.centre, 0.9 * kept[0] + 0.1 * meant.mean(0))


def test_a_look_around_gives_a_patchs_own_token_at_its_centre(batch):
    method = make()
    with torch.no_grad():
        method.look.proj.weight.zero_()
    _, tokens, grid = class_tokens(method.encoder, batch.pixels[..., :24, :24])
    seen = method.look(tokens, grid, centres(torch.tensor([[7, 20]]).expand(5, -1), 6, 4) / 24)
    own = method.look.after(method.look.before(tokens))[:, [7, 20]]
    torch.testing.assert_close(seen, own)


def test_crops_of_one_place_move_points_nowhere(batch):
    views = make().views(batch)
    xy = 24 * torch.rand(5, 3, 2)
    torch.testing.assert_close(
        from_view_to_view(xy, views.crops[0].matrix, views.crops[0].matrix), xy, atol=1e-4, rtol=0
    )


def test_alpha_0_teaches_the_second_token_as_the_first_and_parts_can_be_left_out(batch):
    method = make(alpha=0.0, parts=("class", "second"))
    views = method.views(batch)
    meant, parts = method.teach(torch.cat([c.pixels for c in views.crops[:2]]), views.there / 24)
    targets = method.second_targets(views, meant, parts)
    torch.testing.assert_close(targets[0], meant[5:])  # of the first crop by the second
    terms = method.loss(views)
    assert terms["patches"] == 0 and terms["class"] > 0 and terms["second"] > 0


def test_only_the_student_learns_and_the_encoder_keeps_its_second_token(batch):
    method = make()
    sum(method.loss(method.views(batch)).values()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert method.encoder.registers.grad.abs().sum() > 0
    with torch.no_grad():
        method.look.proj.bias.fill_(1.0)
    method.clock = Clock(0, 10)
    method.step_end(method.clock)
    torch.testing.assert_close(method.look_teacher.network.proj.bias, torch.full((16,), 0.004))
    named = build("vit-micro", size=16, patch=2)
    UDI(named, **{**SMALL, "local_size": 8})
    assert named.spec["registers"] == 1 and named.num_prefix == 2


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="needs a vision transformer of this library; got resnet-tiny"):
        UDI(build("resnet-tiny", size=16), **SMALL)
    with pytest.raises(BadInput, match=r"alpha in \[0, 1\], .*got 2, \(3, 2\)"):
        make(alpha=2)
    with pytest.raises(BadInput, match="1 patches a side and"):
        make(local_size=4)
