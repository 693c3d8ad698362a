"""Encoders that come with the library: small ones that it trained itself, with the card of their run."""

from __future__ import annotations

import json
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import nn

from vergence.core import unknown
from vergence.core.modality import find_modality

FOLDER = "weights"


def shipped() -> list[str]:
    """Return the names of the encoders that come with the library, as they stand after "vergence:".

    >>> shipped()
    ['conv-tiny', 'vit-tiny']
    """
    return sorted(
        file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json")
    )


def card(name: str) -> dict[str, Any]:
    """Return what is known of a shipped encoder.

    ``spec`` and ``modality`` (how it is built), ``method``, ``teacher``, ``data`` (with its terms),
    ``images`` (seen in training), ``minutes``, ``scores`` by data and measure, beside those of rivals.

    Raises:
        BadInput: If there is none of that name.
    """
    if name not in (names := shipped()):
        raise unknown("encoder that vergence ships", name, names)
    return json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))


def load_shipped(name: str) -> nn.Module:
    """Return the encoder in evaluation mode, its weights as float32.

    Raises:
        BadInput: If there is none of that name.
    """
    known = card(name)
    net: nn.Module = find_modality(known["modality"]).load("encoders").build(**known["spec"])
    net.load_state_dict(read_tensors((_folder() / f"{name}.safetensors").read_bytes()))
    return net.eval()


def pack(net: nn.Module) -> bytes:
    """Return the weights of an encoder as a safetensors file, floats at half their size (bfloat16)."""
    weights = {
        name: (value.bfloat16() if value.is_floating_point() else value).contiguous()
        for name, value in net.state_dict().items()
    }
    return write_tensors(weights)


def _folder() -> Traversable:
    return resources.files("vergence.nets") / FOLDER
