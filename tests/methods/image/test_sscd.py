"""Descriptors, blends and edits; the loss by hand; a run that a command can load again."""

import numpy as np
import pytest
import torch

import vergence
from two_processes import few_digits
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image import encoders
from vergence.methods.image.sscd import SSCD, Edits, blended
from vergence.nets.descriptor import Descriptor, generalised_mean
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.stickers import paste_sticker, stickers

CONTRACT = {"options": {"dim": 64, "entropy": 5.0}, "two": {"": {"source": few_digits}}}


def test_the_generalised_mean_by_hand_and_its_limits():
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(1, 1, 2, 2)
    assert generalised_mean(x, 3.0).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3), rel=1e-6)
    assert generalised_mean(x, 1.0).item() == pytest.approx(1.5, rel=1e-5)
    assert generalised_mean(x, 60.0).item() == pytest.approx(3.0, rel=0.03)
    assert generalised_mean(x - 4, 3.0).item() == pytest.approx(1e-6), "below 0 counts as nothing"


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(128))


def made(**options):
    torch.manual_seed(0)
    return SSCD(encoders.build("resnet-tiny", size=16, width=8), **{"dim": 12, **options})


def test_a_descriptor_has_unit_length_and_is_built_again_from_its_spec():
    net = Descriptor(encoders.build("resnet-tiny", size=16, width=8), 12).eval()
    x = torch.rand(3, 3, 16, 16)
    result = net(x)
    torch.testing.assert_close(result.pooled.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(
        result.pooled,
        torch.nn.functional.normalize(net.linear(generalised_mean(net.backbone(x).map, 3)), dim=1),
    )
    assert result.map.shape[0] == 3 and len(net.layers(x)) == net.depth
    again = encoders.build(**net.spec).eval()
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again(x).pooled, result.pooled)
    assert SSCD(net).encoder is net, "one head is enough"


def test_the_terms_are_those_of_the_paper(digits):
    method = made(entropy=3.0, temperature=0.2, blend=0.0)
    batch = next(digits.loader(6, spec={"size": 16}))
    torch.manual_seed(1)
    views = method.views(batch)
    assert torch.equal(views.content, batch.index.repeat(2)[:, None].expand(12, 2))
    z = method.encoder(views.pixels).pooled.double()
    score = (z @ z.T / 0.2).exp()
    partner = torch.arange(12).roll(6)
    other = torch.ones(12, 12, dtype=torch.bool)
    other[torch.arange(12), partner] = other[torch.arange(12), torch.arange(12)] = False
    hit = score[torch.arange(12), partner]
    terms = method.loss(views)
    expected = -(hit / (hit + (score * other).sum(1))).log().mean()
    assert terms["copies"].item() == pytest.approx(expected.item(), rel=1e-4)
    distance = torch.cdist(z, z).masked_fill(~other, 9).amin(1)
    assert terms["entropy"].item() == pytest.approx(-3 * distance.log().mean().item(), rel=1e-3)
    assert list(made(entropy=0.0).loss(views)) == ["copies"]


def test_blends_are_convex_and_say_what_they_show():
    torch.manual_seed(0)
    pixels = torch.arange(400.0).div(400).view(400, 1, 1, 1).expand(-1, 3, 8, 8)
    photos = torch.arange(400) + 1000
    result = blended(pixels, photos, 0.5)
    other = pixels.flip(0)
    low, high = torch.minimum(pixels, other), torch.maximum(pixels, other)
    assert (result.pixels >= low - 1e-6).all() and (result.pixels <= high + 1e-6).all()
    weight = ((result.pixels - other) / (pixels - other))[:, 0]
    shows_itself, shows_other = (weight > 1e-4).flatten(1).any(1), (weight < 1 - 1e-4).flatten(1).any(1)
    assert torch.equal((result.content == photos[:, None]).any(1), shows_itself)
    assert torch.equal((result.content == photos.flip(0)[:, None]).any(1), shows_other)
    assert 0.4 < shows_other.float().mean() < 0.6
    mixed = weight[shows_other]
    flat = (mixed.flatten(1).std(1) < 1e-3) & (mixed.mean((1, 2)) > 0.01)
    assert 0.35 < flat.float().mean() < 0.65, "half all over, half in a rectangle"
    share = mixed[flat].mean((1, 2))
    assert share.mean().item() == pytest.approx(0.5, abs=0.06)
    assert share.var().item() == pytest.approx(0.05, abs=0.015), "Beta(2, 2)"
    alone = blended(pixels, photos, 0.0)
    assert torch.equal(alone.pixels, pixels) and torch.equal(alone.content, photos[:, None].expand(-1, 2))


