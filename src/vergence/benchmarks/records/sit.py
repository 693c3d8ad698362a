"""SiT on CIFAR-10, and waves of two hands: repair and contrast together, and each alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.evaluate.baselines import features
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.score import Score
from vergence.methods.image.sit import SiT
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.corrupt import Corrupted

SIDE, COUNT = 16, 1_024
PERIODS = (2.6, 4.0, 6.0, 9.0)  # pixels


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


def handed_waves(source: Source | None, seed: int) -> tuple[Source, Source]:
    """Generate pictures of one slanted wave each, under a light and in a colour of its own."""
    random = np.random.default_rng(seed)
    n = 2 * COUNT
    period, hand = np.arange(n) % len(PERIODS), np.arange(n) // len(PERIODS) % 2
    angle = (np.pi / 4 + np.pi / 2 * hand)[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE][:, None] + 0.5
    length = np.array(PERIODS)[period][:, None, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.sin(2 * np.pi * along / length + random.uniform(0, 2 * np.pi, (n, 1, 1)))
    strength = random.uniform(0.06, 0.15, (n, 1, 1))
    slopes = random.normal(size=(2, n, 1, 1))
    light = (slopes[0] * (x - SIDE / 2) + slopes[1] * (y - SIDE / 2)) / SIDE + random.normal(size=(n, 1, 1))
    pixels = 0.5 + (0.1 * light + strength * wave)[..., None] + 0.1 * random.normal(size=(n, 1, 1, 3))
    pixels = pixels + 0.02 * random.normal(size=pixels.shape)
    pixels = (255 * pixels.clip(0, 1)).astype(np.uint8)
    kinds = [f"period {length}, {side}" for length in PERIODS for side in ("left", "right")]
    reader = PixelReader(pixels, 2 * period + hand, kinds, "waves of two hands")
    whole = ImageSource(reader, "memory:waves of two hands", pixels=pixels)
    return whole.subset(np.arange(COUNT)), whole.subset(np.arange(COUNT, n))


def period_and_hand(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    """Mean accuracy of two linear probes, of the period and of the hand, on class token and mean patch."""
    network = ClassAndMean(encoder) if isinstance(encoder, ImageEncoder) else encoder
    x, y, z, truth = features(network, train, test).arrays
    period = linear(x, y // 2, z, truth // 2, seed=seed)
    return (period.value + linear(x, y % 2, z, truth % 2, seed=seed).value) / 2


class Waves(SiT):
    """Views that mirror and recolour, but crop little: a wave keeps its period and loses its hand."""

    def __init__(self, encoder: ImageEncoder, **options: Any) -> None:
        super().__init__(encoder, dim=32, hidden=128, momentum=0.98, weight=5.0, **options)
        colours = {"jitter": (0.4, 0.4, 0.4, 1 / 6), "jitter_p": 1.0, "grey": 0.3}
        self.configure_views({"scale": (0.7, 1.0), "ratio": (1.0, 1.0), **colours})


tiny = Training(
    "vergence.benchmarks.records._waves:TinyViT",
    {"positions": "learned", "pool": "cls"},
    epochs=16,
    batch=64,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{COUNT:,} pictures of 16 x 16 pixels, each of one slanted wave of four periods and two hands, under a "
    "light and in a colour of its own. Views are mirrored at random, so that what two views of a picture "
    "share does not say which hand its wave has, but repairing one does; how the views differ in colour and "
    "light is nothing to repair, but to be overlooked. Linear probes of class token and mean patch name the "
    "period and the hand; the mean of their accuracies counts. Settings were chosen on seed 100.",
    task=generated(handed_waves, Metric("mean accuracy of period and hand", period_and_hand)),
    arms={
        "paper": tiny(Waves),
        "contrast alone": tiny(partial(Waves, parts=("contrast",))),
        "repair alone": tiny(partial(Waves, parts=("repair",))),
        "untrained": tiny.untrained,
        "raw": raw,
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
