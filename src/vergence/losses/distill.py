"""Distillation losses: soft targets of a teacher, kept from collapsing, and spread embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.losses.content import check_content, row_blocks, shared
from vergence.losses.precision import in_float32


@in_float32
@torch.no_grad()
def centred(scores: Tensor, centre: Tensor, *, temperature: float) -> Tensor:
    """Return the teacher's targets: a softmax of what stands out from the usual.

    Args:
        scores: ``(..., K)``, the teacher's.
        centre: ``(K,)`` or ``(1, K)``, their running mean. Without it one prototype would win everywhere.
        temperature: Below the student's, so that the targets are sharper; above 0.

    Returns:
        ``(..., K)``, sums to 1 over K, without gradient.

    Source: Caron et al. (DINO), arXiv:2104.14294, Algorithm 1.
    """
    _check("centred", temperature)
    return torch.softmax((scores - centre) / temperature, dim=-1)


@in_float32
@torch.no_grad()
def sinkhorn(scores: Tensor, *, temperature: float, rounds: int = 3) -> Tensor:
    """Return the teacher's targets, balanced so that every prototype is used as much as any other.

    Rows and columns of exp(scores / temperature) are scaled in turn; rows come last and sum to 1,
    columns then sum to about B / K. Several processes gather their scores first. Wants B not far
    below K.

    Args:
        scores: ``(B, K)``, the teacher's.
        temperature: Below the student's; above 0.
        rounds: Of scaling, at least 1.

    Returns:
        ``(B, K)``, without gradient.

    Source: Caron et al. (SwAV), arXiv:2006.09882, Sec. 3.1; in DINOv2, arXiv:2304.07193, Sec. 4.
    """
    _check("sinkhorn", temperature)
    if scores.ndim != 2 or rounds < 1:
        raise ValueError(
            f"sinkhorn needs scores (B, K) and rounds >= 1; got {tuple(scores.shape)}, rounds={rounds}."
        )
    scores = scores / temperature
    largest = scores.amax(dim=1, keepdim=True)
    mass = (scores - largest).exp_()  # lest exp() overflows; the row's first scale puts it back
    row = (largest - largest.amax()).exp_().squeeze(1)
    tiny = torch.finfo(mass.dtype).tiny
    for _ in range(rounds):
        column = 1 / (row @ mass).clamp_min(tiny)
        row = 1 / (mass @ column).clamp_min(tiny)
    return mass.mul_(row[:, None]).mul_(column)


@in_float32
def soft_cross_entropy(
    scores: Tensor, targets: Tensor, *, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """Return the mean over rows of -sum_k target_k log softmax(score / temperature)_k.

    Args:
        scores: ``(B, K)``, the student's.
        targets: ``(B, K)``, each row sums to 1; detach them where the teacher is not to learn.
        temperature: Above 0.
        weights: ``(B,)``, how much each row counts, not negative; they are scaled to sum to 1.
            One over the number of masked patches of its image gives iBOT's average.

    Returns:
        Scalar, in nats; 0 where there are no rows.

    Source: DINO, arXiv:2104.14294, Eq. 2; iBOT, arXiv:2111.07832, Eq. 2.
    """
    _check("soft_cross_entropy", temperature)
    if scores.shape != targets.shape or scores.ndim != 2:
        raise ValueError(
            f"soft_cross_entropy needs scores and targets of one shape (B, K); "
            f"got {tuple(scores.shape)} and {tuple(targets.shape)}."
        )
    costs = -(targets * torch.log_softmax(scores / temperature, dim=1)).sum(dim=1)
    weights = torch.ones_like(costs) if weights is None else weights.to(costs.dtype)
    return (weights * costs).sum() / weights.sum().clamp_min(torch.finfo(costs.dtype).tiny)


def dino(student: Sequence[Tensor], teacher: Sequence[Tensor], *, temperature: float = 0.1) -> Tensor:
    """Return the mean cross-entropy over all pairs of a teacher's crop and another crop of the student.

    Args:
        student: Scores of all crops, each ``(B, K)``; the first ones are the teacher's crops, in
            the teacher's order.
        teacher: Targets of the global crops, each ``(B, K)``, from ``centred`` or ``sinkhorn``.
        temperature: The student's, above 0.

    Returns:
        Scalar, in nats. A crop is never compared with itself: 2 global and n local crops make
        2n + 2 pairs.

    Source: DINO, arXiv:2104.14294, Eq. 3.
    """
    pairs = len(teacher) * (len(student) - 1)
    if pairs < 1 or len(student) < len(teacher):
        raise ValueError(
            f"dino needs two or more student crops and at most as many of the teacher; "
            f"got {len(student)} and {len(teacher)}."
        )
    total = student[0].new_zeros((), dtype=torch.float32)
    for seen, scores in enumerate(student):
        others = [target for shown, target in enumerate(teacher) if shown != seen]
        if others:  # cross-entropy is linear in the target: one pass for all of them
            mean = torch.stack(others).mean(dim=0) if len(others) > 1 else others[0]
            total = total + len(others) * soft_cross_entropy(scores, mean, temperature=temperature)
    return total / pairs


@in_float32
def koleo(
    embeddings: Tensor, *, content: Tensor | None = None, anchors: int | None = None, eps: float = 1e-8
) -> Tensor:
    """Return -mean_i log of the distance from embedding i to its nearest neighbour.

    Embeddings are first scaled to unit length; the cost falls as they spread over the sphere.

    Args:
        embeddings: ``(B, D)`` with B >= 2, of different samples unless ``content`` says otherwise.
        content: ``(B, C)`` int64; rows with an id in common are no neighbours, such as two views of one.
        anchors: Only the first so many rows look for a neighbour, 1 to B; None: all.
        eps: Added to the distance, so that twins cost no infinity.

    Returns:
        Scalar, between -log 2 and -log eps.

    Source: Sablayrolles et al., arXiv:1806.03198, Eq. 2; DINOv2, arXiv:2304.07193, Sec. 4; with views of
    one sample apart SSCD, arXiv:2202.10261, Sec. 4.2.
    """
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise ValueError(f"koleo needs embeddings (B, D) with B >= 2; got {tuple(embeddings.shape)}.")
    if content is None:
        content = torch.arange(len(embeddings), device=embeddings.device)[:, None]
    asking = check_content("koleo", embeddings, content, anchors)
    unit = normalize(embeddings, dim=1)
    with torch.no_grad():
        nearest = torch.cat(
            [
                (unit[rows] @ unit.T).masked_fill_(shared(content[rows], content), -2).argmax(dim=1)
                for rows in row_blocks(asking, unit)
            ]
        )
    return -torch.log((unit[:asking] - unit[nearest]).norm(dim=1) + eps).mean()


def _check(name: str, temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"{name} needs temperature > 0; got {temperature}.")
