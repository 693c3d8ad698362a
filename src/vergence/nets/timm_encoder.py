"""timm's models as image encoders."""

from __future__ import annotations

import difflib
import re
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vergence.core import BadInput, Features, unknown
from vergence.core.features import FACETS
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet, sampling
from vergence.nets.packaged_weights import advice, fill_from_package
from vergence.nets.positions import check_stride, fine_positions


class TimmEncoder(ImageEncoder):
    """A timm model without its classifier; pools as that model does.

    Args:
        model: Made with ``num_classes=0``.
        size: Side in pixels that batches are brought to.
    """

    model: Any  # whatever timm makes

    def __init__(self, model: Any, *, size: int) -> None:
        plain = _plain(model)
        extras = ("attention", "keys") if plain else ()
        if getattr(model, "cls_token", None) is not None:
            extras = (*extras, "cls")
        cfg = model.pretrained_cfg
        super().__init__(size=size, mean=cfg["mean"], std=cfg["std"], extras=extras)
        self.model = model
        self.out_dim = getattr(model, "head_hidden_size", None) or model.num_features
        self.num_prefix = getattr(model, "num_prefix_tokens", 0)
        self.is_vit = plain
        if plain:
            self.patch: int = model.patch_embed.patch_size[0]
        self.depth = len(model.blocks) if plain else len(model.feature_info)
        self.ends = None if plain else _ends(model)

    def pixels(self, images: Images) -> Tensor:
        pixels = super().pixels(images)
        for module in self.model.modules():  # on a CPU the fused kernel's backward is four times slower
            if hasattr(module, "fused_attn"):
                module.fused_attn = pixels.device.type != "cpu"
        return pixels

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
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
            final = self.model.forward_features(pixels)
        finally:
            if handle is not None:
                handle.remove()
        pooled = self.model.forward_head(final, pre_logits=True)
        if "cls" in need:
            extra["cls"] = final[:, 0]
        return self._features(pooled, final, pixels, extra=extra)

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
        form = {"output_fmt": "NLC", "norm": False} if self.is_vit else {}
        seen = self.model.forward_intermediates(
            pixels, indices=sorted(set(wanted)), intermediates_only=True, **form
        )
        by_number = dict(zip(sorted(set(wanted)), seen, strict=True))
        return [by_number[i] for i in wanted]


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


# What timm's models are made of. Other words of theirs name addresses to fetch and files to open.
_ARCHITECTURE = {
    "aa_layer", "act_layer", "attn_drop_rate", "avg_down", "base_width", "block_reduce_first",
    "cardinality", "channels", "class_token", "conv_mlp", "depth", "depths", "dims", "drop_block_rate",
    "drop_path_rate", "drop_rate", "dynamic_img_pad", "dynamic_img_size", "embed_dim", "fc_norm",
    "final_norm", "global_pool", "img_size", "init_values", "kernel_sizes", "layers", "ls_init_value",
    "mlp_ratio", "no_embed_class", "norm_layer", "num_heads", "output_stride", "patch_drop_rate",
    "patch_size", "pool_include_prefix", "pos_drop_rate", "pos_embed", "pre_norm", "proj_bias",
    "proj_drop_rate", "qk_norm", "qkv_bias", "reg_tokens", "replace_stem_pool", "stem_type",
    "stem_width", "use_grn", "window_size", "zero_init_last",
}  # fmt: skip


def _check_architecture(name: str, options: Mapping[str, Any]) -> None:
    """Raise ``BadInput`` for an option that is no number or word about the architecture."""
    for option, value in options.items():
        if option not in _ARCHITECTURE:
            near = difflib.get_close_matches(str(option), _ARCHITECTURE, n=1)
            hint = (
                f"did you mean '{near[0]}'?"
                if near
                else "only its architecture can be set, as drop_path_rate."
            )
            raise BadInput(f"Unknown option of {name} '{option!s:.40}'; {hint}")
        parts = value if isinstance(value, list | tuple) else [value]
        if not all(part is None or isinstance(part, str | int | float) for part in parts):
            raise BadInput(f"{option} of {name} needs a number, a word or a list of them; got {value!r:.60}.")


def build_timm(
    name: str,
    size: int,
    registers: int,
    pretrained: bool,
    options: dict[str, Any],
    *,
    own: Sequence[str],
    small_stem: bool = True,
) -> TimmEncoder:
    """Make a timm model; see ``encoders.build``.

    Args:
        name: As timm has it.
        size: As of ``encoders.build``, like the next three.
        registers: A number.
        pretrained: With its weights.
        options: Of the architecture.
        own: Names of the library's own encoders, for a misspelt one.
        small_stem: Give a ResNet for 32 pixels or fewer the stem that the field gives it there.

    Raises:
        BadInput: If there is no such model, it cannot be had at this size, or its weights cannot be fetched.
    """
    _know(name, own)
    _check_architecture(name, options)
    if pretrained and not timm.list_pretrained(f"{name}*"):
        raise BadInput(
            f"timm has no pretrained weights for '{name}'; leave pretrained out or choose another."
        )
    wanted = {**options, "num_classes": 0, **({"reg_tokens": registers} if registers else {})}
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size:
        wanted["img_size"] = size
    try:
        wanted = _accepted(name, wanted)
        model = timm.create_model(name, **wanted)
    except Exception as error:
        if registers and "reg_tokens" in str(error):
            raise BadInput(f"{name} cannot take registers; choose another vision transformer.") from error
        raise BadInput(f"timm cannot make '{name}' for {size} pixels: {_line(error)}") from error
    if pretrained:
        model = _with_weights(
            name, model, wanted, cfg, asked=[*options, *(["reg_tokens"] if registers else [])]
        )
    elif size <= 32 and small_stem:
        _small_stem(model)
    encoder = TimmEncoder(model, size=size)
    if pretrained and cfg is not None:
        cubic = cfg.interpolation == "bicubic"
        encoder.preprocess_as(
            {"crop": float(cfg.crop_pct), "interpolation": "bicubic" if cubic else "bilinear"}
        )
    return encoder


