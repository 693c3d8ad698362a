"""Copies: each edit alone does what it says, and JPEG is PIL's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vergence.core.errors import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.views.pixels.augment import plain
from vergence.views.pixels.compression import jpeg
from vergence.views.pixels.copies import EDITS, Copies, overlay_text


def photos(b=6, height=40, width=48):
    generator = torch.Generator().manual_seed(0)
    small = torch.rand((b, 3, 7, 8), generator=generator)
    pixels = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    return ImageBatch((pixels * 255).to(torch.uint8), torch.arange(b), torch.full((b,), -1))


def only(edit, **options):
    return Copies(32, chance=tuple(float(name == edit) for name in EDITS), **options)


def made(copies, batch, seed=0, **more):
    return copies(batch, torch.Generator().manual_seed(seed), **more)


def test_a_seed_repeats_them_the_input_stays_and_somebody_is_always_edited():
    batch = photos()
    before = batch.pixels.clone()
    copies = Copies(32)
    first, again, other = (made(copies, batch, seed) for seed in (0, 0, 1))
    assert first.pixels.shape == (6, 3, 32, 32) and first.edits.shape == (6, 7) and len(first) == 6
    assert torch.equal(first.pixels, again.pixels) and not torch.equal(first.pixels, other.pixels)
    assert first.pixels.min() >= 0 and first.pixels.max() <= 1
    assert torch.equal(batch.pixels, before)
    none = made(Copies(32, chance=(0.0,) * 7), batch)
    assert none.edits[:, 0].all() and none.edits.sum() == 6, "who drew nothing is cropped"


def test_shares_of_edits_are_the_chances():
    batch = photos(600, 16, 16)
    done = made(Copies(16, chance=(1.0, 0.2, 0.4, 0.0, 0.5, 0.3, 0.0)), batch).edits.float().mean(0)
    np.testing.assert_allclose(done, [1, 0.2, 0.4, 0, 0.5, 0.3, 0], atol=0.06)


def test_flip_blur_colour_and_crop_alone():
    batch = photos()
    whole = plain(batch, 32)
    torch.testing.assert_close(made(only("flip"), batch).pixels, whole.flip(3), atol=1e-5, rtol=0)
    blurred = made(only("blur", blur=(0.05, 0.06)), batch).pixels
    rough = lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean()  # noqa: E731
    assert rough(blurred) < 0.95 * rough(whole)
    recoloured = made(only("colour"), batch).pixels
    assert ((recoloured - whole).abs().amax((1, 2, 3)) > 0.02).all()
    torch.testing.assert_close(made(only("colour", colour=0.0), batch).pixels, whole, atol=1e-5, rtol=0)
    cropped = made(only("crop", crop=(0.2, 0.3)), batch).pixels
    assert rough(cropped) < 0.8 * rough(whole), "a part, enlarged"


def test_an_inset_lies_in_a_foreign_picture_and_has_the_stated_size():
    batch = photos()
    foreign = torch.zeros(2, 3, 32, 32)
    white = ImageBatch(torch.full_like(batch.pixels, 255), batch.index, batch.label)
    pixels = made(only("overlay", overlay=(0.5, 0.5)), white, foreign=foreign).pixels
    assert pixels[:, 0].mean((1, 2)) == pytest.approx(0.25, abs=0.02)
    whole = made(only("overlay", overlay=(1.0, 1.0)), batch, foreign=foreign).pixels
    torch.testing.assert_close(whole, plain(batch, 32), atol=1e-5, rtol=0)
    neighbours = made(only("overlay", overlay=(0.4, 0.4)), batch).pixels
    close = (neighbours - plain(batch, 32).roll(1, 0)).abs().amax(1) < 1e-5
    assert (close.float().mean((1, 2)) > 0.7).all(), "its neighbour's photo around it"


def test_text_covers_a_part_in_one_colour_a_picture():
    grey = torch.full((40, 3, 64, 64), 0.5)
    changed = (overlay_text(grey, torch.Generator().manual_seed(0)) - grey).abs().amax(1) > 0.25
    share = changed.float().mean((1, 2))
    assert share.min() > 0.01 and share.max() < 0.2
    for picture in changed:
        rows, columns = (picture.any(axis).nonzero() for axis in (1, 0))
        assert columns.max() - columns.min() > 25 > rows.max() - rows.min()


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_loses_what_pil_loses(quality):
    noise = torch.randint(0, 40, (4, 3, 64, 48), generator=torch.Generator().manual_seed(0))
    pixels = (photos(4, 64, 48).pixels + noise).clamp(max=255).to(torch.uint8)
    ours = jpeg(pixels / 255, torch.full((4,), float(quality)))
    for mine, photo in zip(ours, pixels, strict=True):
        file = io.BytesIO()
        Image.fromarray(photo.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
        lost, ours_lost, between = (
            (a - b).square().mean().sqrt().item()
            for a, b in ((theirs, photo / 255), (mine, photo / 255), (mine, theirs))
        )
        assert between < 0.25 * lost
        assert ours_lost == pytest.approx(lost, rel=0.02)


def test_jpeg_takes_a_quality_each_and_any_shape():
    pixels = photos(2, 33, 21).pixels / 255
    both = jpeg(pixels, torch.tensor([5.0, 95.0]))
    assert both.shape == pixels.shape
    torch.testing.assert_close(both[:1], jpeg(pixels[:1], torch.tensor([5.0])))
    lost = (both - pixels).square().mean((1, 2, 3))
    assert lost[0] > 5 * lost[1]
    flat = torch.full((1, 3, 16, 16), 128 / 255)
    torch.testing.assert_close(jpeg(flat, torch.tensor([20.0])), flat, atol=1e-4, rtol=0)


def test_mistakes_are_told():
    with pytest.raises(BadInput, match="a probability for each of crop, flip"):
        Copies(32, chance=(0.5,))
    with pytest.raises(BadInput, match="8 pixels or more; got 4"):
        Copies(4)
