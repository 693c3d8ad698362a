"""ContextPlus on painted things of parts behind a lens: colour that is blurred, dropped, or left alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._parts import (
    CELL,
    COUNT,
    SIDE,
    Patches,
    as_source,
    cut,
    part_accuracy,
    photos,
    place_r2,
    smooth,
)
from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.data.image.source import ImageSource
from vergence.evaluate.score import Score
from vergence.methods.image.context import Context, keep_channel
from vergence.methods.image.contextplus import ContextPlus
from vergence.nets.image_encoder import MEAN

GLYPHS, CONTRAST, PAINT, TINT = 9, (0.2, 0.4), 0.1, 0.03
LENS = (1.08, 1.0, 0.92)  # of red, green and blue


def painted(source: Any, seed: int) -> tuple[ImageSource, Patches]:
    """Generate photos of a reddish and a bluish thing that have the same glyphs at other places.

    A part is a glyph with a paint. Patches are of parts that lie anywhere.
    """
    random = np.random.default_rng(seed)
    glyphs = smooth(random.normal(size=(GLYPHS, 1, CELL, CELL)), 2)
    glyphs = glyphs / np.abs(glyphs).max((1, 2, 3), keepdims=True)
    glyphs = np.concatenate([glyphs, glyphs[random.permutation(GLYPHS)]])
    paint = PAINT * np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]).repeat(GLYPHS, 0)
    draw = partial(photos, random, glyphs, contrast=CONTRAST, paint=paint, tint=TINT, lens=LENS)
    kind = random.integers(2, size=COUNT)
    mixed = random.integers(2 * GLYPHS, size=(COUNT, 9))
    patches = cut(random, draw(mixed)) - torch.tensor(MEAN).view(3, 1, 1)
    judged = Patches(patches.unflatten(0, mixed.shape), torch.from_numpy(mixed))
    return as_source(draw(GLYPHS * kind[:, None] + np.arange(9))), judged


class ColourDropped(ContextPlus):
    """One channel of each patch is kept, as in ``context``, in place of the blur."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, blur=0.0, **options)  # type: ignore[arg-type]

    def windowed(self, patches: Tensor) -> Tensor:
        flat = patches.flatten(0, 1)
        kept = torch.randint(3, (len(flat),), device=flat.device)
        alone = keep_channel(flat, kept, torch.rand_like(flat)) + self.encoder.mean
        return super().windowed(alone.view_as(patches))


def pixels(task: Task, seed: int) -> dict[str, Score | float]:
    """Judge the pixels of patches themselves."""
    return task.judge(nn.Flatten(), *task.data(seed), seed)


small = partial(ContextPlus, hidden=128, flip=0.0, turns=False, extra=False, aperture=1.0)
learns = Training(
    "resnet-tiny",
    {"width": 16, "blocks": (1, 1)},
    epochs=24,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{COUNT} photos of two things, a reddish and a bluish one, of the same nine glyphs at other places: "
    "where a part belongs is told by glyph and paint together. The lens draws red 8 % larger and blue 8 % "
    "smaller than green, and such fringes tell the place of any patch without a look at what is on it. "
    "Blurred over 7 of 36 pixels, colour has paint and no fringes; dropped, it has neither. The other "
    "switches are off in all arms: two patches, no turns, no window. Judged are patches of parts that lie "
    "anywhere: a linear probe names glyph and paint, and a ridge regression the place, which fringes alone "
    "tell. World and settings were made with seeds 100 and 101.",
    task=generated(
        painted,
        Metric("linear probe accuracy of the part on a patch", part_accuracy),
        Metric("R2 of a patch's place, by ridge regression", place_r2, less_is_better=True),
    ),
    arms={
        "paper": learns(partial(small, blur=7 / SIDE)),
        "colour dropped": learns(partial(ColourDropped, **small.keywords)),
        "colour left alone": learns(partial(small, blur=0.0)),
        "untrained": learns.untrained,
        "raw": pixels,
    },
)
PARITY = Parity(
    "official",
    "github.com/LLNL/selfsupervised, LoadFunctions.py, run: mirrors, turns and labels of layouts 0 to 11 "
    "are equal to the bit; its zoom, jitter and window, which it rounds to bytes, within 0.81 of 255. The "
    "joint layers of train_val_AlexNet-Custom_triple.prototxt in numpy, float32: the numbers here. The "
    "blur against scipy's uniform_filter on the same L*a*b*: 6.7e-16",
    commit="f5e05b62dc6cd9da07783a7578955f141c82bda4",
    max_abs=3.8e-07,
    max_rel=1.1e-07,
)
train = short(epochs=20, width=16)
cifar = partial(ContextPlus, hidden=512)

RECORD = Record(
    key="contextplus",
    claim="Blurred colour, in place of dropped, hides the lens and leaves what colour tells of things.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "colour dropped": train(partial(ColourDropped, **cifar.keywords)),
        "colour left alone": train(partial(cifar, blur=0.0)),
        "each patch its own jitter": train(partial(cifar, yoked=False)),
        "two patches": train(partial(cifar, extra=False)),
        "no window": train(partial(cifar, aperture=1.0)),
        "no turns": train(partial(cifar, turns=False)),
        "context": train(partial(Context, hidden=512)),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("colour dropped", "colour left alone", "context"),
    seeds=(0, 1, 2),
    note="5,000 photos of 32 pixels, so that patches have 8, and 20 epochs of a small ResNet by AdamW; the "
    "paper: patches of 96 pixels, 150 epochs of ImageNet. Arms without one switch are the paper's own "
    "smaller forms.",
    mechanism=MECHANISM,
    parity=PARITY,
)
