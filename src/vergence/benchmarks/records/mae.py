"""MAE on CIFAR-10, and faint waves under a strong light: do pixels on a scale of their own help?"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.benchmarks.records._waves import CONTRAST, COUNT, LIGHT, waves_task
from vergence.benchmarks.tasks import LINEAR
from vergence.methods.image.mae import MAE


class WholePictures(MAE):
    """Pictures are seen as they are, not cropped or mirrored: a wave's direction is what is asked for."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, width=32, depth=1, heads=2, **options)  # type: ignore[arg-type]
        self.configure_views({"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0})


tiny = Training(
    "vergence.benchmarks.records._waves:TinyViT",
    epochs=25,
    batch=64,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{COUNT:,} pictures of 16 x 16 pixels, each of one wave of eight kinds (four directions, two "
    f"periods), whose amplitude of {CONTRAST[0]} to {CONTRAST[1]} drowns in a light of deviation {LIGHT}, "
    "which changes slowly over the picture. Squared errors of pixels are those of the light, and the wave "
    "hardly counts; with each patch about its mean, in units of its own deviation, the wave is what is to be "
    "painted. A linear probe names the kind. Settings were chosen on seed 100. A quarter hidden in place of "
    "three is shown beside it and is no rival: on that seed a tenth hidden did as well as three quarters, "
    "and in another world, where each cell has a twin beside it that a decoder may copy, a quarter did "
    "better (.954 to .860): 16 patches are too few for most to be hidden.",
    task=waves_task(LINEAR),
    arms={
        "paper": tiny(WholePictures),
        "plain pixels": tiny(partial(WholePictures, target="pixels")),
        "a quarter hidden": tiny(partial(WholePictures, ratio=0.25)),
        "untrained": tiny.untrained,
        "raw": raw,
    },
    rivals=("plain pixels", "untrained", "raw"),
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/mae, MaskedAutoencoderViT of models_mae.py with its masks and positions: "
    "loss and gradients of random inputs in float32, plain and normalised pixels (in float64 1.2e-15 of the "
    "largest)",
    commit="efb2a8062c206524e35e47d04501ed4f544c0ae8",
    max_abs=2.4e-07,
    max_rel=5.7e-07,
)

train = Training(
    "vit-micro",
    {"positions": "sincos", "pool": "mean"},
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.5},
)
cifar = partial(MAE, width=64, depth=2, heads=4)

RECORD = Record(
    key="mae",
    claim="Painting the hidden patches of a picture from the few visible ones gives a ViT a better start "
    "than random weights.",
    task=cifar10(TENTH, train=10_000, test=2_000),
    arms={
        "paper": train(cifar),
        "a tenth hidden": train(partial(cifar, ratio=0.1)),
        "plain pixels": train(partial(cifar, target="pixels")),
        "untrained": train.untrained,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks and a decoder of 2 on 10,000 photos of 32 pixels; the paper: 800 "
    "epochs of ViT-B to ViT-H on ImageNet.",
    mechanism=MECHANISM,
    parity=PARITY,
)
