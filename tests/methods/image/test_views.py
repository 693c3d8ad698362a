from dataclasses import fields

import pytest
import torch

from vergence.core.errors import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.views import KINDS, crops, local_side, masked, pair, two_crops
from vergence.views.pixels import augment
from vergence.views.pixels.augment import Augment, plain


def batch(pixels, sizes=None):
    n = len(pixels)
    return ImageBatch(pixels, torch.arange(n), torch.full((n,), -1), sizes)


def noise(n=8, height=32, width=32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=g)


def coordinates(n, height, width, scale=4.0):
    """Photos whose red says x and whose green says y, in pixels times ``scale``; blue is 255."""
    x = (torch.arange(width) * scale).expand(height, width)
    y = (torch.arange(height) * scale)[:, None].expand(height, width)
    return torch.stack([x, y, torch.full_like(x, 255)]).to(torch.uint8).expand(n, -1, -1, -1).contiguous()


QUIET = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_gives_float_channels_last_images_and_leaves_the_photos_alone(kind):
    photos = noise()
    before = photos.clone()
    options = {"patch": 8} if kind == "masked" else {}
    views = KINDS[kind](16, **options)(batch(photos))
    assert len(views) == {"pair": 2, "two_crops": 2, "crops": 10, "masked": 1}[kind]
    for view in views:
        assert view.pixels.dtype == torch.float32
        assert view.pixels.is_contiguous(memory_format=torch.channels_last)
        assert view.pixels.min() >= 0 and view.pixels.max() <= 1
    assert torch.equal(photos, before)


def test_a_seed_repeats_every_view_and_the_next_draw_differs():
    make = crops(32, n_local=1, blur=0.5, solarize=0.5, affine={"degrees": 10})
    photos = batch(noise(40))

    def draw(seed):
        return make(photos, generator=torch.Generator().manual_seed(seed))

    for a, b, c in zip(draw(1), draw(1), draw(2), strict=True):
        for field in fields(a):
            if field.name not in ("mask", "targets"):  # there are none here
                assert torch.equal(getattr(a, field.name), getattr(b, field.name))
        assert not torch.equal(a.pixels, c.pixels)
    torch.manual_seed(5)
    first = make(photos)[0].pixels
    torch.manual_seed(5)
    assert torch.equal(first, make(photos)[0].pixels)
    assert not torch.equal(first, make(photos)[0].pixels)


def test_the_two_views_of_a_pair_are_drawn_apart():
    one, other = pair(16)(batch(noise()))
    assert not torch.equal(one.box, other.box)
    assert not torch.equal(one.pixels, other.pixels)


def test_blocks_of_the_cache_do_not_change_the_result(monkeypatch):
    make = Augment(32, blur=0.5, solarize=0.3)
    photos = batch(noise(20))
    whole = make(photos, torch.Generator().manual_seed(0)).pixels
    monkeypatch.setattr(augment, "blocks", lambda pixels, size: [slice(0, 7), slice(7, 20)])
    assert torch.allclose(make(photos, torch.Generator().manual_seed(0)).pixels, whole, atol=1e-6)


@pytest.mark.parametrize(
    "affine", [None, {"degrees": 20, "translate": (0.1, 0.1), "scale": (0.9, 1.2), "shear": 8}]
)
def test_the_matrix_says_which_source_pixel_every_view_pixel_shows(affine):
    photos = coordinates(64, 48, 60)
    view = Augment(24, scale=(0.3, 0.9), affine=affine, **QUIET)(
        batch(photos), torch.Generator().manual_seed(3)
    )
    at = torch.arange(24) + 0.5
    out = torch.stack([at.expand(24, 24), at[:, None].expand(24, 24), torch.ones(24, 24)])
    x, y = torch.einsum("bij,jhw->bihw", view.matrix, out).unbind(1)
    seen_x = view.pixels[:, 0] * 255 / 4 + 0.5
    seen_y = view.pixels[:, 1] * 255 / 4 + 0.5
    # two pixels from the border nothing is cut off or mixed with the outside
    inside = (x > 2) & (x < 58) & (y > 2) & (y < 46)
    left, top = view.box[:, 1, None, None], view.box[:, 0, None, None]
    if affine is None:
        inside &= (x > left + 2) & (x < left + view.box[:, 3, None, None] - 2)
        inside &= (y > top + 2) & (y < top + view.box[:, 2, None, None] - 2)
    assert inside.float().mean() > 0.4
    # few taps do not average a ramp exactly: a tenth of a pixel is left when shrinking
    assert (seen_x - x)[inside].abs().max() < 0.1
    assert (seen_y - y)[inside].abs().max() < 0.1


