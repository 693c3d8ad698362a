"""Message passing over links as a sparse matrix: sums over neighbours without a vector for every link."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Rows(NamedTuple):
    """Links in the order of one of their ends, as compressed sparse rows.

    Args:
        start: ``(n + 1,)``, where each row begins.
        end: ``(E,)``, the other ends.
        order: ``(E,)``, of the links.
        shape: Of the matrix.
    """

    start: Tensor
    end: Tensor
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, row: Tensor, end: Tensor, shape: tuple[int, int]) -> Rows:
        order = torch.argsort(row, stable=True)
        start = row.new_zeros(shape[0] + 1)
        start[1:] = torch.bincount(row, minlength=shape[0]).cumsum(0)
        return cls(start, end[order], order, shape)

    def matrix(self, values: Tensor) -> Tensor:
        """Return the sparse matrix of values ``(E,)``, which come in the order of these rows."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(self.start, self.end, values, self.shape, check_invariants=False)

    def sum(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return for each row Σ weight · x[end] ``(n, D)``; ``weight`` comes in the order of the links."""
        return self.matrix(weight[self.order]) @ x

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a[row] · b[end] of every link ``(E,)``, in the order of the links."""
        blank = self.matrix(a.new_zeros(len(self.end)))
        products = torch.sparse.sampled_addmm(blank, a, b.T, beta=0.0).values()
        return torch.empty_like(products).index_copy_(0, self.order, products)


class Links:
    """Who hears whom.

    Sums, dot products and their gradients are sparse products, forwards in the order of those who hear,
    backwards in that of those who are heard. Memory is that of the nodes' vectors.

    Args:
        edge_index: ``(2, E)``, who is heard and who hears; a link that comes twice counts twice.
        nodes: How many can be heard.
        hearers: How many hear; None takes ``nodes``.
        weight: ``(E,)``, what ``sum`` weighs by unless it is told otherwise; None takes ones.
    """

    def __init__(
        self,
        edge_index: Tensor,
        nodes: int,
        hearers: int | None = None,
        *,
        weight: Tensor | None = None,
    ) -> None:
        self.source, self.target = edge_index
        self.weight = weight
        hearers = nodes if hearers is None else hearers
        self.into = Rows.of(self.target, self.source, (hearers, nodes))
        self.out_of = Rows.of(self.source, self.target, (nodes, hearers))

    def transposed(self) -> Links:
        """Return the links the other way round, with the same weights."""
        links = copy.copy(self)
        links.source, links.target = self.target, self.source
        links.into, links.out_of = self.out_of, self.into
        return links

    def sum(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return for each hearer the sum of what it hears, Σ weight · x[source].

        Args:
            x: ``(nodes, D)``, or ``(nodes, H, C)`` with weights a head.
            weight: ``(E,)`` or ``(E, H)``; None takes the links' own.

        Returns:
            ``(hearers, D)`` or ``(hearers, H, C)``, float32 where ``x`` has fewer digits.
        """
        x = x if x.dtype == torch.float64 else x.float()
        weight = self.weight if weight is None else weight
        if weight is None:
            weight = x.new_ones(len(self.source))
        weight = weight.to(x.dtype)
        if weight.ndim == 1:
            return _Sum.apply(x, weight, self)
        heads = zip(x.unbind(1), weight.unbind(1), strict=True)
        return torch.stack([_Sum.apply(part, share, self) for part, share in heads], dim=1)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a[target] · b[source] of every link.

        Args:
            a: ``(hearers, D)`` or ``(hearers, H, C)``.
            b: ``(nodes, D)`` or ``(nodes, H, C)``, of the type of ``a``.

        Returns:
            ``(E,)`` or ``(E, H)``, float32 where the vectors have fewer digits.
        """
        a, b = (x if x.dtype == torch.float64 else x.float() for x in (a, b))
        if a.ndim == 2:
            return _Dot.apply(a, b, self)
        return torch.stack(
            [_Dot.apply(left, right, self) for left, right in zip(a.unbind(1), b.unbind(1), strict=True)],
            dim=1,
        )

    def softmax(self, score: Tensor) -> Tensor:
        """Return the softmax of scores ``(E,)`` or ``(E, H)`` over what each node hears."""
        hearers, target = self.into.shape[0], self.target
        where = target.view(-1, *[1] * (score.ndim - 1)).expand_as(score)
        lowest = score.new_full((hearers, *score.shape[1:]), -math.inf)
        top = lowest.scatter_reduce(0, where, score.detach(), "amax")
        raised = (score - top[target]).exp()
        return raised / torch.zeros_like(top).index_add(0, target, raised)[target]


def with_loops(edge_index: Tensor, nodes: int) -> Tensor:
    """Return the edges ``(2, E)`` with exactly one loop at each of the nodes, loops last."""
    loops = torch.arange(nodes, device=edge_index.device).expand(2, -1)
    return torch.cat([edge_index[:, edge_index[0] != edge_index[1]], loops], dim=1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, links: Links) -> Tensor:
        ctx.links = links
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return links.into.sum(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, up: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), (needs_x, needs_weight, _), links = ctx.saved_tensors, ctx.needs_input_grad, ctx.links
        return (
            links.out_of.sum(up, weight) if needs_x else None,
            links.into.dot(up, x) if needs_weight else None,
            None,
        )


class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, links: Links) -> Tensor:
        ctx.links = links
        ctx.save_for_backward(a, b)
        return links.into.dot(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, up: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (a, b), (left, right, _), links = ctx.saved_tensors, ctx.needs_input_grad, ctx.links
        return (
            links.into.sum(b, up) if left else None,
            links.out_of.sum(a, up) if right else None,
            None,
        )
