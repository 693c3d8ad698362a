"""I-JEPA on CIFAR-10: are a teacher's tokens better targets than pixels, and blocks than patches?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import LINEAR
from vergence.methods.image.ijepa import IJEPA
from vergence.methods.image.masking import patch_of
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.masked import CellValues, Target


class Pixels(CellValues):
    """The pixels of a patch, as the encoder sees them."""

    def __init__(self, encoder: ImageEncoder) -> None:
        patch = patch_of(encoder, "IJEPA")
        super().__init__((patch, patch))
        self.encoder = encoder

    def at(self, values: Tensor, places: Tensor) -> Tensor:
        return super().at(self.encoder.pixels(values), places)


class PixelTargets(IJEPA):
    """Blocks of pixels are predicted, from the same contexts by the same predictor."""

    def make_target(self) -> Target:
        return Pixels(self.encoder)


class Scattered(IJEPA):
    """Context and what is predicted are as many patches as in the paper, strewn over the picture."""

    def places(self, rows: int, device: Any) -> tuple[Tensor, Tensor]:
        context, blocks = super().places(rows, device)
        (_, shown), (_, number, length) = context.shape, blocks.shape
        order = torch.rand(rows, self.grid[0] * self.grid[1], device=device).argsort(1)
        hidden = order[:, shown:]
        chosen = torch.rand(rows, number, hidden.shape[1], device=device).argsort(2)[..., :length]
        return order[:, :shown], hidden.gather(1, chosen.flatten(1)).view(rows, number, length)


PARITY = Parity(
    "official",
    "github.com/facebookresearch/ijepa, VisionTransformer and VisionTransformerPredictor of "
    "src/models/vision_transformer.py with the loss and the moving average of src/train.py, without a class "
    "token: loss, gradients and teacher of random inputs in float32 (in float64 2.5e-15 of the largest)",
    commit="52c1ae95d05f743e000e8f10a1f3a79b10cff048",
    max_abs=1.2e-07,
    max_rel=1.2e-06,
)

train = Training(
    "vit-micro",
    {"positions": "sincos"},
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.5},
)
options: dict[str, Any] = {"width": 48, "depth": 2, "momentum": 0.98}

RECORD = Record(
    key="ijepa",
    claim="Predicting blocks of a slow copy's tokens, not of pixels, makes the features of a linear probe.",
    task=cifar10(LINEAR, train=10_000, test=2_000),
    arms={
        "paper": train(partial(IJEPA, **options)),
        "pixels": train(partial(PixelTargets, **options)),
        "scattered patches": train(partial(Scattered, **options)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks and a predictor of 2 on 10,000 photos of 32 pixels, with a teacher "
    "of which .98 is kept; the paper: 300 to 600 epochs of ViT-B to ViT-G on ImageNet.",
    parity=PARITY,
)
