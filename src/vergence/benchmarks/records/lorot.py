"""LoRot on photos, clean and corrupted, and in a world of two cues: what do turns teach beside classes?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import LINEAR, Metric, generated
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine import embed
from vergence.evaluate.protocols.corruptions import right_when_corrupted
from vergence.evaluate.score import Score, mean_score
from vergence.methods.image.lorot import LoRot
from vergence.nets.classifier import Classifier
from vergence.views.pixels.geometry import quarter_turns

CLASSES, COUNT, SIDE = 8, 1_000, 16
CONTRAST, NOISE = 0.15, 0.1  # of glyphs about grey; deviation of a pixel
STRANGERS, CORRUPTED = 5_000, 1_000  # images of classes that nobody taught; each corrupted in 35 ways


class AugmentedOnly(LoRot):
    """Parts are turned, and nobody asks how."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, weight=0.0, **options)


class Untouched(AugmentedOnly):
    """Nothing is turned, nothing asked: the usual classifier."""

    def turn_part(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels, super().turn_part(pixels)[1]


class WholeTurned(LoRot):
    """The whole image is turned, and its turn is asked for."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, quadrants=False, **options)

    def turn_part(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        turns = torch.randint(4, (len(pixels),), device=pixels.device)
        return quarter_turns(pixels, turns), turns


def logits(encoder: Classifier, source: Source) -> np.ndarray:
    return embed(encoder, source, read=encoder.logits).vectors


def accuracy(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score | None:
    """Accuracy of the classifier itself; of an encoder that is none, of a linear probe."""
    if not isinstance(encoder, Classifier):
        assert LINEAR.protocol is not None
        return LINEAR.protocol(encoder, train, test, seed)  # type: ignore[return-value]
    return mean_score(logits(encoder, test).argmax(1) == test.labels)


def told_from_strangers(encoder: nn.Module, train: Source, test: Source, seed: int) -> float | None:
    """AUROC of the divergence of the uniform distribution from the softmax, over test and other images."""
    if not isinstance(encoder, Classifier):
        return None
    from sklearn.metrics import roc_auc_score

    other = open_source(data_root() / "tiny-imagenet" / "val.parquet").subset(np.arange(STRANGERS))
    sure = [-torch.from_numpy(logits(encoder, source)).log_softmax(1).mean(1) for source in (test, other)]
    known = np.repeat([1, 0], [len(part) for part in sure])
    return float(roc_auc_score(known, torch.cat(sure).numpy()))


def when_corrupted(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score | None:
    """Accuracy of the classifier over seven corruptions at five severities."""
    if not isinstance(encoder, Classifier):
        return None
    shown = test.subset(np.arange(CORRUPTED))
    right = right_when_corrupted(encoder, lambda pixels: encoder.logits(pixels).argmax(1), shown, seed=seed)
    return mean_score(right["mean"], seed=seed)


def without_colour(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Accuracy of a linear layer that learns anew from half of the images without colour."""
    assert LINEAR.protocol is not None
    known, judged = test.subset(np.arange(COUNT)), test.subset(np.arange(COUNT, 2 * COUNT))
    return LINEAR.protocol(encoder, known, judged, seed)  # type: ignore[return-value]


def two_cues(source: Any, seed: int) -> tuple[Source, Source]:
    """Generate images whose class a colour names in one quadrant and a glyph in another.

    The other two quadrants hold glyphs of no class. Images of the second source have no colour.
    """
    random = np.random.default_rng(seed)
    cells = random.permuted(np.tile([-1, -1, -1, -1, 1, 1, 1, 1, 1], (2 * CLASSES, 1)), axis=1)
    glyphs = cells.reshape(-1, 3, 3).repeat(2, axis=1).repeat(2, axis=2)  # 6 x 6 pixels
    hues = random.uniform(0, 1, (CLASSES, 3))

    def images(count: int, *, coloured: bool) -> Source:
        label = random.integers(CLASSES, size=count)
        of_none = random.integers(CLASSES, 2 * CLASSES, size=(2, count))
        pixels = np.full((count, SIDE, SIDE, 3), 0.5)
        for (top, left), shown in (((9, 9), label), ((1, 9), of_none[0]), ((9, 1), of_none[1])):
            pixels[:, top : top + 6, left : left + 6] += CONTRAST * glyphs[shown][..., None]
        if coloured:
            pixels[:, 1:7, 1:7] = hues[label][:, None, None]
        pixels += NOISE * random.normal(size=pixels.shape)
        reader = PixelReader((255 * pixels.clip(0, 1)).astype(np.uint8), label, None, "two cues")
        as_they_are = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
        return ImageSource(reader, "two cues", pixels=reader.pixels, view_options=as_they_are)

    return images(COUNT, coloured=True), images(2 * COUNT, coloured=False)


small = Training(
    "resnet-tiny",
    {"width": 8},
    epochs=20,
    batch=50,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{COUNT:,} images of {CLASSES} classes: a flat colour in one quadrant names the class, so does a faint "
    "glyph in another; glyphs of no class lie in the other two. The colour is all that the class asks for, "
    "and where it lies tells the turn of a whole image; the turn of a part is told by its glyph alone. Then "
    "the colour is gone: a linear layer on the frozen encoder learns the classes from their glyphs. Settings "
    "were chosen on seeds 100 to 102. So was the probe: the classifier's own accuracy without the colour was "
    "tried first, and there LoRot was level with or behind its rivals.",
    task=generated(two_cues, Metric("linear probe accuracy without colour", without_colour)),
    arms={
        "paper": small(partial(LoRot, classes=CLASSES)),
        "parts turned, not asked": small(partial(AugmentedOnly, classes=CLASSES)),
        "nothing turned": small(partial(Untouched, classes=CLASSES)),
        "whole image turned": small(partial(WholeTurned, classes=CLASSES)),
        "untrained": small.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/wjun0830/Localizable-Rotation, train of OOD/ood_lorot-E.py and OOD/ood_lorot-I_min_max.py: "
    "turned images, both terms and gradients of five random batches, the same draws, float32",
    commit="47521c59ae6b981f2484d8176e2ba40747fe6d3d",
    max_abs=1.9e-07,
    max_rel=3.4e-06,
)

train = short(epochs=40, width=16)

RECORD = Record(
    key="lorot",
    claim="To say how a part of a photo was turned makes a classifier more accurate and unsure of strangers.",
    task=cifar10(
        Metric("accuracy of the classifier (raw and untrained: linear probe)", accuracy),
        Metric("AUROC, CIFAR-10 against Tiny-ImageNet", told_from_strangers),
        Metric("accuracy of the classifier on corrupted photos", when_corrupted),
    ),
    arms={
        "paper": train(LoRot),
        "LoRot-I": train(partial(LoRot, quadrants=False)),
        "parts turned, not asked": train(AugmentedOnly),
        "nothing turned": train(Untouched),
        "whole image turned": train(WholeTurned),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("parts turned, not asked", "nothing turned", "whole image turned"),
    seeds=(0, 1, 2),
    note="5,000 labelled photos, 40 epochs of a residual net of 16 to 64 channels by AdamW; the paper: "
    "50,000 photos, 100 epochs of a ResNet-18. LoRot-I, the paper's other form, is no rival.",
    mechanism=MECHANISM,
    parity=PARITY,
)
