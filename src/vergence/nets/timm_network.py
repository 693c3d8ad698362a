"""timm's models as image encoders: features of a network that timm made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from timm.layers import AvgPool2dSame, Conv2dSame, PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vergence.core import BadInput, Features
from vergence.core.features import FACETS
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet, sampling
from vergence.nets.patches import take
from vergence.nets.positions import check_stride, fine_positions


class TimmEncoder(ImageEncoder):
    """A timm model without its classifier.

    Args:
        model: Made with ``num_classes=0``.
        size: Side in pixels that batches are brought to.
        pool: "mean" pools the mean patch of a vision transformer; None pools as the model does.
    """

    model: Any  # whatever timm makes

    def __init__(self, model: Any, *, size: int, pool: Literal["mean"] | None = None) -> None:
        plain = _plain(model)
        extras = ("attention", "keys") if plain else ()
        if getattr(model, "cls_token", None) is not None:
            extras = (*extras, "cls")
        cfg = model.pretrained_cfg
        super().__init__(size=size, mean=cfg["mean"], std=cfg["std"], extras=extras)
        self.model = model
        self.out_dim = getattr(model, "head_hidden_size", None) or model.num_features
        self.num_prefix = getattr(model, "num_prefix_tokens", 0)
        self.is_vit, self.hides_patches, self.pool = plain, _takes_some(model), pool
        if plain or self.hides_patches:
            self.patch: int = model.patch_embed.patch_size[0]
        if self.hides_patches:
            self.heads: int = model.blocks[0].attn.num_heads
        self.depth = len(model.blocks) if plain else len(model.feature_info)
        self.ends = None if plain else _ends(model)

    def pixels(self, images: Images) -> Tensor:
        pixels = super().pixels(images)
        for module in self.model.modules():  # on a CPU the fused kernel's backward is four times slower
            if hasattr(module, "fused_attn"):
                module.fused_attn = pixels.device.type != "cpu"
        return pixels

    def forward(
        self,
        images: Images,
        *,
        need: Sequence[str] = (),
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Features:
        """Return what the model makes of images; of part of their patches where it ``hides_patches``.

        Args:
            images: Pixels in [0, 1], a ``View``, or a batch as it was read.
            need: Extras by name.
            mask: ``(B, N)`` bool; where True ``mask_token`` stands in for the patch embedding.
            mask_token: ``(D,)``; comes with ``mask`` or not at all.
            keep: ``(B, K)`` int64, places of the patches that reach the first block, each at its own
                position. Tokens are theirs, and there is no map. None: all.
        """
        self.check(need)
        pixels = self.pixels(images)
        extra: dict[str, Tensor] = {}
        handle = None
        if "attention" in need or "keys" in need:
            attn = self.model.blocks[-1].attn
            handle = attn.register_forward_pre_hook(
                lambda m, args: extra.update(_attention(m, args[0], need))
            )
        try:
            with self._seeing(mask, mask_token, keep):
                final = self.model.forward_features(pixels)
        finally:
            if handle is not None:
                handle.remove()
        if self.pool == "mean":
            pooled = final[:, self.num_prefix :].mean(1)
        else:
            pooled = self.model.forward_head(final, pre_logits=True)
        if "cls" in need:
            extra["cls"] = final[:, 0]
        if keep is not None:
            return Features(pooled, final[:, self.num_prefix :], extra=extra)
        return self._features(pooled, final, pixels, extra=extra)

    @contextmanager
    def _seeing(self, mask: Tensor | None, mask_token: Tensor | None, keep: Tensor | None) -> Iterator[None]:
        """Let the model see some patches only; see ``forward``."""
        if mask is None and keep is None and mask_token is None:
            yield
            return
        model = self.model
        if not self.hides_patches:
            name = self.spec.get("name", "This network")
            raise BadInput(f"{name} cannot leave patches out; choose a plain vision transformer of timm's.")
        if (mask is None) != (mask_token is None):
            raise ValueError("A masked ViT needs both mask and mask_token; got one of them.")
        handle, drops = None, model.patch_drop
        if mask is not None and mask_token is not None:
            handle = model.patch_embed.register_forward_hook(lambda m, args, x: _covered(x, mask, mask_token))
        if keep is not None:  # there timm itself leaves patches out by chance, rotary positions with them
            model.patch_drop = _Kept(keep, self.num_prefix, tell=isinstance(model, Eva))
        try:
            yield
        finally:
            model.patch_drop = drops
            if handle is not None:
                handle.remove()

    def _features(self, pooled: Tensor, final: Tensor, pixels: Tensor, **known: Any) -> Features:
        if final.ndim == 3:
            tokens = final[:, self.num_prefix :]
            grid = _grid(tokens, pixels)
            patch = getattr(getattr(self.model, "patch_embed", None), "patch_size", None)
            if grid is None or patch is None or not self.is_vit:
                return Features(pooled, tokens, grid, **known)
            return Features(pooled, tokens, grid, tuple(patch), tuple(p / 2 for p in patch), **known)
        if final.ndim != 4:
            return Features(pooled, **known)
        if final.shape[1] != self.model.num_features and final.shape[-1] == self.model.num_features:
            final = final.permute(0, 3, 1, 2)  # Swin and its kin keep channels last
        return Features.of_map(pooled, final, **self._place(-1, pixels), **known)

    def _place(self, layer: int, pixels: Tensor) -> dict[str, Any]:
        """Return stride and offset of a map, where the network's layers follow each other."""
        if self.ends is None:
            return {}
        height, width = pixels.shape[-2:]
        place = sampling(self.ends[layer], size=(height, width), same=(Conv2dSame, AvgPool2dSame))
        return dict(zip(("stride", "offset"), place, strict=True))

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        (number,) = self.chosen([layer])
        check_facet(self, facet, attends=self.is_vit, stride=stride)
        if stride is not None:
            return self._fine(self.pixels(images), number, facet, stride)
        if not self.is_vit:
            images = self.pixels(images)
            (x,) = self._layers(images, [number])
            if x.ndim != 4:
                raise BadInput(f"{self.spec.get('name', 'This network')} has no map at layer {number}.")
            return Features.of_map(x.mean((2, 3)), x, **self._place(number, images), layer=number)
        pixels, block = self.pixels(images), self.model.blocks[number]
        seen: list[Tensor] = []
        if facet == "token":
            handle = block.register_forward_hook(lambda m, args, out: seen.append(out))
        else:
            which = FACETS.index(facet) - 1
            handle = block.attn.register_forward_pre_hook(
                lambda m, args: seen.append(_heads(m, args[0])[which].transpose(1, 2).flatten(2))
            )
        try:
            self.model.forward_intermediates(
                pixels, indices=[number], intermediates_only=True, stop_early=True
            )
        finally:
            handle.remove()
        pooled = seen[0][:, 0] if self.num_prefix else seen[0].mean(1)
        return self._features(pooled, seen[0], pixels, layer=number, facet=facet)

    def _fine(self, pixels: Tensor, number: int, facet: str, stride: int) -> Features:
        """Return a layer of a vision transformer whose patches are ``stride`` pixels apart."""
        model = self.model
        if getattr(type(model), "_pos_embed", None) is not VisionTransformer._pos_embed:  # noqa: SLF001
            raise BadInput(
                f"{self.spec.get('name', 'This network')} has no finer stride; choose a plain vision "
                "transformer such as vit_small_patch16_224."
            )
        patch, embed = tuple(model.patch_embed.patch_size), model.patch_embed
        check_stride(stride, patch)
        x = conv2d(pixels, embed.proj.weight, embed.proj.bias, stride=stride)
        rows, columns = x.shape[2:]
        x = embed.norm(x.flatten(2).transpose(1, 2))
        prefix = [token for token in (model.cls_token, model.reg_token) if token is not None]
        before = torch.cat([token.expand(len(x), -1, -1) for token in prefix], 1) if prefix else x[:, :0]
        if model.pos_embed is not None:
            own = 0 if model.no_embed_class else before.shape[1]
            grid = model.pos_embed[:, own:].transpose(1, 2).unflatten(2, embed.grid_size)
            tall, wide = pixels.shape[2:]
            x = x + fine_positions(grid, (tall, wide), patch, stride)[0].to(x.dtype)
            before = before + model.pos_embed[:, :own] if own else before
        x = model.norm_pre(torch.cat([before, x], 1))
        for block in model.blocks[:number]:
            x = block(x)
        block = model.blocks[number]
        if facet == "token":
            x = block(x)
        else:
            x = _heads(block.attn, block.norm1(x))[FACETS.index(facet) - 1].transpose(1, 2).flatten(2)
        pooled = x[:, 0] if self.num_prefix else x.mean(1)
        place = ((stride, stride), tuple(p / 2 for p in patch))
        return Features(pooled, x[:, self.num_prefix :], (rows, columns), *place, layer=number, facet=facet)

    def patches(self, images: Images) -> Tensor:
        """Return a ViT's patch embeddings ``(B, N, D)`` before positions are added."""
        if not self.is_vit:
            raise BadInput(
                f"{self.spec.get('name', 'This network')} has no patches; choose a vision transformer."
            )
        x = self.model.patch_embed(self.pixels(images))
        return x.flatten(1, 2) if x.ndim == 4 else x

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        return self._layers(self.pixels(images), self.chosen(which))

    def _layers(self, pixels: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        form: dict[str, Any] = {"output_fmt": "NLC", "norm": False} if self.is_vit else {}
        seen = self.model.forward_intermediates(
            pixels, indices=sorted(set(wanted)), intermediates_only=True, stop_early=True, **form
        )
        by_number = dict(zip(sorted(set(wanted)), seen, strict=True))
        return [by_number[i] for i in wanted]


class _Kept(nn.Module):
    """Keeps chosen patches ``keep (B, K)`` and the ``prefix`` tokens before them; may ``tell`` which."""

    def __init__(self, keep: Tensor, prefix: int, *, tell: bool) -> None:
        super().__init__()
        self.keep, self.prefix, self.tell = keep, prefix, tell

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        kept = torch.cat([x[:, : self.prefix], take(x[:, self.prefix :], self.keep)], 1)
        return (kept, self.keep) if self.tell else kept


def _covered(patches: Tensor, mask: Tensor, token: Tensor) -> Tensor:
    """Put ``token (D,)`` where ``mask (B, N)`` in patch embeddings ``(B, N, D)`` or ``(B, h, w, D)``."""
    shape = (len(patches), patches[0, ..., 0].numel())
    if mask.shape != shape:
        raise ValueError(f"A mask needs shape {shape}; got {tuple(mask.shape)}.")
    return torch.where(mask.view(*patches.shape[:-1], 1), token.to(patches.dtype), patches)


def _takes_some(model: Any) -> bool:
    """Tell whether this is a transformer that can see some patches only, and knows nothing of the others.

    A convolution before the first block would look at the hidden ones.
    """
    made = getattr(type(model), "forward_features", None)
    if made not in (VisionTransformer.forward_features, Eva.forward_features):
        return False
    return isinstance(model.patch_embed, PatchEmbed) and hasattr(model.blocks[0], "attn")


def _plain(model: Any) -> bool:
    """Tell whether this is a transformer whose last queries and keys can be read off its weights."""
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or hasattr(model, "rope"):
        return False  # rotary positions turn queries and keys inside the block
    attn = getattr(blocks[-1], "attn", None)
    return isinstance(getattr(attn, "qkv", None), nn.Linear) and hasattr(attn, "q_norm")


def _attention(attn: Any, x: Tensor, need: Sequence[str]) -> dict[str, Tensor]:
    q, k, _ = _heads(attn, x)
    extra = {"keys": k} if "keys" in need else {}
    if "attention" in need:
        extra["attention"] = (q.float() @ k.float().mT * attn.scale).softmax(-1)
    return extra


def _ends(model: Any) -> list[list[nn.Module]] | None:
    """Return the layers that lead to every map that ``feature_info`` names; None where they are not in a row.

    They are taken to be where their strides, in the order in which they were made, give each map's.
    """
    every = [(name, m) for name, m in model.named_modules() if not list(m.children())]
    ends = []
    for info in model.feature_info:
        stage = str(info["module"])
        last = [i for i, (name, _) in enumerate(every) if name == stage or name.startswith(f"{stage}.")]
        if not last:
            return None
        ends.append([m for name, m in every[: last[-1] + 1] if "downsample" not in name])
        strides = sampling(ends[-1], same=(Conv2dSame, AvgPool2dSame))[0]
        if strides != (info["reduction"],) * 2:
            return None
    return ends


def _heads(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values ``(B, heads, T, d)`` as the attention compares and mixes them."""
    b, t, _ = x.shape
    q, k, v = attn.qkv(x).view(b, t, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return attn.q_norm(q), attn.k_norm(k), v


def _grid(tokens: Tensor, pixels: Tensor) -> tuple[int, int] | None:
    count, height, width = tokens.shape[1], *pixels.shape[-2:]
    rows = round((count * height / width) ** 0.5)
    if rows == 0 or count % rows:
        return None
    return rows, count // rows
