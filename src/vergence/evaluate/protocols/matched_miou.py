"""Mean intersection over union of groups nobody named: k-means on tokens, matched with the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from vergence.core import BadInput, Features
from vergence.evaluate.dense import dense_split
from vergence.evaluate.protocols.miou import confusions, mean_iou
from vergence.evaluate.score import Score
from vergence.use.kmeans import kmeans

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("masks",)
MOST = 100_000  # tokens that k-means looks at


def matched(tables: Tensor) -> Tensor:
    """Rename groups after the classes that they meet most, one to one.

    Args:
        tables: ``(B, C, G)`` pixels of each picture by class and group.

    Returns:
        ``(B, C', C')`` confusions, C' = max(C, G), for ``miou.mean_iou``: groups without a class of their own
        count as guesses of a class that is nowhere.
    """
    count = max(tables.shape[1:])
    square = tables.new_zeros(len(tables), count, count)
    square[:, : tables.shape[1], : tables.shape[2]] = tables
    # the assignment is of all pixels together, by how many a pair shares
    rows, columns = linear_sum_assignment(square.sum(0).cpu().numpy(), maximize=True)
    order = np.empty(count, np.int64)
    order[rows] = columns
    return square[:, :, torch.as_tensor(order, device=tables.device)]


def matched_miou(
    train: Features,
    test: Features,
    test_masks: Tensor,
    *,
    groups: int | None = None,
    most: int = MOST,
    seed: int = 0,
) -> Score:
    """Mean intersection over union of classes and the groups that k-means finds without them.

    k-means on unit tokens of the training pictures places the centres; tokens of the test pictures take the
    nearest, mixed bilinearly in between; the Hungarian method matches groups and classes on all pixels.

    Args:
        train: Tokens of pictures whose masks nobody looks at.
        test: Tokens of m pictures.
        test_masks: ``(m, H, W)`` classes, below 0 where unknown.
        groups: G; None makes as many as there are classes.
        most: Tokens that k-means looks at, drawn evenly from all.
        seed: Of the draw and the starting points.

    Source: as Cho et al. 2021 (PiCIE), arXiv:2103.17070, and Hamilton et al. 2022, arXiv:2203.08414, judge.
    """
    assert train.tokens is not None
    classes = int(test_masks.max()) + 1
    if classes < 1:
        raise BadInput("matched_miou needs masks of known classes to judge by; none of the pixels has one.")
    groups = groups or len(test_masks[test_masks >= 0].unique())
    rows = normalize(train.tokens.float().flatten(0, 1), dim=1)
    if len(rows) > most:
        rows = rows[torch.as_tensor(np.random.default_rng(seed).permutation(len(rows))[:most])]
    centres = torch.from_numpy(kmeans(rows.cpu().numpy(), groups, seed=seed).centres)

    def nearest(tokens: Tensor) -> Tensor:
        return one_hot(torch.cdist(normalize(tokens, dim=2), centres.to(tokens)).argmin(2), groups).float()

    tables = confusions(test, nearest, test_masks, max(classes, groups))
    return mean_iou(matched(tables), seed=seed, note=f"{groups} groups")


def _matched_miou(split: Split, seed: int) -> Scores:
    if (pair := dense_split(split, "masks")) is not None:
        (x, _), (z, judged) = pair
        yield "mIoU, matched", matched_miou(x, z, judged.classes, seed=seed)


PROTOCOLS = {"matched_miou": _matched_miou}
