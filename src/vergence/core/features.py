"""Features: what an encoder returns when more than a vector a sample is wanted, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

InputSpec: TypeAlias = Mapping[str, int]  # words of the modality: {"size": 224} of images
FACETS = ("token", "query", "key", "value")


@dataclass(frozen=True, slots=True)
class Features:
    """One forward pass of an encoder, seen at several grains.

    Args:
        pooled: ``(B, D)``, one vector a sample.
        tokens: ``(B, N, D)``, one vector a part, without class and register tokens.
        grid: How many parts lie along each axis, in the order of ``tokens``: (h, w), (t, h, w) or (d, h, w);
            None where parts do not lie on a grid.
        stride: How far neighbouring parts' centres are apart along each axis of the grid, in pixels; None
            where that is not known.
        offset: Where the first part's centre lies along each axis, in pixels from the outer corner.
        valid: ``(B, N)`` bool, which parts are of something and not of padding; None: all.
        layer: Of which they are, counted from 0; -1 is the encoder's output.
        facet: What of that layer: "token", or of its attention "query", "key" or "value", heads side by side.
        extra: What a readout asked for by name, such as ``attention (B, heads, T, T)`` and
            ``keys (B, heads, T, d)`` of the last layer; T counts class and register tokens too.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    grid: tuple[int, ...] | None = None
    stride: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    valid: Tensor | None = None
    layer: int = -1
    facet: str = "token"
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of_map(cls, pooled: Tensor, cells: Tensor, **known: Any) -> Features:
        """Build them from a map ``(B, D, h, w)`` in place of tokens and grid."""
        return cls(pooled, cells.flatten(2).transpose(1, 2), tuple(cells.shape[2:]), **known)

    @property
    def map(self) -> Tensor | None:
        """The tokens in their places, ``(B, D, h, w)`` or as many axes as the grid has; None without."""
        if self.tokens is None or self.grid is None:
            return None
        return self.tokens.transpose(1, 2).unflatten(2, self.grid)

    def at(self, xy: Tensor) -> Tensor:
        """Return vectors ``(B, K, D)`` at points ``(B, K, 2)`` in pixels, mixed bilinearly between centres.

        Beyond the outermost centres the nearest one counts.

        Raises:
            ValueError: Without a grid of two axes and known ``stride`` and ``offset``.
        """
        cells = self.map
        if cells is None or cells.ndim != 4 or self.stride is None or self.offset is None:
            raise ValueError("Features.at needs tokens on a grid (h, w) with stride and offset.")
        (h, w), (down, right), (top, left) = cells.shape[2:], self.stride, self.offset
        step, first = xy.new_tensor([right, down]), xy.new_tensor([left, top])
        cell = (xy - first) / step + 0.5  # in cells; the first centre is 0.5
        place = (2 * cell / xy.new_tensor([w, h]) - 1).to(cells.dtype)
        sampled = grid_sample(
            cells, place[:, None], mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled[:, :, 0].transpose(1, 2)

    def at_pixels(self, height: int, width: int) -> Tensor:
        """Return vectors ``(B, D, height, width)`` at the centres of all pixels; see ``at``."""
        y, x = (torch.arange(n, device=self.pooled.device) + 0.5 for n in (height, width))
        at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(1, -1, 2)
        return self.at(at.expand(len(self.pooled), -1, -1)).transpose(1, 2).unflatten(2, (height, width))

    def centres(self) -> Tensor:
        """Return the parts' centres ``(N, 2)`` as (x, y) in pixels; see ``at`` for what is raised."""
        if self.grid is None or len(self.grid) != 2 or self.stride is None or self.offset is None:
            raise ValueError("Features.centres needs a grid (h, w) with stride and offset.")
        y, x = (torch.arange(n) * s + o for n, s, o in zip(self.grid, self.stride, self.offset, strict=True))
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)


def pooled(output: Tensor | Features) -> Tensor:
    """Return the ``(B, D)`` vectors of an encoder's output, whichever way it answers."""
    return output.pooled if isinstance(output, Features) else output


def input_spec(encoder: nn.Module) -> InputSpec | None:
    """Return what a loader must deliver to an encoder, in the words of its modality.

    An encoder of images says ``{"size": 224}``, their side in pixels. None where any batch will do,
    as with graphs, tables and event histories.
    """
    return getattr(encoder, "input_spec", None)


def reading_spec(encoder: nn.Module) -> InputSpec | None:
    """Return what a loader must deliver for vectors of whole samples: larger photos, where they are cut.

    An encoder that does not say its ``reading_spec`` gets its ``input_spec``.
    """
    return _first(encoder, "reading_spec") or input_spec(encoder)


def preprocessing(encoder: nn.Module) -> dict[str, Any]:
    """Return what happens to a sample before an encoder's first layer, in plain values.

    An encoder of images says how they are resized, cut and normalised; any other, its ``input_spec``.
    """
    return dict(_first(encoder, "preprocessing") or input_spec(encoder) or {})


def _first(encoder: nn.Module | None, name: str) -> Mapping[str, Any] | None:
    """Return what an encoder, or else one that it wraps as its ``backbone``, says under a name."""
    while isinstance(encoder, nn.Module):
        if isinstance(said := getattr(encoder, name, None), Mapping):
            return said
        encoder = getattr(encoder, "backbone", None)
    return None
