"""Contrastive losses, InfoNCE and NT-Xent, with memory linear in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize, softplus
from torch.utils.checkpoint import checkpoint

from vergence.losses.precision import in_float32

# Scores held at a time, and the side of a square of scores. Of a processor: what its caches hold. Of a
# GPU: enough to keep it busy.
SCORES_AT_ONCE = {"cpu": 2**21, "cuda": 2**26}
SIDE = {"cpu": 512, "cuda": 2**13}
LARGEST = 30.0  # exp() of scores in [-30, 30] neither over- nor underflows in float32.


@in_float32
def info_nce(queries: Tensor, keys: Tensor, *, temperature: float, own: Tensor | None = None) -> Tensor:
    """Return the cost of picking each query's own key out of all keys.

    Rows are first scaled to unit length. Memory grows with B + M, not with B x M.

    Args:
        queries: ``(B, D)``.
        keys: ``(M, D)``; those that no query owns are extra negatives.
        temperature: Divides the cosine similarities; above 0.
        own: ``(B,)`` int64, the row of ``keys`` that is each query's; None: row i is query i's, M >= B.

    Returns:
        Scalar, in nats, averaged over the B queries. Equal similarities give log M.

    Raises:
        ValueError: If the shapes do not fit, M < B, or ``temperature`` is not positive.

    Source: van den Oord et al., arXiv:1807.03748, Eq. 4.

    >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(0.3133)
    """
    enough = 0 < len(queries) <= len(keys) if own is None else 0 < len(queries) == len(own)
    if queries.ndim != 2 or queries.shape[1:] != keys.shape[1:] or not enough:
        raise ValueError(
            f"info_nce needs queries (B, D), with own (B,) or as many keys (M, D), M >= B >= 1; "
            f"got {tuple(queries.shape)} and {tuple(keys.shape)}."
        )
    if own is None:
        own = torch.arange(len(queries), device=queries.device)
    return _pick(normalize(queries, dim=1), normalize(keys, dim=1), own, None, temperature, "info_nce")


@in_float32
def queue_nce(queries: Tensor, keys: Tensor, queue: Tensor, *, temperature: float) -> Tensor:
    """Return the cost of picking each query's own key out of it and a queue of others.

    Rows are first scaled to unit length. The other keys of the batch do not count. Memory grows with B + K,
    not with B x K.

    Args:
        queries: ``(B, D)``.
        keys: ``(B, D)``, row i is query i's own.
        queue: ``(K, D)`` negatives of all queries.
        temperature: Divides the cosine similarities; above 0.

    Returns:
        Scalar, in nats, averaged over the B queries. Equal similarities give log(K + 1).

    Raises:
        ValueError: If the shapes do not fit or ``temperature`` is not positive.

    Source: He et al. (MoCo), arXiv:1911.05722, Eq. 1 and Algorithm 1.

    >>> queue_nce(torch.eye(2), torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(0.8620)
    """
    if queries.ndim != 2 or queries.shape != keys.shape or queue.shape[1:] != keys.shape[1:]:
        raise ValueError(
            f"queue_nce needs queries and keys (B, D) and a queue (K, D); got {tuple(queries.shape)}, "
            f"{tuple(keys.shape)} and {tuple(queue.shape)}."
        )
    if temperature <= 0:
        raise ValueError(f"queue_nce needs temperature > 0; got {temperature}.")
    unit, negatives = normalize(queries, dim=1), normalize(queue, dim=1)
    own = (unit * normalize(keys, dim=1)).sum(1, keepdim=True)
    rows = max(1, SCORES_AT_ONCE.get(unit.device.type, 2**21) // (len(queue) + 1))
    if len(unit) <= rows:
        return _queue_costs(unit, own, negatives, temperature).mean()
    blocks = zip(unit.split(rows), own.split(rows), strict=True)
    costs = [
        checkpoint(_queue_costs, *block, negatives, temperature, use_reentrant=False) for block in blocks
    ]
    return torch.cat(costs).mean()


def _queue_costs(unit: Tensor, own: Tensor, queue: Tensor, temperature: float) -> Tensor:
    scores = torch.cat([own, unit @ queue.T], 1) / temperature
    return scores.logsumexp(1) - scores[:, 0]


@in_float32
def nt_xent(
    first: Tensor, second: Tensor, *, temperature: float, anchors: int | None = None, decoupled: bool = False
) -> Tensor:
    """Return the cost of finding each vector's other view among all vectors of both views.

    Every vector asks once: its partner is the same row of the other view, the negatives are all
    other rows of both views, itself excluded. Rows are first scaled to unit length. Memory grows
    with the number of rows, not with its square.

    Args:
        first: ``(M, D)``, one view.
        second: ``(M, D)``, the other view of the same samples.
        temperature: Divides the cosine similarities; above 0.
        anchors: Only the first so many samples ask, at least 1, the rest are negatives: in
            several processes, each asks for its own rows among the gathered ones. None: all.
        decoupled: Leave the partner out of what it is chosen from: a vector that is found already is still
            drawn to its partner, however few the negatives are. Needs M >= 2; may be negative.

    Returns:
        Scalar, in nats, averaged over the asking vectors. Equal similarities give log(2M - 1), decoupled
        log(2M - 2).

    Raises:
        ValueError: If the shapes differ, ``anchors`` is not in 1..M or ``temperature`` not positive.

    Source: Chen et al., arXiv:2002.05709, Eq. 1 and Algorithm 1. Decoupled: Yeh et al., arXiv:2110.06848,
    Eq. 6.

    >>> nt_xent(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(0.5514)
    """
    rows = len(first)
    asking = rows if anchors is None else anchors
    if first.ndim != 2 or first.shape != second.shape or not 1 <= asking <= rows or (decoupled and rows < 2):
        raise ValueError(
            f"nt_xent needs two views (M, D) of one shape and 1 <= anchors <= M, decoupled M >= 2; "
            f"got {tuple(first.shape)}, {tuple(second.shape)} and anchors={anchors}."
        )
    if asking == rows and temperature * LARGEST >= 1:
        return _find(first, second, temperature, intra=True, decoupled=decoupled)
    keys = normalize(torch.cat([first, second]), dim=1)
    one = torch.arange(asking, device=keys.device)
    queries = keys if asking == rows else torch.cat([keys[:asking], keys[rows : rows + asking]])
    partner, itself = torch.cat([one + rows, one]), torch.cat([one, one + rows])
    return _pick(queries, keys, partner, itself, temperature, "nt_xent", decoupled=decoupled)


@in_float32
def node_info_nce(first: Tensor, second: Tensor, *, temperature: float, intra: bool = True) -> Tensor:
    """Return the cost of finding each node of a graph in the graph's other view.

    Node i of one view asks for node i of the other. The negatives are all other nodes of the other
    view and, with ``intra``, all other nodes of its own view: NT-Xent. Rows are first scaled to unit
    length. Both views ask, and each pair of nodes is scored once for both. Memory grows with the
    number of nodes, not with its square.

    Args:
        first: ``(N, D)``, the nodes in one view.
        second: ``(N, D)``, the same nodes in the other view.
        temperature: Divides the cosine similarities; above 0.
        intra: Take negatives also from the asking node's own view.

    Returns:
        Scalar, in nats, averaged over the nodes of both views. Equal similarities give log(2N - 1),
        without ``intra`` log N.

    Raises:
        ValueError: If the shapes differ or ``temperature`` is not positive.

    Source: Zhu et al. (GRACE), arXiv:2006.04131, Eq. 1 and 2.

    >>> node_info_nce(torch.eye(2), torch.eye(2), temperature=1.0, intra=False)
    tensor(0.3133)
    """
    if first.ndim != 2 or first.shape != second.shape or not len(first):
        raise ValueError(
            f"node_info_nce needs two views (N, D) of one shape with N >= 1; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    if temperature <= 0:
        raise ValueError(f"node_info_nce needs temperature > 0; got {temperature}.")
    if temperature * LARGEST >= 1:
        return _find(first, second, temperature, intra)
    if intra:
        return nt_xent(first, second, temperature=temperature)
    forward = info_nce(first, second, temperature=temperature)
    return (forward + info_nce(second, first, temperature=temperature)) / 2


def _pick(
    queries: Tensor,
    keys: Tensor,
    own: Tensor,
    banned: Tensor | None,
    temperature: float,
    name: str,
    decoupled: bool = False,
) -> Tensor:
    """Return mean_i [log sum_(j != banned_i) exp(q_i k_j / T) - q_i k_own_i / T] of unit rows.

    The sum leaves j = own_i out where it is ``decoupled``.
    """
    if temperature <= 0:
        raise ValueError(f"{name} needs temperature > 0; got {temperature}.")
    wanted = torch.is_grad_enabled() and (queries.requires_grad or keys.requires_grad)
    return _Pick.apply(queries / temperature, keys, own, banned, 1 / temperature, wanted, decoupled)


class _Pick(torch.autograd.Function):
    """Softmax cross-entropy a block of rows at a time.

    A row's gradient needs that row only, so it is taken while the row's scores are still there:
    nothing of size B x M is kept for the backward pass, and nothing is computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        own: Tensor,
        banned: Tensor | None,
        largest: float,
        wanted: bool,
        decoupled: bool,
    ) -> Tensor:
        shift = largest > LARGEST  # otherwise there is no maximum to subtract
        toward_queries = torch.empty_like(queries) if wanted and queries.requires_grad else None
        toward_keys = torch.zeros_like(keys) if wanted and keys.requires_grad else None
        total = queries.new_zeros(())
        rows = max(1, SCORES_AT_ONCE.get(queries.device.type, 2**21) // len(keys))
        room = queries.new_empty(min(rows, len(queries)), len(keys))
        for start in range(0, len(queries), rows):
            at = slice(start, start + rows)
            block, target = queries[at], own[at]
            scores = torch.mm(block, keys.T, out=room[: len(block)])  # (R, M)
            if banned is not None:
                scores.scatter_(1, banned[at, None], -torch.inf)
            hit = scores.gather(1, target[:, None])
            if decoupled:
                scores.scatter_(1, target[:, None], -torch.inf)
            if shift:
                top = scores.amax(dim=1, keepdim=True)
                scores, hit = scores.sub_(top), hit - top
            mass = scores.exp_().sum(dim=1, keepdim=True)
            # Where nothing was subtracted, a ratio keeps the digits of a small cost.
            plain = not shift and not decoupled
            cost = (mass / scores.gather(1, target[:, None])).log() if plain else mass.log() - hit
            total += cost.sum()
            if toward_queries is not None:
                toward_queries[at] = torch.mm(scores, keys).div_(mass).sub_(keys[target])
            if toward_keys is not None:
                toward_keys.addmm_(scores.T, block / mass)
                toward_keys.index_add_(0, target, block, alpha=-1)
        ctx.save_for_backward(toward_queries, toward_keys)
        ctx.rows = len(queries)
        return total / len(queries)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream / ctx.rows
        grads = (None if grad is None else grad * scale for grad in ctx.saved_tensors)
        return *grads, None, None, None, None, None


def _find(first: Tensor, second: Tensor, temperature: float, intra: bool, decoupled: bool = False) -> Tensor:
    """Return the cost of both views asking each other; the scores must stay within ±LARGEST."""
    wanted = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
    root = temperature**-0.5  # of both sides, so that their products are divided by the temperature
    views = normalize(first, dim=1) * root, normalize(second, dim=1) * root
    return _Find.apply(*views, intra, wanted, decoupled)


class _Find(torch.autograd.Function):
    """Softmax cross-entropy between two views, a square of scores at a time.

    A score serves both of its vectors, in whichever view they are, so that scores within a view are
    taken on one side of the diagonal only. The first sweep sums each vector's negatives, the second
    takes the gradients. The positives stand apart: their rounding would drown a small cost.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, intra: bool, wanted: bool, decoupled: bool
    ) -> Tensor:
        views = (first, second)
        pairs = [(0, 1), (0, 0), (1, 1)] if intra else [(0, 1)]
        own = (first * second).sum(dim=1)
        mass = [torch.zeros_like(own), torch.zeros_like(own)]
        for x, y, rows, columns, e in _squares(views, pairs):
            mass[x][rows] += e.sum(dim=1)
            if x != y or rows != columns:
                mass[y][columns] += e.sum(dim=0)
        # log(1 + negatives / positive); decoupled without the 1
        costs = [negatives.log() - own for negatives in mass]
        total = sum((cost if decoupled else softplus(cost)).sum() for cost in costs)
        ctx.count = 2 * len(first)
        if wanted:
            all_of = mass if decoupled else [negatives + own.exp() for negatives in mass]
            share = [1 / whole for whole in all_of]  # of one unit of exp(score)
            pull = -(mass[0] * share[0] + mass[1] * share[1])[:, None]
            toward = (pull * second, pull * first)
            for x, y, rows, columns, e in _squares(views, pairs):
                e *= share[x][rows, None] + share[y][columns]
                toward[x][rows].addmm_(e, views[y][columns])
                if x != y or rows != columns:
                    toward[y][columns].addmm_(e.T, views[x][rows])
            ctx.save_for_backward(*toward)
        return total / ctx.count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream / ctx.count
        return *(grad * scale for grad in ctx.saved_tensors), None, None, None


def _squares(
    views: tuple[Tensor, Tensor], pairs: list[tuple[int, int]]
) -> Iterator[tuple[int, int, slice, slice, Tensor]]:
    """Yield exp of the scores between rows of view x and columns of view y, each pair of vectors once.

    A square on the diagonal within a view holds its pairs twice. What a vector scores with itself and
    with its own positive is 0. A square is overwritten by the next.
    """
    rows = len(views[0])
    side = min(rows, SIDE.get(views[0].device.type, 512))
    room = views[0].new_empty(side * side)
    cuts = [slice(start, min(start + side, rows)) for start in range(0, rows, side)]
    for x, y in pairs:
        for i, top in enumerate(cuts):
            for left in cuts[i:] if x == y else cuts:
                a, b = views[x][top], views[y][left]
                e = torch.mm(a, b.T, out=room[: len(a) * len(b)].view(len(a), len(b))).exp_()
                if top == left:
                    e.fill_diagonal_(0)
                yield x, y, top, left, e