def test_edits_keep_pixels_pixels_and_can_be_switched_off():
    size = 64
    batch = ImageBatch(
        torch.randint(0, 256, (40, 3, size, size), dtype=torch.uint8), torch.arange(40), torch.zeros(40)
    )
    crop = Augment(size, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter_p=0.0, grey=0.0, blur=0.0)
    none = dict.fromkeys(("turn", "text", "sticker", "jitter", "grey", "blur", "squeeze"), 0.0)
    as_is = batch.pixels.float() / 255
    torch.testing.assert_close(Edits(crop, **none)(batch), as_is, atol=1e-5, rtol=0)
    every = Edits(Augment(size), **dict.fromkeys(none, 1.0))(batch)
    assert every.shape == (40, 3, size, size) and every.min() >= 0 and every.max() <= 1
    for name in none:
        torch.manual_seed(0)
        changed = (Edits(crop, **{**none, name: 0.5})(batch) - as_is).abs().amax((1, 2, 3)) > 0.02
        assert 8 <= changed.sum() <= (34 if name == "turn" else 32), name


def test_stickers_lie_on_a_part_of_the_picture():
    assert stickers().shape[1:] == (4, 32, 32) and (stickers()[:, :3] <= stickers()[:, 3:] + 1e-6).all()
    grey = torch.full((20, 3, 64, 64), 0.4)
    torch.manual_seed(0)
    result = paste_sticker(grey, side=(0.2, 0.4), opacity=(1, 1))
    share = ((result - grey).abs().amax(1) > 0.05).float().mean((1, 2))
    assert (share > 0.01).all() and (share < 0.17).all()
    assert result.min() >= 0 and result.max() <= 1


def test_a_run_is_loaded_and_resumed_by_name(digits, tmp_path):
    options = {"epochs": 1, "batch_size": 32, "lr": 0.01, "optimizer": "adamw", "quiet": True}
    run = vergence.learn(
        "sscd", digits, encoder="resnet-tiny", out=tmp_path / "run", dim=20, entropy=5.0, **options
    )
    assert isinstance(run.encoder, Descriptor)
    again = vergence.load(tmp_path / "run")
    batch = next(digits.loader(5, spec={"size": 16}))
    torch.testing.assert_close(again(batch).pooled, run.encoder(batch).pooled)
    store = run.embed(digits, tmp_path / "d.lance")
    assert store.width() == 20
    with pytest.raises(BadInput, match="unknown|Unknown"):
        vergence.learn("sscd", digits, out=tmp_path / "b", lamda=3, **options)


def test_timms_convolutional_networks_are_pooled_and_its_transformers_are_not():
    made = Descriptor(encoders.build("timm:resnet10t", size=32), dim=8)
    assert made(torch.rand(2, 3, 32, 32)).pooled.shape == (2, 8)
    with pytest.raises(BadInput, match="timm:vit_tiny_patch16_224 is none"):
        Descriptor(encoders.build("timm:vit_tiny_patch16_224", size=32), dim=8)


def test_mistakes_are_told():
    with pytest.raises(BadInput, match="pools the map of a convolutional network; vit-micro is none"):
        SSCD(encoders.build("vit-micro", size=16, patch=4))
    with pytest.raises(BadInput, match="entropy of 0 or more"):
        made(entropy=-1.0)
    with pytest.raises(BadInput, match="dim and a power of 1 or more; got 0"):
        Descriptor(encoders.build("resnet-tiny", size=16), 0)
