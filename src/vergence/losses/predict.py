"""Prediction losses: one view's vector from the other's, agreement without negatives."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from vergence.losses.precision import in_float32


@in_float32
def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return minus the mean cosine of matching rows.

    Args:
        predictions: ``(B, D)``.
        targets: ``(B, D)``; detach them where they are not to learn.

    Returns:
        Scalar in [-1, 1], -1 where all point the same way.

    Raises:
        ValueError: If the shapes differ.

    Source: Chen and He (SimSiam), arXiv:2011.10566, Eq. 1.
    """
    if predictions.shape != targets.shape or predictions.ndim != 2:
        raise ValueError(
            f"negative_cosine needs two tensors of one shape (B, D); "
            f"got {tuple(predictions.shape)} and {tuple(targets.shape)}."
        )
    return -cosine_similarity(predictions, targets, dim=1).mean()


@in_float32
def byol(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared distance of matching rows, each scaled to unit length.

    Args:
        predictions: ``(B, D)``.
        targets: ``(B, D)``, of the teacher.

    Returns:
        Scalar in [0, 4]: 2 - 2 cos, 0 where all point the same way.

    Source: Grill et al. (BYOL), arXiv:2006.07733, Eq. 2.
    """
    return 2 + 2 * negative_cosine(predictions, targets)
