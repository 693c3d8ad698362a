"""Perceptual Group Tokenizer: Building Perception with Iterative Grouping, arXiv:2311.18296.

A backbone by name: ``build("pgt-tiny", size=48)``; DINO trains it in the paper, and any other method can.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features
from vergence.nets.attentive import AttentivePool
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet
from vergence.nets.patches import PatchEmbed, grid_of, sincos

NOISE_SEED = 0  # of the draws of groups where nothing is trained


class Grouping(nn.Module):
    """One layer: groups compete for the input tokens in rounds, then every token hears from its groups.

    Args:
        dim: D.
        heads: Divides D; each head has its own projections and assigns tokens on its own.
        rounds: Of competition, 1 or more.
        compete: Tokens share themselves out among groups; otherwise each group looks at all tokens by itself,
            as attention does.
        last_round_only: Gradients reach the last round alone, which costs less memory.
    """

    def __init__(
        self, dim: int, heads: int, *, rounds: int = 3, compete: bool = True, last_round_only: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.rounds, self.compete = heads, rounds, compete
        self.last_round_only = last_round_only
        self.mean = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.log_deviation = nn.Parameter(torch.zeros(dim))
        self.norm_inputs, self.norm_groups, self.norm_step, self.norm_heard, self.norm_inner = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(5)
        )
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.update = nn.GRUCell(dim, dim)
        self.think = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.hear = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the refined tokens ``(B, N, D)``, groups ``(B, M, D)`` and assignment ``(B, heads, N, M)``.

        Args:
            x: ``(B, N, D)``.
            noise: ``(B, M, D)`` of the standard normal distribution, from which the groups start.
        """
        groups = self.mean + self.log_deviation.exp() * noise
        k, v = self.key_value(self.norm_inputs(x)).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        for i in range(self.rounds):
            if self.last_round_only and i == self.rounds - 1:
                start = self.mean + self.log_deviation.exp() * noise  # its gradient passes straight through
                groups = groups.detach() + start - start.detach()
            groups, assignment = self.round(groups, k, v)
        heard = self.hear(self.norm_heard(groups)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        read = (assignment.to(heard.dtype) @ heard).transpose(1, 2).flatten(2)  # Σ_m A_im g_m
        x = x + self.proj(read)
        return x + self.mlp(self.norm_inner(x)), groups, assignment

    def round(self, groups: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the groups after one round, and how tokens were shared out ``(B, heads, N, M)``."""
        q = self.query(self.norm_groups(groups)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        logits = k @ q.mT * q.shape[-1] ** -0.5  # (B, heads, N, M)
        full = torch.promote_types(logits.dtype, torch.float32)
        assignment = logits.softmax(3 if self.compete else 2, dtype=full)
        share = assignment / assignment.sum(2, keepdim=True).clamp_min(1e-8)  # of each group over tokens
        seen = (share.mT.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # (B, M, D)
        moved = self.update(seen.flatten(0, 1), groups.flatten(0, 1).to(seen.dtype)).view_as(seen)
        return moved + self.think(self.norm_step(moved)), assignment


class PerceptualGroupTokenizer(ImageEncoder):
    """A backbone that groups all the way: tokens meet only in groups, whose number may change at any time.

    Deng, Chen, Li 2024. Differs from the paper, which published no code: groups start from one Gaussian a
    layer, not from a mixture or a flow; the grouped vector of all heads together is one input of one GRU;
    positions are fixed waves; where nothing is trained, and so in DINO's teacher, all images start from the
    same draw of groups, so that a vector does not depend on chance or on who shares the batch.

    Args:
        size: Side of the images in pixels.
        patch: Side of a patch; divides ``size``.
        dim: Width D.
        depth: Layers.
        heads: Of each layer; divides ``dim``.
        groups: M of each layer; the attribute ``n_groups`` may be changed after training, too.
        rounds: As of ``Grouping``, like ``compete`` and ``last_round_only``.
        fixed: Groups start from learned vectors in place of draws; their number cannot change then.
    """

    def __init__(
        self,
        *,
        size: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        groups: int,
        rounds: int = 3,
        compete: bool = True,
        fixed: bool = False,
        last_round_only: bool = False,
    ) -> None:
        super().__init__(size=size)
        if min(patch, heads, depth, groups, rounds) < 1 or size % patch or dim % heads or dim % 4:
            raise BadInput(
                "A group tokenizer needs a patch that divides the size, a width that heads and 4 divide, and "
                f"1 or more layers, groups and rounds; got patch {patch} of {size}, {heads} heads of {dim}, "
                f"{depth} layers, {groups} groups and {rounds} rounds."
            )
        self.patch, self.out_dim, self.depth, self.n_groups = patch, dim, depth, groups
        self.patch_embed = PatchEmbed(patch, dim)
        self.stages = nn.ModuleList(
            Grouping(dim, heads, rounds=rounds, compete=compete, last_round_only=last_round_only)
            for _ in range(depth)
        )
        self.starts = nn.Parameter(torch.randn(depth, groups, dim)) if fixed else None
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pool = AttentivePool(dim, heads=heads)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def start(self, images: Images) -> tuple[Tensor, tuple[int, int]]:
        """Return the input tokens of the first layer ``(B, N, D)`` and their grid."""
        pixels = self.pixels(images)
        rows, columns = grid_of(pixels.shape[2:], (self.patch, self.patch))
        x = self.patch_embed(pixels)
        return x + sincos((rows, columns), self.out_dim).to(x), (rows, columns)

    def noise(self, x: Tensor) -> list[Tensor]:
        """Return what the groups of each layer start from, ``(B, M, D)``."""
        shape = (self.depth, self.n_groups, self.out_dim)
        if self.starts is not None:
            if self.n_groups != self.starts.shape[1]:
                raise BadInput(
                    f"Fixed groups stay {self.starts.shape[1]}; got {self.n_groups}. Set fixed=False."
                )
            drawn = self.starts[:, None].expand(-1, len(x), -1, -1)
        elif self.training:
            drawn = torch.randn(shape[0], len(x), *shape[1:], device=x.device)
        else:
            drawn = torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED))[:, None]
            drawn = drawn.to(x.device).expand(-1, len(x), -1, -1)
        return list(drawn.to(x.dtype))

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        x, grid = self.start(images)
        for stage, noise in zip(self.stages, self.noise(x), strict=True):
            x, _, _ = stage(x, noise)
        x = self.norm(x)
        return Features(self.pool(x), x, grid, *self._place())

    def groups(self, images: Images, *, layer: int = -1) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Return a layer's groups ``(B, M, D)``, the assignment ``(B, heads, N, M)``, and the grid."""
        (number,) = self.chosen([layer])
        x, grid = self.start(images)
        for stage, noise in zip(self.stages[: number + 1], self.noise(x), strict=False):
            x, groups, assignment = stage(x, noise)
        return groups, assignment, grid

    def segments(self, images: Images, *, layer: int = -1) -> Tensor:
        """Return the group that each token gives most of itself to, over all heads: ``(B, h, w)`` int64."""
        _, assignment, grid = self.groups(images, layer=layer)
        return assignment.mean(1).argmax(2).unflatten(1, grid)

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        wanted = self.chosen(which)
        x, _ = self.start(images)
        seen = {}
        last = max(wanted, default=-1) + 1
        for i, (stage, noise) in enumerate(zip(self.stages[:last], self.noise(x), strict=False)):
            x, _, _ = stage(x, noise)
            seen[i] = x
        return [seen[i] for i in wanted]

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        (number,) = self.chosen([layer])
        check_facet(self, facet, attends=False, stride=stride)
        (x,) = self.layers(images, [number])
        _, grid = self.start(images)
        return Features(x.mean(1), x, grid, *self._place(), layer=number)

    def _place(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.patch, self.patch), (self.patch / 2, self.patch / 2)


def pgt_tiny(
    *,
    size: int,
    patch: int = 4,
    dim: int = 96,
    depth: int = 3,
    heads: int = 3,
    groups: int = 12,
    rounds: int = 3,
    fixed: bool = False,
    last_round_only: bool = False,
) -> PerceptualGroupTokenizer:
    """3 layers of 12 groups and width 96 on patches of 4 pixels, for a CPU; the paper: 256 groups.

    Args:
        size: Side in pixels.
        patch: As of ``PerceptualGroupTokenizer``, like all that follows.
        dim: D.
        depth: Layers.
        heads: Of each.
        groups: M of each.
        rounds: Of each.
        fixed: Groups start from learned vectors.
        last_round_only: Gradients reach the last round alone.
    """
    return PerceptualGroupTokenizer(
        size=size, patch=patch, dim=dim, depth=depth, heads=heads, groups=groups, rounds=rounds, fixed=fixed,
        last_round_only=last_round_only,
    )  # fmt: skip
