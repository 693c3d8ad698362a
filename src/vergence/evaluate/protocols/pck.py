"""Percentage of correct keypoints, and the transfer of keypoints by nearest tokens that is judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import Features
from vergence.evaluate.dense import dense, of_pictures
from vergence.evaluate.score import Score, ratio_score
from vergence.nets.image_encoder import image_size

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("keypoints",)
ALPHA = 0.1  # of the picture's side
PAIRS = 500


def pck(
    guess: Tensor, truth: Tensor, visible: Tensor, reach: Tensor, *, seed: int = 0, note: str = ""
) -> Score:
    """Share of visible keypoints that are guessed no further away than ``reach``.

    Args:
        guess: ``(N, K, 2)`` in pixels.
        truth: ``(N, K, 2)``.
        visible: ``(N, K)``, above 0 where the truth is known.
        reach: ``(N,)`` in pixels, by custom a tenth of the longer side of the thing's box, or of the picture.
        seed: Of the bootstrap over things.
        note: Kept with the score.

    Raises:
        ValueError: If no keypoint is visible.

    Source: Yang and Ramanan 2013.
    """
    known = visible > 0
    right = (guess - truth).norm(dim=2) <= reach[:, None]
    return ratio_score((right & known).sum(1), known.sum(1), note=note, seed=seed)


def transferred(first: Features, xy: Tensor, second: Features) -> Tensor:
    """Return where points of pictures lie in others, ``(N, K, 2)``: at the centre of the token most alike.

    Args:
        first: Of the N pictures that the points are of.
        xy: ``(N, K, 2)`` in pixels; vectors between tokens' centres are mixed bilinearly.
        second: Of the N other pictures.
    """
    assert second.tokens is not None
    queries, known = normalize(first.at(xy), dim=2), normalize(second.tokens, dim=2)
    return second.centres().to(xy)[(queries @ known.mT).argmax(2)]


def _pck(split: Split, seed: int) -> Scores:
    """Transfer the keypoints of a random picture to another, of ``PAIRS`` pairs, by nearest tokens."""
    pair = dense(split.encoder, split.test, "keypoints")
    if pair is None:
        return
    features, points = pair
    assert features.tokens is not None
    size, seen = image_size(split.encoder), points.visibility > 0
    rng = np.random.default_rng(seed)
    first, second = (torch.from_numpy(rng.integers(len(points), size=PAIRS)) for _ in range(2))
    apart = points.of[first] != points.of[second]
    first, second = first[apart], second[apart]
    xy = points.xy.as_subclass(Tensor)
    guess = torch.cat(
        [
            transferred(of_pictures(features, points.of[a]), xy[a], of_pictures(features, points.of[b]))
            for a, b in zip(first.split(32), second.split(32), strict=True)
        ]
    )
    both, reach = seen[first] & seen[second], torch.full((len(first),), ALPHA * size)
    yield f"PCK@{ALPHA:g}", pck(guess, xy[second], both, reach, seed=seed, note=f"{len(first)} pairs")


PROTOCOLS = {"pck": _pck}