def trained_size(name: str, *, own: Sequence[str]) -> int:
    """Return the side in pixels of the images that a model's weights were trained with.

    Raises:
        BadInput: If there is no such model.
    """
    _know(name, own)
    cfg = timm.get_pretrained_cfg(name)
    return 224 if cfg is None else int(cfg.input_size[-1])


def _with_weights(name: str, model: Any, wanted: dict[str, Any], cfg: Any, *, asked: Sequence[str]) -> Any:
    """Return a model with its weights: from timm's cache or the hub, else from an installed package.

    Args:
        name: As timm has it.
        model: As it is asked for, untrained.
        wanted: Options that it was made with.
        cfg: Of the weights.
        asked: Those of the options that somebody asked for.
    """
    plain = {option: value for option, value in wanted.items() if option not in asked}
    try:
        _check_reachable(getattr(cfg, "hf_hub_id", None))
        trained = timm.create_model(name, pretrained=True, **plain)
    except Exception as error:
        trained = timm.create_model(name, **plain)
        package = fill_from_package(name, trained)
        if package is None:
            raise BadInput(
                f"The weights of '{name}' cannot be fetched ({_line(error)}). Check the connection, "
                f"{advice(name)}or take the encoder without its weights."
            ) from error
        print(
            f"timm's weights of {name} are out of reach; those of the package {package} are taken.",
            file=sys.stderr,
        )
    if not asked:
        return trained
    weights = trained.state_dict()
    needed = model.state_dict()
    for key in {**needed, **weights}:
        if key not in needed or key not in weights or needed[key].shape != weights[key].shape:
            raise BadInput(
                f"The weights of '{name}' are of another architecture ({key} differs); leave "
                f"{', '.join(asked)} out, or take the encoder without its weights."
            )
    model.load_state_dict(weights)
    return model


def _check_reachable(repository: str | None) -> None:
    """Raise ``OSError`` where weights are neither cached nor to be had: the hub itself tries for minutes."""
    proxied = any(getproxies().get(scheme) for scheme in ("https", "all"))
    if repository is None or proxied or constants.HF_HUB_OFFLINE:
        return
    names = ("model.safetensors", "pytorch_model.bin")
    if not any(isinstance(try_to_load_from_cache(repository, name), str) for name in names):
        host = urlsplit(constants.ENDPOINT)
        with socket.create_connection((host.hostname or "", host.port or 443), timeout=5):
            pass


def _small_stem(model: Any) -> None:
    """Let a ResNet begin with a 3 x 3 convolution at full resolution, as SimCLR's Sec. B.9 has it.

    Its own stem would leave a 32-pixel image 8 x 8 cells before the first block.
    """
    if _starts_large(model):
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
        for info in model.feature_info:  # the two halvings are gone
            info["reduction"] = max(1, info["reduction"] // 4)


def _starts_large(model: nn.Module) -> bool:
    first = getattr(model, "conv1", None)
    return isinstance(model, ResNet) and isinstance(first, nn.Conv2d) and first.kernel_size == (7, 7)


def _accepted(name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Add the option that lets a transformer read crops of any size, where the model has it."""
    try:
        with torch.device("meta"):
            timm.create_model(name, **wanted, dynamic_img_size=True)
    except Exception:  # noqa: BLE001 - an unknown option, or a constructor that computes with its weights
        return wanted
    return {**wanted, "dynamic_img_size": True}


def _know(name: str, own: Sequence[str]) -> None:
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise unknown("encoder", name, _family(base, {*own, *timm.list_models()}) or own)
    tagged = timm.list_pretrained(f"{base}.*")
    if tag and name not in tagged:
        raise unknown("encoder", name, tagged or [base])


def _family(name: str, models: Collection[str]) -> list[str]:
    """Return the models nearest to a misspelt name, of the family that one of its words is nearest to.

    >>> _family("dinov3_small", ["rdnet_small", "vit_small_patch16_dinov3"])
    ['vit_small_patch16_dinov3']
    """
    families = {word for model in models for word in re.findall("[a-z]{2,}", model)}
    words = re.findall("[a-z]{2,}", name.lower())
    near = (difflib.get_close_matches(word, families, n=1, cutoff=0.7) for word in words)
    family = next((match[0] for match in near if match), None)
    inside = [model for model in models if family in re.findall("[a-z]{2,}", model)]
    return difflib.get_close_matches(name, inside, n=3, cutoff=0.3)


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120].rstrip(".")
