"""Attentive readouts: one block of cross-attention that looks at frozen tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vergence.core import BadInput


class CrossAttention(nn.Module):
    """Queries ``(B, Q, D)`` look at tokens ``(B, N, D)``: attention, then a two-layer perceptron.

    Args:
        dim: D.
        heads: Divides ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise BadInput(f"Cross-attention needs heads that divide its width; got {heads} and {dim}.")
        self.heads = heads
        self.norm_queries, self.norm_tokens, self.norm = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.query, self.key_value, self.proj = (
            nn.Linear(dim, dim),
            nn.Linear(dim, 2 * dim),
            nn.Linear(dim, dim),
        )
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        q = self.query(self.norm_queries(queries)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(self.norm_tokens(tokens)).unflatten(2, (2, self.heads, -1))
        k, v = both.permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        queries = queries + self.proj(seen)
        return queries + self.mlp(self.norm(queries))


class AttentivePool(nn.Module):
    """Learned queries that pool tokens ``(B, N, D)`` to a vector ``(B, D)``, whatever their number and order.

    Args:
        dim: D.
        heads: Divides ``dim``.
        queries: How many; their answers are averaged.
    """

    def __init__(self, dim: int, *, heads: int = 1, queries: int = 1) -> None:
        super().__init__()
        self.out_dim = dim
        self.queries = nn.Parameter(torch.randn(queries, dim) * 0.02)
        self.look = CrossAttention(dim, heads)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.look(self.queries.expand(len(tokens), -1, -1), tokens)).mean(1)


class CoordinateQueries(nn.Module):
    """Queries made of places: tokens ``(B, N, D)`` and points ``(B, K, A)`` -> vectors ``(B, K, D)``.

    A point is A coordinates in [0, 1], such as x and y as shares of the picture, or also the time; it becomes
    sines and cosines of frequencies that double, and a linear layer of them the query.

    Args:
        dim: D.
        axes: A.
        heads: Divides ``dim``.
        frequencies: Per axis.
    """

    rate: Tensor

    def __init__(self, dim: int, *, axes: int = 2, heads: int = 1, frequencies: int = 6) -> None:
        super().__init__()
        self.out_dim = dim
        self.register_buffer("rate", math.pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.place = nn.Linear(2 * axes * frequencies, dim)
        self.look = CrossAttention(dim, heads)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, tokens: Tensor, points: Tensor) -> Tensor:
        waves = (points[..., None] * self.rate).flatten(2)
        queries = self.place(torch.cat([waves.sin(), waves.cos()], 2))
        return self.norm(self.look(queries, tokens))
