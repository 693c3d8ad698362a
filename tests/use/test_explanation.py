"""Why two images are alike, by whatever they are given as."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vergence
from vergence.core import BadInput, RunConfig
from vergence.engine import Run
from vergence.engine.files import write_yaml
from vergence.engine.run import save_encoder
from vergence.use.explanation import encoder_of_images
from vergence.use.explanation import picture as as_it_is_read
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


def test_a_picture_is_its_central_square_in_0_to_1():
    encoder = vergence.encoder("resnet-tiny", size=4, width=8)
    oblong = np.zeros((4, 8, 3), np.uint8)  # the square is of columns 2 to 5
    oblong[:, :2], oblong[:, 6:] = 255, 255
    oblong[:, 2:6] = [51, 102, 204]
    wanted = torch.tensor([0.2, 0.4, 0.8])[None, :, None, None].expand(1, 3, 4, 4)
    torch.testing.assert_close(as_it_is_read(encoder, oblong), wanted)


def test_a_run_is_explained_by_its_encoder(tmp_path):
    encoder = vergence.encoder("resnet-tiny", size=16, width=8).eval()
    config = RunConfig(method="simclr", source="photos/", modality="image", encoder=encoder.spec)
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    wanted = vergence.explain(encoder, picture(0), picture(1))
    for run in (Run(tmp_path, encoder), tmp_path, str(tmp_path)):
        torch.testing.assert_close(vergence.explain(run, picture(0), picture(1)).score, wanted.score)
    with pytest.raises(BadInput, match=f"{tmp_path} did not learn from images"):
        encoder_of_images(Run(tmp_path, nn.Linear(2, 2)))
