"""SiT on CIFAR-10, and waves over weaves: repair and contrast together, and each alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.benchmarks.tasks import KNN, Metric, Task, generated
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.evaluate.baselines import features
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.score import Score
from vergence.methods.image.raw import RawPixels
from vergence.methods.image.sit import SiT
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.corrupt import Corrupted

SIDE, CELL, COUNT, JUDGED = 16, 4, 1_024, 1_024
WEAVES, WAYS = 8, 2  # and patterns that each mixes
WAVES = [(np.pi * k / 4, period) for k in range(4) for period in (4.0, 7.0)]  # directions, pixels
DETAIL, WAVE, NOISE = 0.12, 0.12, 0.2  # deviation of a weave's pixels, amplitude of a wave, noise


class ClassAndMean(nn.Module):
    """The class token beside the mean patch, which the paper probes."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder, self.out_dim = encoder, 2 * encoder.out_dim
        self.input_spec = encoder.input_spec

    def forward(self, images: Images) -> Tensor:
        seen = self.encoder(images, need=("cls",))
        return torch.cat([seen.extra["cls"], seen.tokens.mean(1)], 1)


class Unspoilt(SiT):
    """The student sees clean views, too; what would be spoilt is still what it paints."""

    def corrupt(self, clean: Tensor) -> Corrupted:
        return Corrupted(clean, clean, super().corrupt(clean).mask)


def both_tokens(encoder: ImageEncoder, train: Source, test: Source, seed: int) -> Score:
    """k-NN on class token and mean patch."""
    return knn(*features(ClassAndMean(encoder), train, test).arrays)


