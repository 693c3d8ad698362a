"""Objectives for maps of edges, which few pixels belong to."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from vergence.core.errors import BadInput


def balanced_cross_entropy(logits: Tensor, edges: Tensor) -> Tensor:
    """Return the cross-entropy of edge maps in which edges weigh as much as all the rest.

    With β, the share of an image's pixels that are no edge,
    -β Σ_{edge} log p - (1 - β) Σ_{other} log(1 - p). An image without edges costs nothing.

    Args:
        logits: ``(B, M, H, W)`` of M maps.
        edges: ``(B, H, W)`` bool.

    Returns:
        ``(B, M)``, in nats, summed over pixels.

    Source: Xie and Tu 2015, arXiv:1504.06375, Eq. 2.
    """
    if logits.ndim != 4 or logits.shape[::2] != (len(edges), edges.shape[1]) or edges.ndim != 3:
        raise BadInput(
            f"balanced_cross_entropy needs logits (B, M, H, W) and edges (B, H, W); "
            f"got {tuple(logits.shape)} and {tuple(edges.shape)}."
        )
    truth = edges.to(logits.dtype)
    share = truth.mean((1, 2), keepdim=True)  # 1 - β
    weight = truth * (1 - share) + (1 - truth) * share
    cost = binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits), reduction="none")
    return (cost * weight[:, None]).sum((2, 3))
