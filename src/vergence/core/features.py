"""What an encoder takes, and what it returns when more than one vector a sample is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor, nn

InputSpec: TypeAlias = Mapping[str, int]  # words of the modality: {"size": 224} of images


@dataclass(frozen=True, slots=True)
class Features:
    """One forward pass of an encoder, seen at several grains.

    Args:
        pooled: ``(B, D)``, one vector a sample.
        map: ``(B, D, h, w)``, one vector a cell, where the encoder has a grid.
        tokens: ``(B, N, D)``, one vector a part, without class and register tokens.
        extra: What a readout asked for by name, such as ``attention (B, heads, T, T)`` and
            ``keys (B, heads, T, d)`` of the last layer; T counts class and register tokens too.
    """

    pooled: Tensor
    map: Tensor | None = None
    tokens: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)


def pooled(output: Tensor | Features) -> Tensor:
    """Return the ``(B, D)`` vectors of an encoder's output, whichever way it answers."""
    return output.pooled if isinstance(output, Features) else output


def input_spec(encoder: nn.Module) -> InputSpec | None:
    """Return what a loader must deliver to an encoder, in the words of its modality.

    An encoder of images says ``{"size": 224}``, their side in pixels. None where any batch will do,
    as with graphs, tables and event histories.
    """
    return getattr(encoder, "input_spec", None)
