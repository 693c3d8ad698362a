"""Mean intersection over union of semantic masks, and the linear probe on tokens that is judged by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vergence.core import BadInput, Features
from vergence.evaluate.dense import dense_split, of_pictures, pixel_classes
from vergence.evaluate.protocols.linear import STRENGTHS, SoftmaxPath, choose_strength
from vergence.evaluate.score import Score, resampled

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("masks",)
MOST = 100_000  # tokens that teach


def confusion(guess: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count pixels by true and guessed class, ``(B, C, C)`` int64; pixels of no known class are left out.

    Args:
        guess: ``(B, H, W)`` in [0, C).
        truth: ``(B, H, W)``, below 0 where unknown.
        classes: C.
    """
    known = truth >= 0
    of = torch.arange(len(truth), device=truth.device)[:, None, None].expand_as(truth)
    cell = (of[known] * classes + truth[known].long()) * classes + guess[known].long()
    return torch.bincount(cell, minlength=len(truth) * classes**2).view(-1, classes, classes)


def mean_iou(tables: Tensor, *, repeats: int = 1000, seed: int = 0, note: str = "") -> Score:
    """Score the mean over classes of intersection over union, with a bootstrap over pictures.

    Intersections and unions are summed over all pictures first, as in PASCAL VOC. A class that is
    neither there nor guessed does not count.

    Args:
        tables: ``(B, C, C)`` of ``confusion``.
        repeats: Resamples of the pictures.
        seed: Of the resamples.
        note: Kept with the score.

    Raises:
        ValueError: If no pixel has a known class.
    """
    counts = tables.cpu().numpy().astype(np.float64)
    if not counts.sum():
        raise ValueError("mean_iou needs pixels of a known class, got none.")
    both = np.diagonal(counts, axis1=1, axis2=2)
    either = counts.sum(1) + counts.sum(2) - both
    drawn = resampled(np.ones(len(counts), np.int64), repeats, seed=seed).astype(np.float64)
    value = float(_mean_ratio(both.sum(0), either.sum(0)))
    low, high = np.nanquantile(_mean_ratio(drawn @ both, drawn @ either), (0.025, 0.975))
    return Score(value, min(float(low), value), max(float(high), value), len(counts), note)


def _mean_ratio(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of both / either, of the classes that occur."""
    present = either > 0
    return (both / np.where(present, either, 1)).sum(-1) / present.sum(-1)


def token_classes(masks: Tensor, features: Features) -> Tensor:
    """Return the class that most pixels around each token have, ``(B, N)``; -1 where none has a known one.

    Around a token are the pixels that are nearer to its centre than to another's, along each axis.

    Args:
        masks: ``(B, H, W)``, below 0 where unknown.
        features: Of those pictures, on a grid with a stride of whole pixels.
    """
    if features.grid is None or features.stride is None or features.offset is None:
        raise ValueError("token_classes needs tokens on a grid with stride and offset.")
    (h, w), (b, tall, wide) = features.grid, masks.shape
    down, right = (round(s) for s in features.stride)
    if (down, right) != tuple(features.stride):
        raise BadInput(f"miou needs tokens a whole number of pixels apart; got {features.stride}.")
    top, left = (math.ceil(s / 2 - o) for s, o in zip((down, right), features.offset, strict=True))
    classes = max(int(masks.max()) + 1, 1)
    cells = masks.new_full((b, h * down, w * right), -1)
    rows, columns = min(tall, h * down - top), min(wide, w * right - left)
    cells[:, top : top + rows, left : left + columns] = masks[:, :rows, :columns]
    cells = cells.view(b, h, down, w, right).transpose(2, 3).reshape(b, h * w, -1).long()
    known = cells >= 0
    votes = torch.zeros(b, h * w, classes, device=masks.device)
    votes.scatter_add_(2, cells.clamp_min(0), known.float())
    return votes.argmax(2).masked_fill(~known.any(2), -1)


def miou(
    train: Features,
    train_masks: Tensor,
    test: Features,
    test_masks: Tensor,
    *,
    seed: int = 0,
    strengths: Iterable[float] = STRENGTHS,
    most: int = MOST,
) -> Score:
    """Mean intersection over union of a linear probe on frozen tokens.

    A softmax regression learns the class that most pixels around each token have. Its logits are mixed
    bilinearly between the tokens' centres, and every pixel takes the largest. The L2 strength is chosen on
    the tokens of a fifth of the *training* pictures.

    Args:
        train: Tokens of n pictures on a grid.
        train_masks: ``(n, H, W)`` classes, below 0 where unknown.
        test: Tokens of m pictures.
        test_masks: ``(m, H, W)``.
        seed: Of the fifth and of the tokens that teach.
        strengths: Tried in this order, strong to weak.
        most: Tokens that teach, at most; drawn evenly from all.

    Source: a linear layer on patch tokens, as Caron et al. 2021 and Oquab et al. 2023 probe. Differs: it is
    solved by L-BFGS on the classes of tokens, not trained on pixels.
    """
    assert train.tokens is not None
    known = token_classes(train_masks, train)
    chosen = known >= 0
    picture = torch.arange(len(known), device=known.device)[:, None].expand_as(known)[chosen]
    x, y = train.tokens[chosen].float(), known[chosen]
    rng = np.random.default_rng(seed)
    if len(y) > most:
        kept = torch.as_tensor(np.sort(rng.permutation(len(y))[:most]), device=y.device)
        x, y, picture = x[kept], y[kept], picture[kept]
    seen, code = y.unique(return_inverse=True)
    if len(seen) < 2:
        raise BadInput(f"miou needs masks with 2 or more classes to learn from; got {len(seen)}.")
    aside = torch.as_tensor(rng.permutation(len(known))[: len(known) // 5], device=y.device)
    held = torch.isin(picture, aside)
    strength = choose_strength(x, code, len(seen), strengths=strengths, seed=seed, aside=held)
    probe = SoftmaxPath(x, code, len(seen)).solve(strength)
    classes = int(max(int(seen.max()), int(test_masks.max()))) + 1
    tables = confusions(test, probe.logits, test_masks, classes, names=seen)
    return mean_iou(tables, seed=seed, note=f"L2 {strength:.1e}")


def confusions(
    features: Features,
    score: Callable[[Tensor], Tensor],
    masks: Tensor,
    classes: int,
    *,
    names: Tensor | None = None,
) -> Tensor:
    """Return the confusions ``(m, C, C)`` of what tokens say of each pixel and its class; see ``confusion``.

    Args:
        features: Of m pictures.
        score: Tokens ``(B, N, D)`` -> scores ``(B, N, K)``, mixed between tokens' centres.
        masks: ``(m, H, W)``.
        classes: C.
        names: ``(K,)``, the class that each score is of; None: score k is of class k.
    """
    tables = []
    for rows in torch.arange(len(masks)).split(16):
        guess = pixel_classes(of_pictures(features, rows), score, masks.shape[1:])
        tables.append(confusion(guess if names is None else names[guess], masks[rows], classes))
    return torch.cat(tables)


def _miou(split: Split, seed: int) -> Scores:
    if (pair := dense_split(split, "masks")) is not None:
        (x, seen), (z, judged) = pair
        yield "mIoU", miou(x, seen.classes, z, judged.classes, seed=seed)


PROTOCOLS = {"miou": _miou}
