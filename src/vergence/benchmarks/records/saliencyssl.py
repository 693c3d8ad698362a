"""Saliency as augmentation, on CIFAR-10 and on scenes: does what stands out teach where things are?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from skimage.segmentation import felzenszwalb
from torch import Tensor

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import Metric, generated
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.batch import ImageBatch
from vergence.evaluate.dense import dense
from vergence.evaluate.protocols.miou import miou
from vergence.evaluate.score import Score
from vergence.methods.image.saliencyssl import SaliencySSL
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.image_encoder import ImageEncoder
from vergence.views.pixels.lab import rgb_to_lab
from vergence.views.pixels.saliency import colour_contrast, region_contrast

LEARNED, PROBED, JUDGED, SIDE = 1_024, 20, 256, 32


class OfAnother(SaliencySSL):
    """Each photo is masked by the map of another one."""

    def masks(self, batch: ImageBatch) -> Tensor:
        return super().masks(batch).roll(1, 0)


def scenes(source: None, seed: int) -> tuple[Source, tuple[Source, Source]]:
    """Generate scenes to learn from, and others whose masks teach and judge the probe."""
    count = LEARNED + PROBED + JUDGED
    whole = open_source(f"scenes?count={count}&size={SIDE}&seed={seed}&objects=1-2")
    parts = np.split(np.arange(count), [LEARNED, LEARNED + PROBED])
    learned, probed, judged = (whole.subset(part) for part in parts)
    return learned, (probed, judged)


def thing_miou(encoder: ImageEncoder, train: Source, test: tuple[Source, Source], seed: int) -> Score:
    """Probe each cell for thing or ground."""
    (x, known), (z, judged) = (dense(encoder, part, "masks") for part in test)  # type: ignore[misc]
    return miou(x, (known.classes > 0).long(), z, (judged.classes > 0).long(), seed=seed)


learns = Training(
    "resnet-tiny",
    {"width": 16, "blocks": (1, 1)},
    epochs=8,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
small = partial(SaliencySSL, dim=32, hidden=64, regions=False)
MECHANISM = Mechanism(
    f"Scenes of one or two things, {SIDE} x {SIDE}: a linear probe on the 8 x 8 cells of a small ResNet "
    f"learns from {PROBED} masks which pixels are a thing's. Where saliency is the only augmentation, a "
    "scene is found by what stands out in it; a map of another scene hides as much, but not what is no "
    "thing. Maps are of single colours (HC): on seed 100 these found things with an F of .94, regions (RC) "
    ".67, the centre .20. No code of the authors' was found to be run here.",
    task=generated(scenes, Metric("mIoU of thing and ground, 20 masks known", thing_miou)),
    arms={
        "paper": learns(small),
        "another photo's map": learns(partial(OfAnother, **small.keywords)),
        "standard views (SimCLR)": learns(partial(SimCLR, dim=32, hidden=64)),
        "untrained": learns.untrained,
    },
)


def by_loops() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield maps of pictures of stripes, and the same written over their colours or regions, one by one."""
    random = np.random.default_rng(0)
    for _ in range(5):
        columns = np.repeat(np.arange(6), [7, 5, 4, 4, 2, 2])
        picture = np.broadcast_to(random.integers(0, 256, (6, 3))[columns], (24, 24, 3)).astype(np.uint8)
        lab = rgb_to_lab(torch.from_numpy(picture[0] / 255).T[None, :, None])[0, :, 0].T.numpy()
        far = np.linalg.norm(lab[:, None] - lab, axis=2)  # between columns
        plain = far.mean(1)
        smooth = []
        for column in range(24):
            colours = sorted({(float(far[column, i]), float(plain[i])) for i in range(24)})[:2]
            whole = sum(away for away, _ in colours)
            smooth.append(sum((whole - away) * value for away, value in colours) / whole)
        yield colour_contrast(picture), np.broadcast_to(from_0_to_1(np.array(smooth)), (24, 24))
        part = felzenszwalb(picture, scale=50, sigma=0.5, min_size=2)
        at = (np.mgrid[:24, :24] + 0.5) / 24
        value = np.zeros((24, 24))
        for r in np.unique(part):
            total = 0.0
            for s in set(np.unique(part)) - {r}:
                apart = math.dist(at[:, part == r].mean(1), at[:, part == s].mean(1))
                colour = far[np.nonzero(part == r)[1]][:, np.nonzero(part == s)[1]].mean()
                total += math.exp(-apart / 0.4) * (part == s).mean() * colour
            off = np.hypot(*(at[:, part == r] - 0.5)).mean()
            value[part == r] = total * math.exp(-9 * off**2)
        yield region_contrast(picture), from_0_to_1(value)


def from_0_to_1(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


PARITY = Parity(
    "second",
    "the formulas of HC and RC written over columns and regions, one by one, from the same Lab and "
    "segments: maps of five pictures of six stripes each, float64",
    compare=by_loops,
)
train = short(epochs=6, blocks=(1, 1))

RECORD = Record(
    key="saliencyssl",
    claim="A view of what stands out, beside the whole photo, teaches by itself where things are.",
    task=cifar10(),
    arms={
        "paper": train(SaliencySSL),
        "another photo's map": train(OfAnother),
        "saliency and standard": train(partial(SaliencySSL, standard=True)),
        "standard views (SimCLR)": train(SimCLR),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("another photo's map", "standard views (SimCLR)"),
    seeds=(0, 1, 2),
    note="A small ResNet with 8 x 8 cells for 234 steps at a batch of 128, by AdamW. Photos of one thing "
    "each, judged by their kind, are not what the paper claims saliency to be enough for.",
    mechanism=MECHANISM,
    parity=PARITY,
)
