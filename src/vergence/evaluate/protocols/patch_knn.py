"""Patch k-NN: masks of pictures told by the most similar patches of others, with nothing trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vergence.core import BadInput, Features
from vergence.evaluate.dense import dense_split
from vergence.evaluate.protocols.miou import confusions, mean_iou, token_classes
from vergence.evaluate.score import Score
from vergence.use.topk import topk

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("masks",)
MOST = 100_000  # patches that are looked at


def patch_votes(
    bank: Tensor, classes: Tensor, queries: Tensor, count: int, *, k: int, temperature: float
) -> Tensor:
    """Return how much of each query's neighbours is of each class, ``(Q, count)``; rows add up to 1.

    Args:
        bank: ``(N, D)``.
        classes: ``(N,)`` in [0, count).
        queries: ``(Q, D)``.
        count: C.
        k: Neighbours, by cosine.
        temperature: Of their softmax, above 0.
    """
    if temperature <= 0 or k < 1:
        raise ValueError(f"patch_votes needs k >= 1 and temperature > 0; got {k} and {temperature}.")
    score, row = topk(queries, bank, k)
    weight = (score / temperature).softmax(1)
    votes = torch.zeros(len(queries), count, device=weight.device)
    return votes.scatter_add_(1, classes.to(row.device)[row], weight)


def patch_knn(
    train: Features,
    train_masks: Tensor,
    test: Features,
    test_masks: Tensor,
    *,
    k: int = 30,
    temperature: float = 0.07,
    most: int = MOST,
    seed: int = 0,
) -> Score:
    """Mean intersection over union where each patch asks the patches of other pictures for its class.

    The k most similar by cosine vote by a softmax; votes are mixed bilinearly between the patches' centres,
    and every pixel takes the largest.

    Args:
        train: Tokens of n pictures on a grid; a token's class is that of most pixels around it.
        train_masks: ``(n, H, W)`` classes, below 0 where unknown.
        test: Tokens of m pictures.
        test_masks: ``(m, H, W)``.
        k: Neighbours.
        temperature: Of the softmax.
        most: Tokens that are looked at, drawn evenly from all.
        seed: Of the draw.

    Source: as Balazevic et al. 2023, arXiv:2306.01667, whose neighbours also vote by a softmax. Differs: the
    class of most pixels in place of shares; all tokens, or a draw of them, in place of a chosen memory.
    """
    assert train.tokens is not None
    classes = token_classes(train_masks, train)
    known = classes >= 0
    bank, classes = train.tokens[known].float(), classes[known]
    if not len(bank):
        raise BadInput("patch_knn needs masks of known classes to look at; none of the pixels has one.")
    if len(bank) > most:
        kept = torch.as_tensor(np.sort(np.random.default_rng(seed).permutation(len(bank))[:most]))
        bank, classes = bank[kept], classes[kept]
    count = int(max(int(classes.max()), int(test_masks.max()))) + 1

    def votes(tokens: Tensor) -> Tensor:
        flat = patch_votes(bank, classes, tokens.flatten(0, 1), count, k=k, temperature=temperature)
        return flat.view(*tokens.shape[:2], count)

    tables = confusions(test, votes, test_masks, count)
    return mean_iou(tables, seed=seed, note=f"k={k}, T={temperature:g}")


def _patch_knn(split: Split, seed: int) -> Scores:
    if (pair := dense_split(split, "masks")) is not None:
        (x, seen), (z, judged) = pair
        yield "mIoU, patch k-NN", patch_knn(x, seen.classes, z, judged.classes, seed=seed)


PROTOCOLS = {"patch_knn": _patch_knn}