def test_box_and_flip_alone_lead_back_to_the_source():
    photos = coordinates(64, 32, 32)
    view = Augment(32, **QUIET)(batch(photos), torch.Generator().manual_seed(1))
    assert view.flip.any() and not view.flip.all() and (view.angle == 0).all()
    top, left, height, width = view.box.T
    middle = view.pixels[:, :2, 15:17, 15:17].mean((2, 3)) * 255 / 4 + 0.5
    assert torch.allclose(middle[:, 0], left + width / 2, atol=0.02)
    assert torch.allclose(middle[:, 1], top + height / 2, atol=0.02)
    rises = view.pixels[:, 0, 16, 20] > view.pixels[:, 0, 16, 12]
    assert torch.equal(rises, ~view.flip)


def test_angle_is_the_turn_as_it_is_seen_clockwise():
    view = Augment(32, scale=(1, 1), ratio=(1, 1), flip=0.0, affine=(30,), **QUIET)(
        batch(coordinates(32, 32, 32)), torch.Generator().manual_seed(0)
    )
    across = view.pixels[:, :2, 16, 18] - view.pixels[:, :2, 16, 14]
    assert torch.allclose(torch.atan2(-across[:, 1], across[:, 0]), view.angle, atol=2e-2)
    assert view.angle.abs().max() <= torch.pi / 6 and view.angle.std() > 0.1


@pytest.mark.parametrize("affine", [None, {"degrees": 15, "scale": (0.8, 1.2)}])
def test_padding_of_photos_on_a_shared_canvas_is_never_seen(affine):
    sizes = torch.tensor([[20, 40], [40, 10], [7, 7], [1, 1], [40, 40]]).repeat(20, 1)
    rows = torch.arange(40)[None, :, None] < sizes[:, 0, None, None]
    photo = (rows & (torch.arange(40) < sizes[:, 1, None, None]))[:, None].expand(-1, 3, -1, -1)
    clean = noise(100, 40, 40) * photo
    dirty = torch.where(photo, clean, 255)
    for size in (8, 64):
        make = Augment(size, affine=affine)
        seen = [make(batch(p, sizes), torch.Generator().manual_seed(0)).pixels for p in (clean, dirty)]
        assert torch.equal(*seen)
        assert torch.equal(plain(batch(clean, sizes), size), plain(batch(dirty, sizes), size))


def test_flip_jitter_and_grey_come_as_often_as_asked():
    photos = batch(noise(1, 8, 8).expand(4000, -1, -1, -1))
    whole = {"scale": (1, 1), "ratio": (1, 1), "blur": 0.0}
    g = torch.Generator().manual_seed(0)
    view = Augment(8, flip=0.3, jitter_p=0.0, grey=0.2, **whole)(photos, g)
    assert view.flip.float().mean().item() == pytest.approx(0.3, abs=0.03)
    grey = (view.pixels.amax(1) == view.pixels.amin(1)).all(2).all(1)
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.03)
    view = Augment(8, flip=0.0, jitter_p=0.8, grey=0.0, **whole)(photos, g)
    same = (view.pixels - photos.pixels / 255).abs().amax((1, 2, 3)) < 1e-5
    assert same.float().mean().item() == pytest.approx(0.2, abs=0.03)
    view = Augment(8, flip=0.0, jitter_p=0.0, grey=0.0, solarize=0.2, scale=(1, 1), ratio=(1, 1))(photos, g)
    same = (view.pixels - photos.pixels / 255).abs().amax((1, 2, 3)) < 1e-5
    assert same.float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_brightness_is_drawn_over_its_whole_range():
    photos = batch(torch.full((4000, 3, 4, 4), 100, dtype=torch.uint8))
    view = Augment(4, jitter=(0.5, 0, 0, 0), jitter_p=1.0, grey=0.0)(photos, torch.Generator().manual_seed(0))
    factor = view.pixels.mean((1, 2, 3)) * 255 / 100
    assert factor.min().item() == pytest.approx(0.5, abs=0.01)
    assert factor.max().item() == pytest.approx(1.5, abs=0.01)
    assert factor.mean().item() == pytest.approx(1.0, abs=0.02)


def test_a_group_of_photos_shares_one_draw_and_the_next_group_has_another():
    photos = batch(noise(1, 40, 40).expand(10, -1, -1, -1).contiguous())
    options = {"blur": 0.5, "solarize": 0.5, "affine": {"degrees": 20, "translate": (0.2, 0.2)}}
    for more in ({}, options):
        view = Augment(16, group=4, **more)(photos, torch.Generator().manual_seed(0))
        groups = view.pixels.split(4)
        assert [len(group) for group in groups] == [4, 4, 2]
        assert all(torch.equal(group, group[:1].expand_as(group)) for group in groups)
        assert not torch.equal(groups[0][0], groups[1][0])
        assert torch.equal(view.matrix[0], view.matrix[3]) and torch.equal(view.box[4], view.box[7])


