"""Losses of classifiers that nobody tells the classes: neighbours agree, all classes are used."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from vergence.losses.precision import in_float32

_LEAST = 1e-8  # probability below which the entropy has no slope


@in_float32
def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean over rows of -log of the chance that both answers name the same class.

    It is 0 where both are sure and agree: neighbours are to agree and to be sure.

    Args:
        first: Logits ``(B, C)``, or ``(B, H, C)`` of H classifiers.
        second: The same, row i of the neighbour of row i.

    Returns:
        Scalar, or ``(H,)``, in nats, at least 0. Uniform answers give log C.

    Source: Van Gansbeke et al. (SCAN), arXiv:2005.12320, Eq. 2, first term.

    >>> import torch
    >>> disagreement(torch.zeros(2, 4), torch.zeros(2, 4))
    tensor(1.3863)
    """
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(
            "disagreement needs two tensors of logits of one shape (B, C); "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    return -(log_softmax(first, -1) + log_softmax(second, -1)).logsumexp(-1).mean(0)


@in_float32
def mean_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the mean answer: high where the rows together use all classes alike.

    Args:
        logits: ``(B, C)``, or ``(B, H, C)`` of H classifiers; several processes gather theirs first.

    Returns:
        Scalar, or ``(H,)``, in nats, between 0 and log C.

    Source: Van Gansbeke et al. (SCAN), arXiv:2005.12320, Eq. 2, second term.

    >>> import torch
    >>> mean_entropy(torch.tensor([[20.0, 0.0], [0.0, 20.0]]))
    tensor(0.6931)
    """
    mean = logits.softmax(-1).mean(0).clamp_min(_LEAST)
    return -(mean * mean.log()).sum(-1)


@in_float32
def confident_cross_entropy(weak: Tensor, strong: Tensor, *, threshold: float) -> Tensor:
    """Return the cost of naming, from a strong view, the class that the weak one is sure of.

    Rows whose weak view is not sure are left out. Every class that somebody is sure of counts alike: the
    rows of each are averaged, then the classes.

    Args:
        weak: Logits ``(B, C)``; they get no gradient.
        strong: Logits ``(B, C)`` of other views of the same samples.
        threshold: Probability above which a row is sure, in [0, 1).

    Returns:
        Scalar, in nats; 0 where nobody is sure.

    Source: Van Gansbeke et al. (SCAN), arXiv:2005.12320, Sec. 2.3.
    """
    if weak.shape != strong.shape or not 0 <= threshold < 1:
        raise ValueError(
            "confident_cross_entropy needs logits of one shape (B, C) and a threshold in [0, 1); "
            f"got {tuple(weak.shape)}, {tuple(strong.shape)} and {threshold}."
        )
    sure, target = weak.detach().softmax(1).max(1)
    chosen = (sure > threshold).to(strong)
    count = chosen.new_zeros(strong.shape[1]).index_add_(0, target, chosen)
    weight = chosen / count[target].clamp_min(1)
    cost = (weight * cross_entropy(strong, target, reduction="none")).sum()
    return cost / (count > 0).sum().clamp_min(1)
