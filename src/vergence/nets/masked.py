"""Masked modelling: a predictor of hidden tokens with late positions, and the targets that it may have.

The other parts of the kit are ``views.masks`` (which tokens are hidden), ``nets.patches`` (the tokeniser) and
encoders that see visible tokens only: ``encoder(images, keep=places)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, smooth_l1_loss

from vergence.core import BadInput
from vergence.losses import chamfer
from vergence.losses.precision import in_float32
from vergence.nets.patches import patchify, positions_at, sincos, take
from vergence.nets.vit import Block


class Predictor(nn.Module):
    """Transformer that says what stands at hidden places, from the tokens of visible ones.

    Places come late: an encoder's tokens and the mask tokens get the predictor's own positions.

    Args:
        dim: Width D of the encoder's tokens.
        grid: Tokens along each axis, such as (14, 14) or (8, 14, 14).
        out: Width of an answer.
        width: Of the transformer; divisible by ``heads`` and by twice the axes of the grid.
        depth: Blocks.
        heads: Divides ``width``.
        kinds: Mask tokens, one for each kind of mask.
    """

    positions: Tensor

    def __init__(
        self,
        dim: int,
        *,
        grid: Sequence[int],
        out: int,
        width: int = 512,
        depth: int = 8,
        heads: int = 16,
        kinds: int = 1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadInput(f"A predictor needs a width that its heads divide; got {width} and {heads} heads.")
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.randn(kinds, width).squeeze(0) * 0.02)
        self.register_buffer("positions", sincos(grid, width), persistent=False)
        self.blocks = nn.Sequential(*(Block(width, heads, scale=None, drop=0.0) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, out)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Tensor, visible: Tensor, targets: Tensor, prefix: Tensor | None = None, kind: int = 0
    ) -> Tensor:
        """Return the answers ``(B, M, out)``, or ``(B, n, M, out)`` to n questions.

        Args:
            tokens: ``(B, K, D)`` of the encoder.
            visible: ``(B, K)`` int64, their places in the grid.
            targets: ``(B, M)`` int64, the places to predict; with ``(B, n, M)`` each of the n blocks is a
                question of its own, which does not see the others.
            prefix: ``(B, P, D)`` tokens without a place, such as the class token.
            kind: Of the mask, where there are several.
        """
        questions = targets.flatten(0, -2)  # (B n, M)
        x = self.embed(tokens) + positions_at(self.positions, visible)
        if prefix is not None:
            x = torch.cat([self.embed(prefix), x], 1)
        x = x.repeat_interleave(len(questions) // len(x), 0)
        token = self.mask_token if self.mask_token.ndim == 1 else self.mask_token[kind]
        ask = token + positions_at(self.positions, questions)
        x = self.blocks(torch.cat([x, ask.to(x.dtype)], 1))
        answers = self.head(self.norm(x[:, -questions.shape[1] :]))
        return answers.view(*targets.shape, -1)


class Target(Protocol):
    """What is to be said of hidden tokens.

    Attributes:
        width: Of an answer.
    """

    width: int

    def at(self, values: Any, places: Tensor) -> Tensor:
        """Return what stands at ``places`` ``(B, M)`` or ``(B, n, M)``, without gradient."""

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cost of answers ``(..., width)``, a scalar."""


class CellValues:
    """The values in a cell, such as the pixels of a patch (MAE, arXiv:2111.06377); squared error.

    Args:
        patch: Sides of a cell.
        channels: Of the values.
        normalise: Each cell about its own mean, in units of its own deviation (Sec. 3): its structure counts
            whatever its contrast.
    """

    def __init__(self, patch: Sequence[int], *, channels: int = 3, normalise: bool = False) -> None:
        self.patch, self.normalise = tuple(patch), normalise
        self.width = channels * math.prod(self.patch)

    def at(self, values: Tensor, places: Tensor) -> Tensor:
        """Return the cells ``(B, M, width)`` of values ``(B, C, *sizes)``."""
        cells = taken(patchify(values, self.patch), places)
        if not self.normalise:
            return cells
        variance, mean = torch.var_mean(cells, -1, keepdim=True)
        return (cells - mean) / (variance + 1e-6).sqrt()

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        return squared_error(answers, targets)


