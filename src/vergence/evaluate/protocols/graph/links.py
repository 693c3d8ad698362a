"""Link prediction: do true pairs of nodes score above pairs that are none?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput, unknown
from vergence.evaluate.inputs import Array
from vergence.evaluate.protocols.graph.curves import average_precision, roc_auc
from vergence.evaluate.protocols.linear import STRENGTHS, SoftmaxPath, choose_strength
from vergence.evaluate.score import Score

NEEDS: tuple[str, ...] = ()  # edges that were held out
OPS = ("hadamard", "mean", "l1", "l2", "concat")
_BLOCK = 1_000_000  # pairs whose vectors are multiplied at a time

Op = Literal["hadamard", "mean", "l1", "l2", "concat"]


def link_scores(positive: Array, negative: Array, *, note: str = "") -> dict[str, Score]:
    """Judge scores of pairs of nodes that are linked and that are not.

    Args:
        positive: ``(P,)`` scores of true pairs, higher for likelier links.
        negative: ``(Q,)`` scores of pairs without a link.
        note: Kept with both scores.

    Returns:
        ``auc`` (DeLong's interval) and ``ap``, average precision, which depends on the share P / (P + Q).
    """
    scores = torch.cat([torch.as_tensor(positive).detach().cpu(), torch.as_tensor(negative).detach().cpu()])
    truth = np.arange(len(scores)) < len(positive)
    return {"auc": roc_auc(scores, truth, note=note), "ap": average_precision(scores, truth, note=note)}


def dot_scores(x: Array, pairs: Array) -> Tensor:
    """Return the dot product of both ends' vectors, ``(P,)``, for pairs ``(2, P)``."""
    x, pairs = _ends(x, pairs)
    parts = [
        (x[u] * x[v]).sum(1) for u, v in zip(pairs[0].split(_BLOCK), pairs[1].split(_BLOCK), strict=True)
    ]
    return torch.cat(parts)


def edge_features(x: Array, pairs: Array, op: Op = "hadamard") -> Tensor:
    """Return a vector for each pair of nodes (node2vec, arXiv:1607.00653, Table 1).

    Args:
        x: ``(N, D)``.
        pairs: ``(2, P)``.
        op: ``"hadamard"`` u * v, ``"mean"`` (u + v) / 2, ``"l1"`` |u - v|, ``"l2"`` (u - v)^2, all the same
            for both orders of a pair, or ``"concat"`` [u, v] (CoreWalk), which is not.

    Returns:
        ``(P, D)``, or ``(P, 2 D)`` for ``"concat"``.
    """
    if op not in OPS:
        raise unknown("edge feature", op, OPS)
    x, pairs = _ends(x, pairs)
    u, v = x[pairs[0]], x[pairs[1]]
    if op == "concat":
        return torch.cat([u, v], dim=1)
    return {"hadamard": u * v, "mean": (u + v) / 2, "l1": (u - v).abs(), "l2": (u - v).square()}[op]


def link_probe(
    x: Array,
    train_positive: Array,
    train_negative: Array,
    test_positive: Array,
    test_negative: Array,
    *,
    op: Op = "hadamard",
    seed: int = 0,
) -> dict[str, Score]:
    """Judge node vectors by logistic regression on features of node pairs.

    Features are standardised by the training pairs; the L2 strength is chosen on a fifth of them, held out.
    The vectors must come from a graph without the test edges.

    Args:
        x: ``(N, D)``.
        train_positive: ``(2, P)`` linked pairs.
        train_negative: ``(2, Q)`` pairs without a link.
        test_positive: ``(2, P')``; none of them in training, in either order.
        test_negative: ``(2, Q')``.
        op: Of ``edge_features``.
        seed: Of the held-out fifth.

    Returns:
        ``auc`` and ``ap``.
    """
    _apart(train_positive, test_positive, len(x))
    kinds = [
        edge_features(x, pairs, op)
        for pairs in (train_positive, train_negative, test_positive, test_negative)
    ]
    features = torch.cat(kinds[:2])
    y = (torch.arange(len(features), device=features.device) < len(kinds[0])).long()
    strength = choose_strength(features, y, 2, strengths=STRENGTHS, seed=seed)
    fitted = SoftmaxPath(features, y, 2).solve(strength)
    scores = [fitted.logits(kind).diff(dim=1)[:, 0] for kind in kinds[2:]]
    return link_scores(*scores, note=f"{op}, L2 {strength:.1e}")


def _ends(x: Array, pairs: Array) -> tuple[Tensor, Tensor]:
    x = _tensor(x).detach().float()
    pairs = _tensor(pairs).to(x.device).long()
    if x.ndim != 2 or pairs.ndim != 2 or len(pairs) != 2 or not pairs.shape[1]:
        raise BadInput(
            f"Pairs of nodes are (2, P) for vectors (N, D); got {tuple(pairs.shape)}, {tuple(x.shape)}."
        )
    if pairs.min() < 0 or pairs.max() >= len(x):
        raise BadInput(f"A pair names node {int(pairs.max())}, but there are {len(x)} nodes, from 0.")
    if not torch.isfinite(x).all():
        raise BadInput("Links are judged by finite node vectors; some are NaN or infinite.")
    return x, pairs


def _apart(train: Array, test: Array, nodes: int) -> None:
    # both orders of a pair are one
    first, second = (_tensor(pairs).cpu().long().sort(dim=0).values for pairs in (train, test))
    shared = torch.isin(second[0] * nodes + second[1], first[0] * nodes + first[1]).sum()
    if shared:
        raise BadInput(f"{int(shared)} test edges are training edges; split the edges without overlap.")


def _tensor(array: Array) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array)
