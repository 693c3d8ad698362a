"""Heads: small networks on top of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from vergence.core import BadInput, Features, pooled


class Head(nn.Sequential):
    """Layers applied to an encoder's vectors ``(B, D)``; takes ``Features`` and tensors alike."""

    def forward(self, input: Tensor | Features) -> Tensor:  # the name is torch's
        return super().forward(pooled(input))


def mlp(
    *widths: int,
    norm: bool = True,
    act: Callable[[], nn.Module] = nn.ReLU,
    last_norm: bool = False,
    last_affine: bool = True,
    last_bias: bool = True,
) -> Head:
    """Return linear layers of the given widths with batch norm and activation in between.

    A linear layer that is followed by batch norm has no bias of its own: the norm would remove it.

    Args:
        widths: Input, hidden and output widths, at least two.
        norm: Batch norm between the layers.
        act: Makes the activation between the layers.
        last_norm: Batch norm after the last layer.
        last_affine: That norm learns a scale and a shift.
        last_bias: The last layer has a bias, unless ``last_norm`` follows it.

    Raises:
        ValueError: If fewer than two widths are given or one is below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"mlp needs two or more widths, each at least 1; got {widths}.")
    layers: list[nn.Module] = []
    for into, out in pairwise(widths[:-1]):
        layers += [nn.Linear(into, out, bias=not norm), *([nn.BatchNorm1d(out)] if norm else []), act()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias and not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(widths[-1], affine=last_affine))
    return Head(*layers)


def width_of(encoder: nn.Module) -> int:
    """Return the width D of an encoder's vectors, which every encoder states as ``out_dim``.

    Raises:
        BadInput: If it does not.
    """
    width = getattr(encoder, "out_dim", None)
    if not isinstance(width, int):
        raise BadInput(
            f"An encoder needs the attribute out_dim, the width of its vectors; "
            f"{type(encoder).__name__} has {width!r}. Set it."
        )
    return width