def woven_waves(source: Source | None, seed: int) -> tuple[Source, tuple[Source, Source]]:
    """Generate two looks at each weave, side by side, to learn from, and single looks that teach and judge.

    A weave's cells mix its patterns, each in its own way and each look anew, so that no cell tells of another
    one's pixels. The wave that lies over them is drawn anew in each look; it goes on from cell to cell.
    """
    random = np.random.default_rng(seed)
    n, cells = COUNT + 2 * JUDGED, (SIDE // CELL) ** 2
    weave = np.arange(n) % WEAVES
    patterns = random.normal(size=(WEAVES, WAYS, CELL * CELL))
    patterns -= patterns.mean(2, keepdims=True)
    patterns /= patterns.std(2, keepdims=True)
    y, x = np.mgrid[:SIDE, :SIDE][:, None] + 0.5
    looks, waves = [], []
    for _ in range(2):
        wave = random.integers(len(WAVES), size=n)
        angle, period = np.array(WAVES)[wave].T[..., None, None]
        along = x * np.cos(angle) + y * np.sin(angle)
        shown = np.sin(2 * np.pi * along / period + random.uniform(0, 2 * np.pi, (n, 1, 1)))
        mixed = random.normal(size=(n, cells, WAYS)) / WAYS**0.5 @ patterns[weave]
        mixed = mixed.reshape(n, SIDE // CELL, SIDE // CELL, CELL, CELL).transpose(0, 1, 3, 2, 4)
        look = DETAIL * mixed.reshape(n, SIDE, SIDE) + WAVE * shown
        looks.append(0.5 + look[..., None] + NOISE * random.normal(size=(n, SIDE, SIDE, 3)))
        waves.append(wave)
    first, second = ((255 * look.clip(0, 1)).round().astype(np.uint8) for look in looks)
    both = np.concatenate([first, second], 2)[:COUNT]
    pairs = ImageSource(PixelReader(both, None, None, "woven waves"), "memory:woven waves", pixels=both)
    kinds = [f"weave {k}, wave {w}" for k in range(WEAVES) for w in range(len(WAVES))]
    rest, kind = first[COUNT:], (len(WAVES) * weave + waves[0])[COUNT:]
    single = ImageSource(PixelReader(rest, kind, kinds, "woven waves"), "memory:woven waves", pixels=rest)
    rows = np.arange(len(single))
    return pairs, (single.subset(rows[:JUDGED]), single.subset(rows[JUDGED:]))


def weave_and_wave(encoder: nn.Module, train: Source, test: tuple[Source, Source], seed: int) -> float:
    """Mean accuracy of two linear probes, of the weave and of the wave, on class token and mean patch."""
    network = ClassAndMean(encoder) if isinstance(encoder, ImageEncoder) else encoder
    x, y, z, truth = features(network, *test).arrays
    weave = linear(x, y // len(WAVES), z, truth // len(WAVES), seed=seed)
    wave = linear(x, y % len(WAVES), z, truth % len(WAVES), seed=seed)
    return (weave.value + wave.value) / 2


def raw_looks(task: Task, seed: int) -> dict[str, Score | float]:
    """Judge the pixels themselves."""
    return task.judge(RawPixels(SIDE), *task.data(seed), seed)


class Looks(SiT):
    """The two looks at a weave are the views; whole cells are spoilt."""

    def __init__(self, encoder: ImageEncoder, **options: Any) -> None:
        super().__init__(encoder, dim=32, hidden=128, momentum=0.98, weight=20.0, align=CELL, **options)

    def views(self, batch: ImageBatch) -> list[Corrupted]:
        """Return both halves of each picture, spoilt."""
        looks = batch.pixels.split(SIDE, 3)
        return [self.corrupt(look.float() / 255) for look in looks]


tiny = Training(
    "vergence.benchmarks.records._waves:TinyViT",
    {"positions": "learned", "pool": "cls"},
    epochs=24,
    batch=64,
    settings={"optimizer": "adamw", "lr": 4e-3, "weight_decay": 0.05, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{COUNT:,} pairs of looks at one of {WEAVES} weaves, of 16 x 16 pixels. Each cell of a look mixes the "
    "weave's patterns in its own way, so that no cell can be repaired from the others, but both looks have "
    "the weave in common. Over it lies a wave of four directions and two periods, drawn anew in each look: "
    "nothing that looks have in common, but what spoilt cells can be repaired by. Linear probes of class "
    "token and mean patch name the weave and the wave; the mean of their accuracies counts. Settings were "
    "chosen on seed 100. It takes the place of a world of slanted waves alone, whose period both tasks "
    "learned: there contrast alone was ahead of both together in five seeds, .872 to .833.",
    task=generated(woven_waves, Metric("mean accuracy of weave and wave", weave_and_wave)),
    arms={
        "paper": tiny(Looks),
        "contrast alone": tiny(partial(Looks, parts=("contrast",))),
        "repair alone": tiny(partial(Looks, parts=("repair",))),
        "untrained": tiny.untrained,
        "raw": raw_looks,
    },
)
PARITY = Parity(
    "official",
    "github.com/Sara-Ahmed/SiT, FullPipline and SimCLR of main.py: both losses and all gradients of random "
    "views in float64 (in float32 1.3e-6 of the largest gradient)",
    commit="7f22e9cd14968543bbeeee5ce71fdc0a177fb6c4",
    max_abs=1.4e-14,
    max_rel=2.2e-11,
)

train = Training(
    "vit-micro",
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.5},
)
options: dict[str, Any] = {"hidden": 512, "weight": 5.0, "momentum": 0.99}

RECORD = Record(
    key="sit",
    claim="Repairing spoilt views and telling photos apart teach more together than each alone.",
    task=cifar10(
        Metric(f"{KNN.name}, on class token and mean patch", both_tokens), TENTH, train=10_000, test=2_000
    ),
    arms={
        "paper": train(partial(SiT, **options)),
        "contrast alone": train(partial(SiT, parts=("contrast",), **options)),
        "repair alone": train(partial(SiT, parts=("repair",), **options)),
        "unspoilt student": train(partial(Unspoilt, **options)),
        "untrained": train.untrained,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks on 10,000 photos of 32 pixels, with a head of width 512 and a "
    "teacher of which .99 is kept; the paper: 800 epochs of ViT-S and ViT-B.",
    mechanism=MECHANISM,
    parity=PARITY,
)
