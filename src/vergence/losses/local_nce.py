"""Local InfoNCE, AMDIM's bound: a vector of an image finds its own cells among the cells of all others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from vergence.losses.contrast import SCORES_AT_ONCE
from vergence.losses.precision import in_float32


@in_float32
def local_nce(sources: Tensor, cells: Tensor, *, clip: float | None = 20.0) -> tuple[Tensor, Tensor]:
    """Return the cost of finding an image's cells, one at a time, among the cells of all other images.

    A score is s = source · cell / √D, softly clipped to c tanh(s / c). The other cells of the same image are
    no negatives. Memory grows with B + M N, not with their product.

    Args:
        sources: ``(B, D)``, one vector an image.
        cells: ``(M, N, D)`` with M >= B, row i of the same image as source i, in another view; the rest are
            negatives of all.
        clip: c, above 0; None leaves scores as they are.

    Returns:
        The cost in nats, averaged over the B images and their N cells: equal scores give log(1 + (M - 1) N);
        and the mean square of all scores before clipping, by which they are kept small.

    Raises:
        ValueError: If the shapes do not fit, M < 2, or ``clip`` is not positive.

    Source: Bachman, Hjelm, Buchwalter, arXiv:1906.00910, Sec. 3.2 and 3.3.

    >>> local_nce(torch.zeros(2, 4), torch.zeros(2, 3, 4))[0]
    tensor(1.3863)
    """
    fits = sources.ndim == 2 and cells.ndim == 3 and sources.shape[1] == cells.shape[2]
    if not fits or not 1 <= len(sources) <= len(cells) or len(cells) < 2:
        raise ValueError(
            f"local_nce needs sources (B, D) and cells (M, N, D) with M >= B and M >= 2; "
            f"got {tuple(sources.shape)} and {tuple(cells.shape)}."
        )
    if clip is not None and clip <= 0:
        raise ValueError(f"local_nce needs clip > 0 or None; got {clip}.")
    own = torch.arange(len(sources), device=sources.device)
    rows = max(1, SCORES_AT_ONCE.get(sources.device.type, 2**21) // (cells.shape[0] * cells.shape[1]))
    sums = []
    for block, index in zip((sources / sources.shape[1] ** 0.5).split(rows), own.split(rows), strict=True):
        if len(block) == len(sources):
            sums.append(_sums(block, cells, index, clip))
        else:
            sums.append(checkpoint(_sums, block, cells, index, clip, use_reentrant=False))
    costs, squares = (torch.stack(part).sum() for part in zip(*sums, strict=True))
    many = len(sources) * cells.shape[1]
    return costs / many, squares / (many * len(cells))


def _sums(block: Tensor, cells: Tensor, own: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """Return the summed costs of a block of sources, and the sum of its squared scores."""
    raw = block @ cells.flatten(0, 1).T  # (R, M N)
    clipped = raw if clip is None else clip * torch.tanh(raw / clip)
    scores = clipped.unflatten(1, cells.shape[:2])  # (R, M, N)
    here = own[:, None, None].expand(-1, 1, cells.shape[1])
    others = scores.scatter(1, here, -torch.inf).flatten(1).logsumexp(dim=1, keepdim=True)
    return softplus(others - scores.gather(1, here)[:, 0]).sum(), raw.square().sum()
