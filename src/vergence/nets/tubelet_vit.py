"""Vision transformer on tubelets: blocks of a few frames by a patch are its tokens.

Arnab et al. 2021 (ViViT, arXiv:2103.15691), all of space and time attending at once, with the fixed positions
of VideoMAE (arXiv:2203.12602).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features
from vergence.nets.patches import PatchEmbed, grid_of, positions_at, sincos
from vergence.nets.video_encoder import Clips, VideoEncoder
from vergence.nets.vit import Block


class TubeletViT(VideoEncoder):
    """Clips -> tokens of the grid (t, h, w) and their mean; no class token.

    Args:
        size: Side of the frames in pixels; a multiple of ``patch``.
        frames: T; a multiple of ``tubelet``.
        patch: Side of a token in pixels.
        tubelet: Frames of a token.
        dim: Width D, a multiple of 6 and of ``heads``.
        depth: Blocks.
        heads: Of attention.
        drop_path: Chance in [0, 1) that a sample skips a branch of the last block; rises from 0 at the first.
        read: See ``VideoEncoder``.
    """

    positions: Tensor

    def __init__(
        self,
        *,
        size: int,
        frames: int,
        patch: int,
        tubelet: int = 2,
        dim: int,
        depth: int,
        heads: int,
        drop_path: float = 0.0,
        read: int | None = None,
    ) -> None:
        super().__init__(size=size, frames=frames, read=read)
        if dim % heads:
            raise BadInput(f"A tubelet ViT needs a width that its heads divide; got {dim} and {heads} heads.")
        self.cell = (tubelet, patch, patch)
        self.grid = grid_of((frames, size, size), self.cell)
        self.out_dim, self.depth, self.heads = dim, depth, heads
        self.patch_embed = PatchEmbed(self.cell, dim)
        self.register_buffer("positions", sincos(self.grid, dim), persistent=False)
        self.blocks = nn.ModuleList(
            Block(dim, heads, scale=None, drop=drop_path * i / max(1, depth - 1)) for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def start(
        self,
        clips: Clips,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Return what the first block reads, ``(B, N, D)``, and the grid.

        Args:
            clips: As ``forward`` takes them.
            mask: ``(B, N)`` bool; where True ``mask_token`` stands in for the embedding of a cell.
            mask_token: ``(D,)``; comes with ``mask`` or not at all.
            keep: ``(B, K)`` int64, places of the cells that are seen; the others are left out, so that
                nothing of them is computed. None: all.
        """
        volume = self.volume(clips)
        grid = grid_of(volume.shape[2:], self.cell)
        x = self.patch_embed(volume, keep)
        if (mask is None) != (mask_token is None):
            raise ValueError("A masked tubelet ViT needs both mask and mask_token; got one of them.")
        if mask is not None and mask_token is not None:
            x = torch.where(mask[..., None], mask_token.to(x.dtype), x)
        at = self.positions if grid == self.grid else sincos(grid, self.out_dim).to(x.device)
        return x + (at if keep is None else positions_at(at, keep)).to(x.dtype), grid

    def forward(
        self,
        clips: Clips,
        *,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Features:
        """Return the mean token and all tokens after the final norm; see ``start``.

        Where only the cells at ``keep`` are seen, tokens are theirs ``(B, K, D)``, and there is no grid.
        """
        x, grid = self.start(clips, mask, mask_token, keep)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if keep is not None:
            return Features(x.mean(1), x)
        stride = tuple(float(side) for side in self.cell)
        return Features(x.mean(1), x, grid, stride, tuple(side / 2 for side in stride))

    def layers(self, clips: Clips) -> list[Tensor]:
        """Return the tokens ``(B, N, D)`` after every block, before the final norm."""
        x, _ = self.start(clips)
        seen = []
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        return seen


def tubelet_micro(
    *, size: int, frames: int, read: int | None = None, patch: int | None = None, tubelet: int = 2,
    drop_path: float = 0.0,
) -> TubeletViT:  # fmt: skip
    """4 blocks of width 96, for tests and first tries; 4 x 4 cells a frame unless their side is given."""
    return _tubelets(size, frames, read, patch, tubelet, drop_path, {"dim": 96, "depth": 4, "heads": 3})


def tubelet_small(
    *, size: int, frames: int, read: int | None = None, patch: int | None = None, tubelet: int = 2,
    drop_path: float = 0.0,
) -> TubeletViT:  # fmt: skip
    """6 blocks of width 192; cells of an eighth of the side unless it is given."""
    patch = patch or max(1, size // 8)
    return _tubelets(size, frames, read, patch, tubelet, drop_path, {"dim": 192, "depth": 6, "heads": 3})


def tubelet_base(
    *, size: int, frames: int, read: int | None = None, patch: int | None = None, tubelet: int = 2,
    drop_path: float = 0.0,
) -> TubeletViT:  # fmt: skip
    """12 blocks of width 768, cells of 2 x 16 x 16: ViT-B of the papers."""
    patch = patch or 16
    return _tubelets(size, frames, read, patch, tubelet, drop_path, {"dim": 768, "depth": 12, "heads": 12})


def _tubelets(
    size: int,
    frames: int,
    read: int | None,
    patch: int | None,
    tubelet: int,
    drop_path: float,
    widths: dict[str, Any],
) -> TubeletViT:
    patch = patch or max(1, size // 4)
    return TubeletViT(
        size=size, frames=frames, patch=patch, tubelet=tubelet, drop_path=drop_path, read=read, **widths
    )
