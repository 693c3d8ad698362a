"""Retrieval: every sample asks for the others of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
_BLOCK = 1 << 24  # scores held at a time


def retrieval(x: Array, y: Array, *, k: int | None = None) -> Score:
    """Mean average precision of ranking all other samples by cosine to each.

    The average precision of a query is the mean, over the samples of its class, of the share of
    right ones among those ranked at least as high; samples at equal scores are taken together, as
    scikit-learn does. With ``k``, samples ranked below k count as not found, and the mean is over
    min(k, samples of the class). Queries that are alone in their class are left out. Exact; the
    scores are made a block of queries at a time.

    Args:
        x: ``(n, D)`` features.
        y: ``(n,)`` labels, at least 0.
        k: Length of the list that is looked at; None looks at all of it.
    """
    x, y = labelled(x, y, "retrieval")
    if k is not None and k < 1:
        raise ValueError(f"retrieval needs k of at least 1, got {k}.")
    x = normalize(x, dim=1)
    precisions = []
    for label in y.unique():
        members = torch.nonzero(y == label)[:, 0]
        if len(members) > 1:
            blocks = members.split(max(1, _BLOCK // len(x)))
            precisions += [average_precision(x, members, block, k) for block in blocks]
    if not precisions:
        raise BadInput("Retrieval needs a class of 2 or more samples; every label given is used only once.")
    note = "every sample against all others" + (f", first {k}" if k else "")
    return mean_score(torch.cat(precisions), note=note)


def average_precision(x: Tensor, members: Tensor, queries: Tensor, k: int | None = None) -> Tensor:
    """Return the average precision ``(q,)`` of the rows ``queries``, whose class is the rows ``members``."""
    score = x[queries] @ x.T
    own = torch.arange(len(queries), device=x.device)
    score[own, queries] = -torch.inf  # a query is no answer to itself
    right = _ascending(score[:, members])[:, 1:].contiguous()  # the first is the query's own -inf
    everyone = _ascending(score)
    rank = score.shape[1] - torch.searchsorted(everyone, right)  # how many score at least as high
    rank_right = right.shape[1] - torch.searchsorted(right, right)
    precision = rank_right / rank
    if k is None:
        return precision.mean(1)
    return (precision * (rank <= k)).sum(1) / min(k, right.shape[1])


def _ascending(score: Tensor) -> Tensor:
    # torch.sort also carries the order along, which on a CPU is some ten times slower
    return (
        torch.from_numpy(np.sort(score.numpy(), axis=1))
        if score.device.type == "cpu"
        else score.sort(1).values
    )


def _retrieval(split: Split, seed: int) -> Scores:
    if np.unique(split.test_y, return_counts=True)[1].max() > 1:
        yield "mAP", retrieval(split.test_x, split.test_y)


PROTOCOLS = {"retrieval": _retrieval}