def test_a_group_of_photos_of_several_sizes_shares_the_share_that_is_cut_out():
    canvas = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    view = Augment(8, group=2)(batch(canvas, torch.tensor([[40, 20], [20, 60]])))
    torch.testing.assert_close(view.box[0] / view.box[1], torch.tensor([2.0, 1 / 3, 2.0, 1 / 3]))


def test_crops_are_two_large_and_several_small_ones_of_their_own_scales():
    views = crops(32, local_size=12, n_local=3)(batch(noise(200, 64, 64)))
    assert [v.pixels.shape[-1] for v in views] == [32, 32, 12, 12, 12]
    shares = [v.box[:, 2] * v.box[:, 3] / 64**2 for v in views]
    assert min(s.min() for s in shares[:2]) > 0.3 and max(s.max() for s in shares[2:]) < 0.34


@pytest.mark.parametrize(
    ("size", "patch", "side"), [(224, 16, 96), (224, 14, 98), (32, 4, 12), (32, 1, 14), (16, 8, 8), (8, 8, 8)]
)
def test_local_crops_are_whole_patches_wide(size, patch, side):
    assert local_side(size, patch, 96 / 224) == side


def test_two_crops_take_one_probability_a_view():
    one, other = two_crops(16, grey=(0.0, 1.0), solarize=0.0)(batch(noise()))
    spread = [(v.pixels.amax(1) - v.pixels.amin(1)).amax() for v in (one, other)]
    assert spread[0] > 0.1 and spread[1] == 0
    assert [a.blur for a in two_crops(224).augments] == [1.0, 0.1]
    assert [a.blur for a in two_crops(32).augments] == [0.0, 0.0]


def test_masked_hides_its_share_and_only_marks_it():
    (view,) = masked(32, patch=4, ratio=0.75)(batch(noise()))
    assert view.mask.shape == (8, 64) and (view.mask.sum(1) == 48).all()
    views = masked(32, patch=4, ratio=(0.1, 0.5), block=True, views=2)(batch(noise()))
    assert not torch.equal(views[0].mask, views[1].mask)


def test_plain_is_the_photo_itself_when_it_has_the_size_and_its_central_square_otherwise():
    photos = noise(4, 16, 16)
    assert torch.equal(plain(batch(photos), 16), photos / 255)
    seen = plain(batch(coordinates(2, 20, 40)), 20) * 255
    assert torch.allclose(seen[0, 0, 3], (torch.arange(20) + 10) * 4.0, atol=1e-3)
    assert plain(batch(noise(2, 50, 30)), 8).is_contiguous(memory_format=torch.channels_last)


def test_plain_of_a_sample_does_not_depend_on_who_shares_its_canvas():
    photo = noise(1, 10, 14)
    canvas = torch.zeros(2, 3, 30, 30, dtype=torch.uint8)
    canvas[0, :, :10, :14] = photo[0]
    alone = plain(batch(photo), 12)[0]
    shared = plain(batch(canvas, torch.tensor([[10, 14], [30, 30]])), 12)[0]
    assert torch.allclose(alone, shared, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": (0.5, 0.2)}, "scale needs 0 < least"),
        ({"ratio": (0, 1)}, "ratio needs"),
        ({"flip": 1.5}, r"flip needs a probability in \[0, 1\]; got 1.5"),
        ({"jitter": (0.4, 0.4, 0.4, 0.5)}, "hue at most 1/6"),
        ({"jitter": (0.4,)}, "4 strengths"),
        ({"group": 0}, "group needs 1 photo or more"),
        ({"affine": {"degree": 3}}, "did you mean 'degrees'"),
        ({"affine": {"scale": (0, 1)}}, "magnification"),
    ],
)
def test_wrong_ranges_are_told_when_the_views_are_named(options, said):
    with pytest.raises(BadInput, match=said):
        pair(32, **options)


def test_wrong_masks_and_probabilities_are_told():
    with pytest.raises(BadInput, match="multiple of the patch"):
        masked(30, patch=4)
    with pytest.raises(BadInput, match="mask ratio needs"):
        masked(32, patch=4, ratio=1.0)
    with pytest.raises(BadInput, match="one probability or 2"):
        two_crops(32, blur=(0.1, 0.2, 0.3))
    with pytest.raises(BadInput, match="n_local"):
        crops(32, n_local=-1)
