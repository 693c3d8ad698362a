"""Dense features: frozen maps of pictures with the targets on them, which dense protocols judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vergence.core import Features
from vergence.data.image.batch import ImageBatch
from vergence.data.source import Source
from vergence.engine import embed
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import centre_view

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split


class _NoMapError(Exception):
    """The encoder answers with a vector only."""


def dense(encoder: nn.Module, source: Source, name: str) -> tuple[Features, Any] | None:
    """Return the tokens of every picture's central square, and a target moved along with it.

    Args:
        encoder: Of images.
        source: Holds the target.
        name: Of the target.

    Returns:
        ``Features`` of all n pictures with ``tokens (n, N, D)``, a grid, ``stride`` and ``offset``: where the
        encoder does not say, as if its cells divided the picture evenly. None where it has no map.
    """
    from vergence.data.targets import joined  # loads torchvision

    size = image_size(encoder)
    targets, counts, places = [], [], []

    def read(batch: ImageBatch) -> Tensor:
        with torch.autocast(batch.pixels.device.type, enabled=False):
            view = centre_view(batch, size)
        assert view.targets is not None
        targets.append(view.targets[name].to("cpu"))
        counts.append(len(view))
        answer = encoder(view.pixels)
        if not isinstance(answer, Features) or answer.tokens is None or answer.grid is None:
            raise _NoMapError
        places.append((answer.grid, answer.stride, answer.offset))
        return answer.tokens

    try:
        tokens = torch.from_numpy(embed(encoder, source.with_targets([name], "This"), read=read).vectors)
    except _NoMapError:
        return None
    grid, stride, offset = places[0]
    if stride is None or offset is None:
        stride = tuple(size / n for n in grid)
        offset = tuple(s / 2 for s in stride)
    return Features(tokens.mean(1), tokens, grid, stride, offset), joined(targets, counts)


def of_pictures(features: Features, rows: Tensor) -> Features:
    """Return the features of the pictures ``rows``."""
    assert features.tokens is not None
    return dataclasses.replace(features, pooled=features.pooled[rows], tokens=features.tokens[rows])


def dense_split(split: Split, name: str) -> tuple[tuple[Features, Any], tuple[Features, Any]] | None:
    """Return what ``dense`` gives of the training and the test pictures; None where it gives nothing."""
    train, test = dense(split.encoder, split.train, name), dense(split.encoder, split.test, name)
    return None if train is None or test is None else (train, test)


def pixel_classes(features: Features, score: Callable[[Tensor], Tensor], size: Sequence[int]) -> Tensor:
    """Return the class of each pixel ``(B, H, W)``, which has the largest score; see ``pixel_scores``."""
    return pixel_scores(features, score, size).argmax(1)


def pixel_scores(features: Features, score: Callable[[Tensor], Tensor], size: Sequence[int]) -> Tensor:
    """Return scores of each pixel ``(B, C, H, W)``, mixed bilinearly between tokens' centres.

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        score: Tokens ``(B, N, D)`` -> scores ``(B, N, C)``.
        size: Of the pictures in pixels, height and width.
    """
    assert features.tokens is not None
    scored = dataclasses.replace(features, tokens=score(features.tokens.float()))
    height, width = size
    return scored.at_pixels(height, width)
