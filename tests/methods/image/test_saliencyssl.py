import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.losses import nt_xent
from vergence.methods.image import saliencyssl
from vergence.methods.image.encoders import build
from vergence.methods.image.saliencyssl import SaliencySSL
from vergence.views.pixels.saliency import region_contrast, salient

CONTRACT = {"options": {"standard": True, "regions": False, "threshold": 0.25}}


def make(**options):
    torch.manual_seed(0)
    return SaliencySSL(build("resnet-tiny", size=16, width=8, blocks=(1, 1)), dim=6, **options)


def photos(count=4, size=16):
    pixels = torch.full((count, 3, size, size), 100, dtype=torch.uint8)
    for i in range(count):
        pixels[i, :, 5:10, 3 + i : 8 + i] = torch.tensor([220, 30, 40], dtype=torch.uint8)[:, None, None]
    return ImageBatch(pixels, torch.arange(count), torch.full((count,), -1))


def test_one_view_shows_what_is_salient_on_black_and_the_other_the_whole_photo():
    batch = photos()
    shown, whole = make().views(batch)
    torch.testing.assert_close(whole.pixels, batch.pixels / 255)
    for i in range(4):
        mask = salient(region_contrast(batch.pixels[i].permute(1, 2, 0).numpy()), 0.5)
        torch.testing.assert_close(shown.pixels[i], batch.pixels[i] / 255 * torch.from_numpy(mask))
        assert 0 < mask.sum() < 60


def test_a_photo_is_looked_at_once_also_on_another_canvas(monkeypatch):
    calls = []
    monkeypatch.setattr(saliencyssl, "region_contrast", lambda p: calls.append(1) or region_contrast(p))
    method, batch = make(), photos()
    first = method.masks(batch)
    assert torch.equal(method.masks(batch), first)
    wide = torch.nn.functional.pad(batch.pixels, [0, 4, 0, 2])
    sizes = torch.tensor([[16, 16]]).expand(4, 2)
    again = method.masks(ImageBatch(wide, batch.index, batch.label, sizes))
    assert torch.equal(again[:, :16, :16], first)
    assert not again[:, 16:].any() and not again[:, :, 16:].any()
    assert len(calls) == 4


def test_single_colours_and_standard_crops_if_asked():
    batch = photos()
    assert not torch.equal(make(regions=False, threshold=0.9).masks(batch), make(threshold=0.1).masks(batch))
    shown, whole = make(standard=True).views(batch)
    assert not torch.equal(whole.pixels, batch.pixels / 255)
    assert shown.pixels[0].min() < 0.1


def test_the_loss_is_that_of_simclr_between_both_views():
    method, batch = make().eval(), photos()
    views = method.views(batch)
    first, second = (method.projector(method.encode(view)) for view in views)
    torch.testing.assert_close(method.loss(views)["contrast"], nt_xent(first, second, temperature=0.1))


def test_an_even_photo_is_shown_whole():
    batch = ImageBatch(torch.full((2, 3, 16, 16), 9, dtype=torch.uint8), torch.arange(2), -torch.ones(2))
    assert np.all(make().masks(batch).numpy())


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="a threshold in \\(0, 1\\]; got 0.1 and 0"):
        make(threshold=0)
