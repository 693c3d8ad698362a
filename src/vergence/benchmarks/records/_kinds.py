"""A world of things of several kinds, photographed twice, which three records share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from vergence.benchmarks.records._looks import SIDE
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine import embed

KINDS, THINGS, JUDGED, NEAR = 20, 1_000, 400, 5
OF_KIND, OF_THING, CHANGES = 4, 20, 15  # causes that a kind shares, that a thing keeps, that change
KIND, CHANGE = 2.0, 4.0  # deviations of the first and the last; a thing's is 1


def kinds(
    source: Any, seed: int, *, kind: float = KIND, change: float = CHANGE
) -> tuple[ImageSource, ImageSource]:
    """Generate pictures in twos, of one thing of one kind.

    Args:
        source: None.
        seed: Of all that is drawn.
        kind: Deviation of the causes that a kind shares, where that of a thing's is 1.
        change: Deviation of the causes that change from picture to picture.
    """
    random = np.random.default_rng(seed)
    things = np.arange(THINGS + JUDGED).repeat(2)
    label = random.integers(KINDS, size=THINGS + JUDGED)[things]
    causes = [
        kind * random.normal(size=(KINDS, OF_KIND))[label],
        random.normal(size=(THINGS + JUDGED, OF_THING))[things],
        change * random.normal(size=(len(things), CHANGES)),
    ]
    mixed = np.concatenate(causes, 1) @ random.normal(size=(OF_KIND + OF_THING + CHANGES, 3 * SIDE * SIDE))
    x = mixed / mixed.std() + 0.1 * random.normal(size=mixed.shape)
    pixels = (128 + 30 * x).clip(0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    reader = PixelReader(pixels, label, [f"kind {k}" for k in range(KINDS)], "thing")
    whole = ImageSource(reader, "memory:kinds", pixels=pixels)
    return whole.subset(np.arange(2 * THINGS)), whole.subset(np.arange(2 * THINGS, len(things)))


def of_its_kind(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> float:
    """Return the share of a picture's nearest pictures of other things that are of its kind."""
    embedded = embed(encoder, test)
    x = torch.as_tensor(embedded.vectors)
    kind = torch.as_tensor(embedded.labels)
    x = normalize(x - x.mean(0), dim=1)
    row = torch.arange(len(x))
    scores = x @ x.T
    scores[row, row] = scores[row, row ^ 1] = -torch.inf
    return float((kind[scores.topk(NEAR).indices] == kind[:, None]).float().mean())
