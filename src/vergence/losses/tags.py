"""Losses of tags: any number of yes-or-no statements a sample, some of which nobody knows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vergence.losses.precision import in_float32


@in_float32
def asymmetric(
    logits: Tensor,
    values: Tensor,
    known: Tensor | None = None,
    *,
    focus: tuple[float, float] = (0.0, 4.0),
    margin: float = 0.05,
) -> Tensor:
    """Return the mean cost of known tags, in which an easy "no" weighs next to nothing.

    With p = sigmoid(logit), a "yes" costs -(1 - p)^f₁ log p; a "no" costs -q^f₀ log(1 - q) with
    q = max(p - margin, 0), so that what is surely not there, or merely was not noted, says little.

    Args:
        logits: ``(B, A)``.
        values: ``(B, A)`` bool.
        known: ``(B, A)`` bool; None: all. What is not known costs nothing.
        focus: f₁ of "yes" and f₀ of "no", 0 or at least 1; both 0, and no margin: binary cross-entropy.
        margin: In [0, 1).

    Returns:
        Scalar, in nats; 0 where nothing is known.

    Raises:
        ValueError: If shapes differ or numbers are out of range.

    Source: Ridnik et al., arXiv:2009.14119, Eq. 4 to 7; they take the sum over tags.

    >>> asymmetric(torch.zeros(1, 2), torch.tensor([[True, False]]), focus=(0.0, 0.0), margin=0.0)
    tensor(0.6931)
    """
    if logits.shape != values.shape or (known is not None and known.shape != values.shape):
        raise ValueError(
            f"asymmetric needs logits, values and known of one shape; got {tuple(logits.shape)}, "
            f"{tuple(values.shape)} and {None if known is None else tuple(known.shape)}."
        )
    if any(f < 1 and f != 0 for f in focus) or not 0 <= margin < 1:
        raise ValueError(
            f"asymmetric needs focus of 0 or at least 1 and margin in [0, 1); got {focus} and {margin}."
        )
    p = torch.sigmoid(logits)
    yes = -((1 - p) ** focus[0]) * logsigmoid(logits)
    if margin:
        q = (p - margin).clamp_min(0)
        no = -(q ** focus[1]) * torch.log1p(-q)
    else:
        no = -(p ** focus[1]) * logsigmoid(-logits)
    cost = torch.where(values, yes, no)
    if known is None:
        return cost.mean()
    return (cost * known).sum() / known.sum().clamp_min(1)
