"""SiT on CIFAR-10: repair and contrast together, and each alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.benchmarks.tasks import KNN, Metric
from vergence.data import Source
from vergence.evaluate.baselines import features
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.methods.image.sit import SiT
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.corrupt import Corrupted


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
    parity=PARITY,
)
