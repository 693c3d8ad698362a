"""Distillation on CIFAR-10, and among gratings: does it matter that teacher and student see the same crop?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import KNN, Arm, Metric, Task, generated
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine.shipped import load_shipped
from vergence.evaluate.baselines import features
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.methods.image.distill import Distill, Views
from vergence.methods.image.raw import RawPixels
from vergence.methods.pairs.simclr import SimCLR
from vergence.views.pixels.augment import plain

SIDE, COUNT, JUDGED = 16, 1_024, 1_024  # pixels a side of a quarter; pictures of four, of one
KINDS = [(np.pi * k / 4, period) for k in range(4) for period in (3.0, 5.0)]  # directions, pixels
WAVE, LIGHT, NOISE = 0.1, 0.15, 0.2  # amplitude of a grating, deviations of its light and of a pixel
WINDOW = 8  # pixels a side of what the teacher looks at


class Energies(nn.Module):
    """A teacher that was made, not trained: how much of each grating there is, (B, 8) from (B, 3, S, S)."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.out_dim, self.input_spec = len(KINDS), {"size": SIDE}
        at = torch.arange(WINDOW) + 0.5 - WINDOW / 2
        y, x = torch.meshgrid(at, at, indexing="ij")
        bump = torch.exp(-(x**2 + y**2) / (2 * (WINDOW / 4) ** 2))
        waves = []
        for angle, period in KINDS:
            phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
            waves += [bump * (wave - (bump * wave).sum() / bump.sum()) for wave in (phase.cos(), phase.sin())]
        self.register_buffer("bank", torch.stack(waves)[:, None])

    def forward(self, images: ImageBatch | Tensor) -> Tensor:
        pixels = images if isinstance(images, Tensor) else plain(images, SIDE)
        parts = conv2d(pixels.mean(1, keepdim=True), self.bank).unflatten(1, (-1, 2))
        return parts.square().sum(2).mean((2, 3)).add(1e-6).log()


class OtherCrop(Distill):
    """The teacher sees a crop of its own of each photo."""

    def views(self, batch: ImageBatch) -> Views:
        """Return a crop of each photo and the teacher's vectors of another one."""
        return self.crop(batch).pixels, self.teach(self.crop(batch).pixels)


def gratings(source: Any, seed: int) -> tuple[ImageSource, tuple[ImageSource, ImageSource]]:
    """Generate pictures of four gratings, a quarter each, to learn from, and of single ones."""
    random = np.random.default_rng(seed)
    n = 4 * COUNT + 2 * JUDGED
    kind = np.concatenate([random.integers(len(KINDS), size=4 * COUNT), np.arange(2 * JUDGED) % len(KINDS)])
    angle, period = np.array(KINDS)[kind].T[..., None, None]
    y, x = np.mgrid[:SIDE, :SIDE][:, None] + 0.5
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.sin(2 * np.pi * along / period + random.uniform(0, 2 * np.pi, (n, 1, 1)))
    slopes = random.normal(size=(2, n, 1, 1))
    light = (slopes[0] * (x - SIDE / 2) + slopes[1] * (y - SIDE / 2)) / SIDE + random.normal(size=(n, 1, 1))
    pixels = 0.5 + (WAVE * wave + LIGHT * light)[..., None] + NOISE * random.normal(size=(n, SIDE, SIDE, 3))
    pixels = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    quarters = pixels[: 4 * COUNT].reshape(COUNT, 2, 2, SIDE, SIDE, 3).transpose(0, 1, 3, 2, 4, 5)
    quarters = np.ascontiguousarray(quarters.reshape(COUNT, 2 * SIDE, 2 * SIDE, 3))
    name = "memory:gratings"
    four = ImageSource(PixelReader(quarters, None, None, "gratings"), name, pixels=quarters)
    names, rest, label = [f"grating {k}" for k in range(len(KINDS))], pixels[4 * COUNT :], kind[4 * COUNT :]
    one = ImageSource(PixelReader(rest, label, names, "gratings"), name, pixels=rest)
    rows = np.arange(len(one))
    return four, (one.subset(rows[:JUDGED]), one.subset(rows[JUDGED:]))


def kinds(encoder: nn.Module, train: Any, test: tuple[ImageSource, ImageSource], seed: int) -> Score:
    """Ask the most similar of other single gratings for the kind of each."""
    return knn(*features(encoder, *test).arrays)


def fixed(network: Callable[[], nn.Module]) -> Arm:
    """Return the arm of a network that learns nothing."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        return task.judge(network(), *task.data(seed), seed)

    return arm


def quarter(method: Callable[[nn.Module], Distill]) -> Callable[[nn.Module], Distill]:
    """Return a method whose crops are as large as a quarter, wherever."""

    def make(encoder: nn.Module) -> Distill:
        learner = method(encoder)
        learner.configure_views({"scale": (0.25, 0.25), "ratio": (1.0, 1.0)})
        return learner

    return make


tiny = Training(
    "resnet-tiny",
    {"width": 8, "blocks": (1, 1)},
    epochs=20,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 4e-3, "weight_decay": 1e-4, "warmup": 1},
)
contrast = {"views": {"scale": (0.25, 0.25), "ratio": (1.0, 1.0)}}
MECHANISM = Mechanism(
    f"{COUNT:,} pictures of four quarters, each of one of eight gratings (four directions, two periods) in a "
    "light and a noise that drown it. The teacher is made by hand: it says how much there is of each "
    "grating. Crops are as large as a quarter and lie anywhere, so that what the teacher says of one holds "
    "for no other, and of the whole picture for none. Single gratings are judged by their nearest "
    "neighbours. Settings were chosen on seed 100; they were the first to be tried.",
    task=generated(gratings, Metric(KNN.name, kinds)),
    arms={
        "paper": tiny(quarter(partial(Distill, teacher=Energies()))),
        "another crop": tiny(quarter(partial(OtherCrop, teacher=Energies()))),
        "whole photo, read once": tiny(quarter(partial(Distill, teacher=Energies(), once=True))),
        "simclr": tiny(SimCLR, settings=contrast),
        "teacher": fixed(Energies),
        "untrained": tiny.untrained,
        "raw": fixed(partial(RawPixels, SIDE)),
    },
    rivals=("another crop", "whole photo, read once", "simclr", "untrained", "raw"),
)
PARITY = Parity(
    "second",
    "numpy in float64, from the formulas: the loss and all gradients, of the student and of the map to the "
    "teacher's vectors, of 20 random batches; in float32 at most 6.7e-7 apart",
    max_abs=6.2e-16,
    max_rel=1.1e-14,
)

train = short(epochs=8, width=16)
shipped = partial(Distill, teacher="vergence:conv-tiny")

RECORD = Record(
    key="distill",
    claim="A small network learns more from what a large one says of the very crop it sees than from "
    "telling photos apart.",
    task=cifar10(train=4_000, test=2_000),
    arms={
        "paper": train(shipped),
        "another crop": train(partial(OtherCrop, teacher="vergence:conv-tiny")),
        "simclr": train(SimCLR),
        "teacher": fixed(partial(load_shipped, "conv-tiny")),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("another crop", "simclr"),
    seeds=(0, 1, 2),
    note="8 epochs of a small ResNet of 64 numbers on 4,000 photos of 32 pixels. The teacher is the shipped "
    "conv-tiny, at 64 pixels: a student itself of a classifier of ImageNet, on photos among which were "
    "CIFAR-10's for training, without their labels. The paper: up to 9,600 epochs, and probabilities of "
    "classes.",
    mechanism=MECHANISM,
    parity=PARITY,
)
