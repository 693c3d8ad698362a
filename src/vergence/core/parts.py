"""Parts of a network that are exchanged while it trains: layers stay, sizes may change."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Sizes = dict[str, dict[str, Any]]  # by the name of a submodule: its plain settings, such as out_features


def layers(module: nn.Module) -> dict[str, type[nn.Module]]:
    """Return the kind of every submodule by name; all batch norms are of one kind."""
    return {n: _BatchNorm if isinstance(m, _BatchNorm) else type(m) for n, m in module.named_modules()}


def sizes(module: nn.Module) -> Sizes:
    """Return what is set on every submodule besides tensors: widths, probabilities, switches."""
    return {
        name: {
            key: value
            for key, value in vars(part).items()
            if not key.startswith("_") and key != "training" and isinstance(value, int | float | str | None)
        }
        for name, part in module.named_modules()
    }


def resize(module: nn.Module, sizes: Sizes) -> None:
    """Set on every submodule what ``sizes`` returned of another of the same layers.

    Raises:
        AttributeError: If it has other submodules.
    """
    for name, settings in sizes.items():
        vars(module.get_submodule(name)).update(settings)
