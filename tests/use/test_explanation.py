"""Why two images are alike, by whatever they are given as."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.use.simvis import explain_pictures


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)


def test_paths_pictures_and_arrays_are_explained_alike(tmp_path):
    encoder = vergence.encoder("resnet-tiny", size=16, width=8).eval()
    for seed in (0, 1):
        Image.fromarray(picture(seed)).save(tmp_path / f"{seed}.png")
    pixels = [torch.from_numpy(picture(s)).permute(2, 0, 1)[None].float() / 255 for s in (0, 1)]
    wanted = explain_pictures(encoder, *pixels)
    for first, second in (
        (tmp_path / "0.png", str(tmp_path / "1.png")),
        (Image.fromarray(picture(0)), torch.from_numpy(picture(1))),
        (picture(0), picture(1).transpose(2, 0, 1)),
    ):
        why = vergence.explain(encoder, first, second)
        torch.testing.assert_close(why.score, wanted.score)
        torch.testing.assert_close(why.first, wanted.first)
        assert why.second.sum().item() == pytest.approx(why.score.item(), abs=1e-4)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("none.png", "There is no image file none.png"),
        (np.zeros((4, 4), np.uint8), r"or an array \(H, W, 3\); got ndarray of shape \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint16), "uint8, or float in .*; got uint16"),
        (7, "got int"),
    ],
)
def test_what_is_no_image_is_one_line(image, said):
    encoder = vergence.encoder("resnet-tiny", size=16, width=8)
    with pytest.raises(BadInput, match=said):
        vergence.explain(encoder, picture(0), image)


def test_an_encoder_that_takes_no_images_is_one_line():
    with pytest.raises(BadInput, match="Linear did not learn from images"):
        vergence.explain(nn.Linear(2, 2), picture(0), picture(1))
