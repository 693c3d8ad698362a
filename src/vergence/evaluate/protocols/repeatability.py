"""Repeatability of keypoints in two pictures of a plane, and the homography that their matches tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core.errors import need
from vergence.evaluate.dense import dense
from vergence.evaluate.score import Score, mean_score
from vergence.nets.image_encoder import image_size

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("homography", "group")
WITHIN = (1.0, 3.0, 5.0)  # pixels


def moved(points: Tensor, homography: Tensor) -> Tensor:
    """Return where points ``(N, 2)`` in pixels lie after a homography ``(3, 3)``."""
    mapped = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ homography.mT.to(points)
    return mapped[:, :2] / mapped[:, 2:]


def repeatability(
    first: Tensor,
    second: Tensor,
    homography: Tensor,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    *,
    within: float = 3.0,
) -> float:
    """Return the share of keypoints that are found again, of those that both pictures could show.

    A keypoint is found again if one of the other picture, moved here, is no further than ``within``; both
    pictures' keypoints count. NaN where neither picture has a keypoint that the other could show.

    Args:
        first: ``(N, 2)`` in pixels.
        second: ``(M, 2)``.
        homography: ``(3, 3)``, from the first picture to the second.
        sizes: Height and width of the first and of the second picture.
        within: Pixels.

    Source: DeTone et al. 2018 (SuperPoint), arXiv:1712.07629, Sec. 6.2 and App. A.
    """
    forward, backward = moved(first, homography), moved(second, torch.linalg.inv(homography.double()))
    seen, seen_backward = _inside(forward, sizes[1]), _inside(backward, sizes[0])
    if not seen.any() and not seen_backward.any():
        return float("nan")
    if not seen.any() or not seen_backward.any():
        return 0.0
    away = torch.cdist(forward[seen].double(), second[seen_backward].double())
    repeated = (away.amin(1) <= within).sum() + (away.amin(0) <= within).sum()
    return float(repeated) / int(seen.sum() + seen_backward.sum())


def _inside(points: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    return (points >= 0).all(1) & (points[:, 0] <= width) & (points[:, 1] <= height)


def corner_error(guess: Tensor, truth: Tensor, size: tuple[int, int]) -> float:
    """Return the mean distance in pixels between a picture's corners moved by two homographies ``(3, 3)``.

    Args:
        guess: Infinite or NaN where none was found; the error is infinite then.
        truth: From the same picture.
        size: Its height and width.
    """
    if not torch.isfinite(guess).all():
        return float("inf")
    height, width = size
    corners = torch.tensor([(0, 0), (width, 0), (width, height), (0, height)], dtype=torch.float64)
    error = (moved(corners, guess.double()) - moved(corners, truth.double())).norm(dim=1).mean()
    return float(error) if torch.isfinite(error) else float("inf")


def homography_correctness(
    errors: np.ndarray, within: tuple[float, ...] = WITHIN, *, seed: int = 0
) -> dict[str, Score]:
    """Score the share of pairs whose corners are moved to within so many pixels: "1 px", "3 px", "5 px".

    Args:
        errors: ``(n,)`` of ``corner_error``.
        within: Pixels.
        seed: Of the bootstrap over pairs.
    """
    return {f"{reach:g} px": mean_score(errors <= reach, seed=seed) for reach in within}


def mutual_matches(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows of vectors ``(N, D)`` and ``(M, D)`` that are each other's nearest by cosine."""
    likeness = normalize(first, dim=1) @ normalize(second, dim=1).T
    forward, backward = likeness.argmax(1), likeness.argmax(0)
    row = torch.arange(len(first), device=first.device)
    own = backward[forward] == row
    return row[own], forward[own]


def estimate_homography(first: Tensor, second: Tensor, *, within: float = 3.0, seed: int = 0) -> Tensor:
    """Return the homography ``(3, 3)`` that most matches agree with (LO-RANSAC); NaN where none is found.

    Args:
        first: ``(N, 2)`` pixels.
        second: ``(N, 2)``, what they were matched with.
        within: Pixels up to which a match agrees.
        seed: Of the samples.

    Raises:
        MissingExtra: Without poselib.
    """
    library: Any = need("poselib", extra="match")
    if len(first) < 4:
        return torch.full((3, 3), torch.nan, dtype=torch.float64)
    points = [part.double().cpu().numpy() for part in (first, second)]
    homography, _ = library.estimate_homography(*points, {"max_reproj_error": within, "seed": seed})
    return torch.from_numpy(np.array(homography, np.float64))


def _homography(split: Split, seed: int) -> Scores:
    """Match the tokens of both pictures of each test pair and ask how well they tell its homography."""
    pair = dense(split.encoder, split.test, "homography")
    if pair is None:
        return
    features, maps = pair
    assert features.tokens is not None
    groups = split.test.target("group").values  # type: ignore[attr-defined]
    size, centres, errors = image_size(split.encoder), features.centres(), []
    for group in groups.unique():
        rows = torch.nonzero(groups == group)[:, 0].tolist()
        if len(rows) != 2:
            continue
        first, second = mutual_matches(*(features.tokens[row].float() for row in rows))
        guess = estimate_homography(centres[first], centres[second], seed=seed)
        seen = [_shown(split.test.sample(row).shape[:2], size) for row in rows]
        between = torch.linalg.inv(maps.values[rows[1]].double()) @ maps.values[rows[0]].double()
        errors.append(corner_error(guess, seen[1] @ between @ torch.linalg.inv(seen[0]), (size, size)))
    scores = homography_correctness(np.array(errors), seed=seed) if errors else {}
    yield from ((f"homography within {name}", score) for name, score in scores.items())


def _shown(picture: tuple[int, int], size: int) -> Tensor:
    """Return the map ``(3, 3)`` from a picture's pixels to those of its central square at ``size``."""
    height, width = picture
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    scale = size / side
    return torch.tensor([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]], dtype=torch.float64)


PROTOCOLS = {"homography": _homography}