class TokenFeatures:
    """Another network's tokens, such as a teacher's, without their scale (I-JEPA, arXiv:2301.08243).

    Args:
        network: Images -> ``Features``; makes no gradient.
        width: Of its tokens.
    """

    def __init__(self, network: Callable[[Any], Any], width: int) -> None:
        self.network, self.width = network, width

    @torch.no_grad()
    def at(self, values: Any, places: Tensor) -> Tensor:
        """Return ``(..., M, width)`` of mean 0 and variance 1 each, of whatever the network takes."""
        tokens = self.network(values).tokens
        return taken(without_scale(tokens), places)

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        return smooth_error(answers, targets)


class TokenIds:
    """Words that a tokeniser has for the cells (BEiT, arXiv:2106.08254); cross-entropy in nats.

    Args:
        tokeniser: Values -> ids ``(B, N)`` int64.
        vocabulary: How many there are.
    """

    def __init__(self, tokeniser: Callable[[Any], Tensor], vocabulary: int) -> None:
        self.tokeniser, self.width = tokeniser, vocabulary

    @torch.no_grad()
    def at(self, values: Any, places: Tensor) -> Tensor:
        """Return the ids ``(..., M)``."""
        return taken(self.tokeniser(values)[..., None], places).squeeze(-1)

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        return in_float32(cross_entropy)(answers.flatten(0, -2), targets.flatten())


class PointGroups:
    """The points of a group (Point-MAE, arXiv:2203.06604); Chamfer distance.

    Args:
        points: Points a group, S.
    """

    def __init__(self, points: int) -> None:
        self.points, self.width = points, 3 * points

    def at(self, values: Tensor, places: Tensor) -> Tensor:
        """Return the groups ``(..., M, S, 3)`` of ``values (B, N, S, 3)``, about their centres."""
        return taken(values.flatten(2), places).unflatten(-1, (self.points, 3))

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        return chamfer(answers.unflatten(-1, (self.points, 3)).flatten(0, -3), targets.flatten(0, -3))


@in_float32
def squared_error(answers: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference."""
    return (answers - targets).square().mean()


@in_float32
def smooth_error(answers: Tensor, targets: Tensor) -> Tensor:
    """Return the mean difference, as half its square below 1 and less one half above."""
    return smooth_l1_loss(answers, targets)


@in_float32
def without_scale(tokens: Tensor) -> Tensor:
    """Return vectors ``(..., D)`` of mean 0 and variance 1."""
    return layer_norm(tokens, tokens.shape[-1:])


def taken(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens ``(*places, D)`` at ``places`` ``(B, M)`` or ``(B, n, M)`` of ``(B, N, D)``."""
    return take(tokens, places.flatten(1)).view(*places.shape, -1)


class Repainter(nn.Module):
    """Tokens of a square grid ``(B, N, D)`` -> pixels ``(B, channels, S, S)``, as in GMML and SiT.

    Three linear layers with GELU, then a transposed convolution whose kernel is the patch.

    Args:
        dim: Width D of the tokens.
        patch: Side of a patch in pixels.
        channels: Of the picture.
    """

    def __init__(self, dim: int, patch: int, *, channels: int = 3) -> None:
        super().__init__()
        self.mlp = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(dim, dim), nn.GELU())))
        self.paint = nn.ConvTranspose2d(dim, channels, kernel_size=patch, stride=patch)

    def forward(self, tokens: Tensor) -> Tensor:
        side = math.isqrt(tokens.shape[1])
        return self.paint(self.mlp(tokens).transpose(1, 2).unflatten(2, (side, side)))
