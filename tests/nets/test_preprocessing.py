"""Preprocessing of photos: as timm does it, kept with the encoder, refused where it is out of range."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from vergence.core import BadInput, preprocessing, reading_spec
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.cores import Stationary
from vergence.methods.image.encoders import build
from vergence.nets.descriptor import Descriptor

SETTINGS = {"crop": 0.875, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]}


def photo(height, width):
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(16 * rows / height + k) * np.cos(16 * columns / width - k) for k in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(300, 375), (48, 48)])
def test_pixels_are_those_of_timms_own_transform(shape, interpolation):
    encoder = build("resnet-tiny", size=56)
    encoder.preprocess_as({**SETTINGS, "interpolation": interpolation})
    pixels = photo(*shape)
    theirs = timm.data.create_transform(
        (3, 56, 56), interpolation=interpolation, crop_pct=0.875, mean=SETTINGS["mean"], std=SETTINGS["std"]
    )(Image.fromarray(pixels))
    batch = ImageBatch(torch.tensor(pixels).permute(2, 0, 1)[None], torch.zeros(1), torch.zeros(1))
    ours = encoder.pixels(batch)[0]
    inside = (slice(None), slice(3, -3), slice(3, -3))  # theirs looks beyond the cut
    assert (ours - theirs)[inside].abs().max() < 0.1 and (ours - theirs).abs().mean() < 0.02
    other = build("resnet-tiny", size=56)
    assert (other.pixels(batch)[0] - theirs).abs().mean() > 0.2


def test_settings_go_with_the_spec_and_through_wrappers():
    encoder = build("resnet-tiny", size=64, width=8, preprocessing=SETTINGS)
    again = build(**encoder.spec)
    assert again.settings == SETTINGS == again.spec["preprocessing"]
    torch.testing.assert_close(again.std.flatten(), torch.tensor(SETTINGS["std"]))
    said = {**SETTINGS, "resize": 73, "crop": 64}
    for net in (
        encoder,
        Descriptor(encoder, 4),
        Stationary(encoder, 3),
        Stationary(Descriptor(encoder, 4), 3),
    ):
        assert preprocessing(net) == said and reading_spec(net) == {"size": 73}
    assert preprocessing(build("resnet-tiny", size=64)) == {
        "resize": 64, "crop": 64, "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"crop": 1.5}, r"preprocessing.crop is 1.5; it needs a share in \(0, 1\]"),
        ({"crop": "large"}, "preprocessing.crop is 'large'"),
        ({"interpolation": "nearest"}, "needs bilinear or bicubic"),
        ({"mean": [0.5, 0.5]}, "needs three numbers"),
        ({"std": [0.5, 0.5, 0.0]}, "three numbers above 0"),
        ({"std": [0.5, 0.5, float("nan")]}, "three numbers above 0"),
        ({"url": "https://example.org"}, "Unknown preprocessing 'url'"),
        ([1], "needs names with values"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings, line):
    with pytest.raises(BadInput, match=line) as error:
        build("resnet-tiny", size=32, preprocessing=settings)
    assert "\n" not in str(error.value)
