"""Vision transformer for small images, with register tokens and masked patches.

Dosovitskiy et al. 2021, arXiv:2010.11929; registers after Darcet et al. 2024, arXiv:2309.16588.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from vergence.core import BadInput, Features
from vergence.core.features import FACETS
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet
from vergence.nets.patches import PatchEmbed, positions_at, sincos
from vergence.nets.positions import check_stride, fine_positions, overlapping_patches


class Attention(nn.Module):
    """Self-attention ``(B, T, D) -> (B, T, D)``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each ``(B, heads, T, d)``."""
        b, t, d = x.shape
        parts = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts.contiguous().unbind(0)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(x)
        if x.device.type != "cpu":
            seen = scaled_dot_product_attention(q, k, v)
        else:  # the fused kernel's backward takes four times as long as these two products on a CPU
            weights = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1, dtype=v.dtype)
            seen = weights @ v
        return self.proj(seen.transpose(1, 2).reshape(x.shape))


class Branch(nn.Module):
    """Adds ``scale * body(norm(x))`` to x; drops it for whole samples with chance ``drop``."""

    def __init__(self, body: nn.Module, dim: int, *, scale: float | None, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.body = body
        self.scale = None if scale is None else nn.Parameter(torch.full((dim,), scale))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.norm(x))
        if self.scale is not None:
            y = y * self.scale
        if self.drop and self.training:
            keep = torch.rand(len(x), 1, 1, device=x.device) >= self.drop
            y = y * (keep / (1 - self.drop)).to(y.dtype)
        return x + y


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each around a residual."""

    def __init__(self, dim: int, heads: int, *, scale: float | None, drop: float) -> None:
        super().__init__()
        mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.attend = Branch(Attention(dim, heads), dim, scale=scale, drop=drop)
        self.think = Branch(mlp, dim, scale=scale, drop=drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.think(self.attend(x))


class ViT(ImageEncoder):
    """Images -> class token, patch tokens and map; takes any size that is a multiple of the patch.

    Args:
        size: Side of the images in pixels that the positions are laid out for.
        patch: Side of a patch in pixels; divides ``size``.
        dim: Width D.
        depth: Blocks.
        heads: Divides ``dim``.
        registers: Tokens that attend like any other, carry no position, and are left out of every
            output but the extras.
        drop_path: Chance in [0, 1) that a sample skips a branch of the last block; rises from 0 at
            the first.
        layer_scale: Start of the learned factors on every branch; None leaves them out.
        positions: ``learned``, or ``sincos`` (fixed waves over rows and columns).
        pool: ``pooled`` is the class token (``cls``) or the mean patch (``mean``).
    """

    hides_patches = True

    def __init__(
        self,
        *,
        size: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        registers: int = 0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        positions: Literal["learned", "sincos"] = "learned",
        pool: Literal["cls", "mean"] = "cls",
    ) -> None:
        super().__init__(size=size, extras=("attention", "cls", "keys"))
        if size % patch:
            raise BadInput(
                f"A ViT with patches of {patch} pixels needs a size that is a multiple; got {size}."
            )
        if not 0 <= drop_path < 1:
            raise BadInput(f"A ViT needs drop_path in [0, 1); got {drop_path}.")
        if positions not in ("learned", "sincos") or pool not in ("cls", "mean"):
            raise BadInput(
                f"A ViT needs positions 'learned' or 'sincos' and pool 'cls' or 'mean'; "
                f"got '{positions}' and '{pool}'."
            )
        self.patch, self.grid, self.pool = patch, size // patch, pool
        self.out_dim, self.depth, self.heads, self.num_prefix = dim, depth, heads, 1 + registers
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 1e-6)
        if positions == "learned":
            self.pos_embed = nn.Parameter(torch.randn(1, self.grid**2, dim) * 0.02)
        else:
            self.register_buffer("pos_embed", sincos(self.grid, dim), persistent=False)
        self.blocks = nn.ModuleList(
            Block(dim, heads, scale=layer_scale, drop=drop_path * i / max(1, depth - 1)) for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # Drawn last, so that a seed gives every other weight the same start with and without registers.
        self.registers = nn.Parameter(torch.randn(1, registers, dim) * 1e-6) if registers else None

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions ``(1, rows * columns, D)``, resampled where the grid is another one."""
        if rows == columns == self.grid:
            return self.pos_embed
        grid = self.pos_embed.view(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        grid = interpolate(grid.float(), (rows, columns), mode="bicubic", align_corners=False)
        return grid.flatten(2).transpose(1, 2)

    def patches(self, images: Images) -> Tensor:
        """Return the patch embeddings ``(B, N, D)`` before positions are added."""
        return self._patches(self.pixels(images))[0]

    def _fine(self, images: Images, stride: int) -> tuple[Tensor, int, int]:
        """Return what the first block reads where patches are ``stride`` pixels apart, and their grid."""
        check_stride(stride, (self.patch, self.patch))
        pixels = self.pixels(images)
        self._patches(pixels[:1])  # complains of a size that the patch does not divide
        tall, wide = pixels.shape[2:]
        learned = self.pos_embed.view(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        places, (rows, columns) = fine_positions(learned, (tall, wide), (self.patch, self.patch), stride)
        x = self.patch_embed.proj(overlapping_patches(pixels, (self.patch, self.patch), stride))
        return self._with_prefix(x + places.to(x.dtype)), rows, columns

    def _patches(self, pixels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, int, int]:
        height, width = pixels.shape[-2:]
        if height % self.patch or width % self.patch or not height or not width:
            raise BadInput(
                f"This ViT cuts patches of {self.patch} pixels; got images of {height} x {width}. "
                f"Choose a size that is a multiple of {self.patch}."
            )
        return self.patch_embed(pixels, keep), height // self.patch, width // self.patch

    def start(
        self,
        images: Images,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, int, int]:
        """Return what the first block reads, ``(B, T, D)``, and the rows and columns of patches.

        Args:
            images: As ``forward`` takes them.
            mask: ``(B, N)`` bool; where True ``mask_token`` stands in for the patch embedding.
            mask_token: ``(D,)``; comes with ``mask`` or not at all.
            keep: ``(B, K)`` int64, places of the patches that are seen; the others are left out, so that
                nothing of them is computed. None: all.
        """
        x, rows, columns = self._patches(self.pixels(images), keep)
        if (mask is None) != (mask_token is None):
            raise ValueError("A masked ViT needs both mask and mask_token; got one of them.")
        if mask is not None and mask_token is not None:
            if mask.shape != x.shape[:2]:
                raise ValueError(f"A mask needs shape {tuple(x.shape[:2])}; got {tuple(mask.shape)}.")
            x = torch.where(mask[..., None], mask_token.to(x.dtype), x)
        at = self.positions(rows, columns)
        return self._with_prefix(x + (at if keep is None else positions_at(at, keep))), rows, columns

    def _with_prefix(self, x: Tensor) -> Tensor:
        """Put class and register tokens before the patches."""
        prefix = [self.cls_token] if self.registers is None else [self.cls_token, self.registers]
        count = x.shape[0]  # which a tracer keeps open, and len would not
        return torch.cat([*(t.to(x.dtype).expand(count, -1, -1) for t in prefix), x], 1)

    def forward(
        self,
        images: Images,
        *,
        need: Sequence[str] = (),
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Features:
        """Return the class token or mean patch, tokens and map after the final norm; see ``start``.

        Where only the patches at ``keep`` are seen, tokens are theirs ``(B, K, D)``, and there is no map.
        """
        self.check(need)
        x, rows, columns = self.start(images, mask, mask_token, keep)
        for block in self.blocks[:-1]:
            x = block(x)
        extra = self._extra(x, need)
        x = self.norm(self.blocks[-1](x))
        cls, tokens = x[:, 0], x[:, self.num_prefix :]
        if "cls" in need:
            extra["cls"] = cls
        pooled = cls if self.pool == "cls" else tokens.mean(1)
        if keep is not None:
            return Features(pooled, tokens, extra=extra)
        return Features(pooled, tokens, (rows, columns), *self._place(), extra=extra)

    def _place(self, stride: int | None = None) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the stride and the first centre of patches, in pixels."""
        step = self.patch if stride is None else stride
        return (step, step), (self.patch / 2, self.patch / 2)

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        (number,) = self.chosen([layer])
        check_facet(self, facet, attends=True)
        x, rows, columns = self.start(images) if stride is None else self._fine(images, stride)
        for block in self.blocks[:number]:
            x = block(x)
        last: Any = self.blocks[number]
        if facet == "token":
            x = last(x)
        else:
            x = (
                last.attend.body.split(last.attend.norm(x))[FACETS.index(facet) - 1]
                .transpose(1, 2)
                .flatten(2)
            )
        return Features(
            x[:, 0], x[:, self.num_prefix :], (rows, columns), *self._place(stride), layer=number, facet=facet
        )

    def _extra(self, x: Tensor, need: Sequence[str]) -> dict[str, Tensor]:
        if "attention" not in need and "keys" not in need:
            return {}
        last: Any = self.blocks[-1].attend
        q, k, _ = last.body.split(last.norm(x))
        extra = {"keys": k} if "keys" in need else {}
        if "attention" in need:
            extra["attention"] = (q.float() @ k.float().mT * q.shape[-1] ** -0.5).softmax(-1)
        return extra

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        wanted = self.chosen(which)
        x, _, _ = self.start(images)
        seen = {}
        for i, block in enumerate(self.blocks[: max(wanted, default=-1) + 1]):
            x = block(x)
            if i in wanted:
                seen[i] = x[:, self.num_prefix :]
        return [seen[i] for i in wanted]


def vit_micro(
    *,
    size: int,
    patch: int | None = None,
    dim: int = 96,
    depth: int = 4,
    registers: int = 0,
    drop_path: float = 0.0,
    layer_scale: float | None = None,
    positions: Literal["learned", "sincos"] = "learned",
    pool: Literal["cls", "mean"] = "cls",
) -> ViT:
    """4 blocks of width 96, a head every 32, for first tries; 8 x 8 patches unless their side is given."""
    return ViT(
        size=size, patch=patch or _eighth(size), dim=dim, depth=depth, heads=max(1, dim // 32),
        registers=registers, drop_path=drop_path, layer_scale=layer_scale, positions=positions, pool=pool,
    )  # fmt: skip


def vit_small32(
    *,
    size: int,
    patch: int | None = None,
    registers: int = 0,
    drop_path: float = 0.0,
    layer_scale: float | None = None,
    positions: Literal["learned", "sincos"] = "learned",
    pool: Literal["cls", "mean"] = "cls",
) -> ViT:
    """8 x 8 patches, 6 blocks of width 192: the one for runs on 32 or 64 pixels."""
    return ViT(
        size=size, patch=patch or _eighth(size), dim=192, depth=6, heads=3, registers=registers,
        drop_path=drop_path, layer_scale=layer_scale, positions=positions, pool=pool,
    )  # fmt: skip


def _eighth(size: int) -> int:
    if size % 8:
        raise BadInput(
            f"The small ViTs cut an image in 8 x 8 patches: size must be a multiple of 8; got {size}."
        )
    return size // 8
