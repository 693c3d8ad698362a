"""timm's models by name, with weights or without."""

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
from timm.models.resnet import ResNet
from torch import nn

from vergence.core import BadInput, unknown
from vergence.nets.packaged_weights import advice, fill_from_package
from vergence.nets.timm_network import TimmEncoder

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
    options = dict(options)
    pool = options.pop("pool", None)
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
            name, model, wanted, cfg, given=[*options, *(["reg_tokens"] if registers else [])]
        )
    elif size <= 32 and small_stem:
        _small_stem(model)
    encoder = TimmEncoder(model, size=size, pool=pool)
    if pool is not None and (pool != "mean" or not encoder.hides_patches):
        raise BadInput(f"pool of a vision transformer of timm's is 'mean', or left out; got {pool!r:.40}.")
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


def _with_weights(name: str, model: Any, wanted: dict[str, Any], cfg: Any, *, given: Sequence[str]) -> Any:
    """Return a model with its weights: from timm's cache or the hub, else from an installed package.

    Args:
        name: As timm has it.
        model: As it is asked for, untrained.
        wanted: Options that it was made with.
        cfg: Of the weights.
        given: Those of the options that the user named.
    """
    plain = {option: value for option, value in wanted.items() if option not in given}
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
    if not given:
        return trained
    weights = trained.state_dict()
    needed = model.state_dict()
    for key in {**needed, **weights}:
        if key not in needed or key not in weights or needed[key].shape != weights[key].shape:
            raise BadInput(
                f"The weights of '{name}' are of another architecture ({key} differs); leave "
                f"{', '.join(given)} out, or take the encoder without its weights."
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
