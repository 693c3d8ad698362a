"""I-JEPA on CIFAR-10 and among weaves: do a teacher's tokens teach more than pixels, blocks than patches?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import LINEAR, generated
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.methods.image.ijepa import IJEPA
from vergence.methods.image.masking import patch_of
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.masked import CellValues, Target

SIDE, CELL, COUNT, JUDGED = 16, 4, 1_024, 1_024
KINDS, WAYS = 4, 2  # of weave, and patterns that each mixes anew in every cell
DETAIL, LEVEL, NOISE = 0.15, 0.05, 0.25  # deviations: a weave's pixels, a cell's grey, a pixel
KEEP = 0.998  # of the teacher


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


def weaves(source: Any, seed: int) -> tuple[ImageSource, ImageSource]:
    """Generate pictures of 16 cells that mix the patterns of one weave, each in its own way, about zero."""
    random = np.random.default_rng(seed)
    n, cells = COUNT + JUDGED, (SIDE // CELL) ** 2
    label = np.arange(n) % KINDS
    patterns = random.normal(size=(KINDS, WAYS, CELL * CELL))
    patterns -= patterns.mean(2, keepdims=True)
    patterns /= patterns.std(2, keepdims=True)
    mixed = random.normal(size=(n, cells, WAYS)) / WAYS**0.5
    drawn = DETAIL * mixed @ patterns[label] + LEVEL * random.normal(size=(n, cells, 1))
    drawn = drawn.reshape(n, SIDE // CELL, SIDE // CELL, CELL, CELL).transpose(0, 1, 3, 2, 4)
    pixels = 0.5 + drawn.reshape(n, SIDE, SIDE, 1) + NOISE * random.normal(size=(n, SIDE, SIDE, 3))
    pixels = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    reader = PixelReader(pixels, label, [f"weave {k}" for k in range(KINDS)], "weaves")
    whole = ImageSource(reader, "memory:weaves", pixels=pixels)
    return whole.subset(np.arange(COUNT)), whole.subset(np.arange(COUNT, n))


def of_whole(cls: type[IJEPA]) -> Any:
    """Return a method that sees pictures as they are, so that cells are patches."""

    def make(encoder: nn.Module) -> IJEPA:
        method = cls(encoder, width=48, depth=1, momentum=KEEP)  # type: ignore[arg-type]
        method.configure_views({"scale": (1.0, 1.0), "ratio": (1.0, 1.0)})
        return method

    return make


tiny = Training(
    "vergence.benchmarks.records._waves:TinyViT",
    epochs=32,
    batch=64,
    settings={"optimizer": "adamw", "lr": 4e-3, "weight_decay": 0.05, "warmup": 2},
)
MECHANISM = Mechanism(
    f"{COUNT:,} pictures of 16 cells, each of one of {KINDS} weaves under a strong noise. Every cell mixes "
    "its weave's two patterns in its own way, about zero, so that no pixel of a hidden cell can be told from "
    "other cells, but which weave it is can, and with it what features such as energies will be there. "
    "Pixels as targets leave nothing to learn. A linear probe names the weave. Settings were chosen on seed "
    "100: a teacher that moves slowly (.998; at .99 the probe has .924 in place of .968, with less noise), "
    "and noise at which a random network does not do as well (.15 and less).",
    task=generated(weaves, LINEAR),
    arms={
        "paper": tiny(of_whole(IJEPA)),
        "pixels": tiny(of_whole(PixelTargets)),
        "untrained": tiny.untrained,
        "raw": raw,
    },
    rivals=("pixels", "untrained", "raw"),
)
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
    mechanism=MECHANISM,
    parity=PARITY,
)
