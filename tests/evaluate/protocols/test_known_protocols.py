"""Files of protocols say what they need; ``measure`` finds them by name and asks for it."""

import importlib
import pkgutil

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import KINDS, Keypoints, Masks
from vergence.evaluate import protocols
from vergence.evaluate.protocols import known_protocols
from vergence.methods.image.encoders import build


def test_every_file_says_which_targets_it_needs():
    names = [info.name for info in pkgutil.iter_modules(protocols.__path__) if not info.ispkg]
    assert len(names) >= 13
    for name in names:
        module = importlib.import_module(f"vergence.evaluate.protocols.{name}")
        assert set(module.NEEDS) <= set(KINDS), name
    known = known_protocols()
    assert {"knn", "linear", "few_shot", "copies", "rotation", "miou", "pck"} <= set(known)
    assert known["knn"].needs == ("labels",) and known["miou"].needs == ("masks",)
    assert known["multilabel"].needs == ("tags",) and known["domains"].needs == ("labels", "domain")


def blocks(count=24, side=32):
    """A bright block on dark noise, its mask, and its corner and centre as keypoints."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (count, side, side, 3)).astype(np.uint8)
    masks, points = torch.zeros(count, side, side, dtype=torch.int16), torch.zeros(count, 2, 2)
    for i in range(count):
        top, left = rng.integers(0, side - 16, 2).tolist()
        pixels[i, top : top + 16, left : left + 16] += 150
        masks[i, top : top + 16, left : left + 16] = 1
        points[i] = torch.tensor([[left, top], [left + 8, top + 8]])
    targets = {"masks": Masks(masks), "keypoints": Keypoints.of_samples(points)}
    return ImageSource(PixelReader(pixels, None, None, "blocks"), "blocks", pixels=pixels, targets=targets)


def test_measure_judges_by_masks_and_keypoints_without_labels():
    torch.manual_seed(0)
    table = vergence.measure(build("vit-micro", size=32), blocks(), protocols=["miou", "pck"], quiet=True)
    assert table.columns == ["mIoU", "PCK@0.1"] and "raw pixels" in table.rows
    score = table["learned"]["mIoU"]
    assert 0.4 < score.value <= 1 and score.n == round(0.3 * 24)
    assert table["raw pixels"] == {}  # no map of places
    assert 0 <= table["learned"]["PCK@0.1"].value <= 1


@pytest.mark.parametrize(
    ("uri", "protocols", "columns"),
    [
        (
            "scenes?count=60&size=8&objects=2-4",
            ["patch_knn", "matched_miou", "foreground_ari", "corloc", "depth"],
            {
                *("mIoU, patch k-NN", "mIoU, matched", "foreground ARI", "CorLoc"),
                *(
                    "CorLoc, centre box",
                    "CorLoc, whole picture",
                    "depth, within 1.25",
                    "depth, relative error",
                ),
            },
        ),
        (
            "scenes:pairs?by=style&count=40&size=8",
            ["unknown_classes", "domains"],
            {"unknown classes, AUC", "domains left out, mean"},
        ),
    ],
)
def test_measure_judges_by_every_truth_of_a_world(uri, protocols, columns):
    torch.manual_seed(0)
    table = vergence.measure(build("vit-micro", size=8), uri, protocols=protocols, quiet=True)
    assert columns <= set(table.columns)
    scores = table["learned"]
    assert columns <= set(scores) and all(scores[name].value >= 0 for name in columns)
    maps = known_protocols()[protocols[0]].needs == ("masks",)
    assert set(table["raw pixels"]) == (set() if maps else set(table.columns))


def test_frames_of_a_clip_stay_together_when_some_are_kept_back():
    uri = "scenes:video?count=10&frames=4&size=32"
    table = vergence.measure(build("vit-micro", size=32), uri, protocols=["depth"], quiet=True)
    assert (table.about["train"], table.about["test"]) == (28, 12)


def test_a_protocol_whose_target_is_missing_is_one_line():
    net = build("vit-micro", size=8)
    with pytest.raises(
        BadInput, match="miou needs masks, which digits does not hold: of targets it has labels"
    ):
        vergence.measure(net, "digits", protocols=["miou"], quiet=True)
    with pytest.raises(BadInput, match="pck needs keypoints, which digits does not hold"):
        vergence.measure(net, "digits", protocols=["knn", "pck"], quiet=True)
    with pytest.raises(BadInput, match="Unknown protocol 'mioo'; did you mean 'miou'"):
        vergence.measure(net, "digits", protocols=["mioo"], quiet=True)
