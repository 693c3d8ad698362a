"""DeeperCluster in a world of two cues and on CIFAR-10: do turns and groups teach more in one answer?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import LINEAR, Metric, generated
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.evaluate.score import Score
from vergence.methods.image.deepercluster import DeeperCluster

GRAINS, GLYPHS, COUNT, SIDE = 4, 4, 1_000, 16
SHARES = (8, 4, 2, 1)  # of the grains among the images that teach
DENSITIES = (0.03, 0.08, 0.16, 0.32)  # of the grains' dots
GRAIN, GLYPH, NOISE = 0.35, 0.3, 0.05  # contrasts; deviation of a pixel


class AsTheyCome(DeeperCluster):
    """Photos are sampled as often as they are there."""

    def batches(self, source: Source) -> None:  # type: ignore[override]
        return None


class Apart(DeeperCluster):
    """Turn and group are two answers that know nothing of each other."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, **{**options, "super_clusters": 1})

    def sub_loss(self, vectors: Tensor, answer: Tensor, sub: Tensor) -> Tensor:
        return super().sub_loss(vectors, torch.zeros_like(answer), sub)


def two_cues(source: Any, seed: int) -> tuple[Source, Source]:
    """Generate grainy images with a glyph somewhere; a class is one of the grains and one of the glyphs.

    A grain looks the same however it is turned, a glyph does not. Grains of the first source are long-tailed.
    """
    random = np.random.default_rng(seed)
    cells = random.permuted(np.tile([-1, -1, -1, -1, 0, 1, 1, 1, 1], (GLYPHS, 1)), axis=1)
    glyphs = cells.reshape(-1, 3, 3).repeat(2, axis=1).repeat(2, axis=2)  # 6 x 6 pixels

    def images(count: int, shares: Any) -> Source:
        grain = random.choice(GRAINS, count, p=np.array(shares) / sum(shares))
        glyph = random.integers(GLYPHS, size=count)
        dots = random.random((count, SIDE, SIDE)) < np.array(DENSITIES)[grain][:, None, None]
        pixels = 0.5 + GRAIN * dots * random.choice([-1, 1], (count, SIDE, SIDE))
        corner = random.integers(1, SIDE - 6, (count, 2))
        for image, (top, left), shown in zip(pixels, corner, glyphs[glyph], strict=True):
            image[top : top + 6, left : left + 6] = 0.5 + GLYPH * shown
        pixels = (pixels + NOISE * random.normal(size=pixels.shape)).clip(0, 1)
        colours = (255 * pixels).astype(np.uint8)[..., None].repeat(3, axis=3)
        reader = PixelReader(colours, GLYPHS * grain + glyph, None, "two cues")
        as_they_are = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
        return ImageSource(reader, "two cues", pixels=colours, view_options=as_they_are)

    return images(COUNT, SHARES), images(2 * COUNT, [1] * GRAINS)


def probe(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Accuracy of a linear layer on half of the images of which all classes are equally common."""
    assert LINEAR.protocol is not None
    known, judged = test.subset(np.arange(COUNT)), test.subset(np.arange(COUNT, 2 * COUNT))
    return LINEAR.protocol(encoder, known, judged, seed)  # type: ignore[return-value]


small = Training(
    "resnet-tiny",
    {"width": 8},
    epochs=15,
    batch=50,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "warmup": 1},
)
few: dict[str, Any] = {"clusters": 32, "super_clusters": 4, "components": 16}
MECHANISM = Mechanism(
    f"{COUNT:,} grainy images of 16 x 16 pixels with a glyph somewhere; a class is one of {GRAINS} grains, "
    f"by the density of its dots, and one of {GLYPHS} glyphs. Turned, a grain looks the same and a glyph "
    "does not: turns alone need not tell grains, and groups, which go by what fills the image, need not tell "
    "glyphs. The commonest grain is eight times as frequent as the rarest; images that judge have all "
    "classes alike. Turn and group as two answers that know nothing of each other, and images sampled as "
    "they come, stand beside.",
    task=generated(two_cues, Metric("linear probe accuracy on 16 classes", probe)),
    arms={
        "paper": small(partial(DeeperCluster, **few)),
        "turns alone": small(partial(DeeperCluster, clusters=1, super_clusters=1)),
        "groups alone": small(partial(DeeperCluster, **{**few, "super_clusters": 1}, rotate=False)),
        "two answers": small(partial(Apart, **few)),
        "sampled as they come": small(partial(AsTheyCome, **few)),
        "untrained": small.untrained,
        "raw": raw,
    },
    rivals=("turns alone", "groups alone"),
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/DeeperCluster: PCA and normalize of src/utils.py, create_sobel_layer of "
    "src/model/model_factory.py, the steps of distributed_kmeans from the same centres (the same groups) and "
    "the loss of train_network, one part of the batch a super-class as its workers have, with its gradient; "
    "three random draws, float32",
    commit="d38ada109f8334f6ae4c84a218d79848a936ed6f",
    max_abs=1.4e-06,
    max_rel=2.0e-07,
)
train = short(epochs=15)
photos: dict[str, Any] = {"clusters": 200, "components": 64}
RECORD = Record(
    key="deepercluster",
    claim="To tell a photo's group and its turn in one answer teaches more than either of them.",
    task=cifar10(LINEAR),
    arms={
        "paper": train(partial(DeeperCluster, **photos)),
        "turns alone": train(partial(DeeperCluster, clusters=1, super_clusters=1)),
        "groups alone": train(partial(DeeperCluster, **photos, super_clusters=1, rotate=False)),
        "two answers": train(partial(Apart, **photos)),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("turns alone", "groups alone"),
    seeds=(0, 1, 2),
    note="A small ResNet for 15 epochs of 5,000 photos, 200 groups, by AdamW; the paper: a VGG-16 for 100 "
    "epochs of 96 million photos that nobody chose, in 320,000 groups.",
    mechanism=MECHANISM,
    parity=PARITY,
)
