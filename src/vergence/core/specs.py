"""Specs of encoders: a name, options, and the spec of an encoder that is wrapped.

A *spec* is what makes an encoder again, without its weights: ``{"name": ..., **options}``, as a run's
``config.yaml`` has it. The name is short ("gcn"), or says where a class lies: "package.module:Class". An
encoder that wraps another has that one's spec as its option ``encoder``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from vergence.core.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

SCHEMES = ("timm", "run", "vergence")  # names of encoders that are no classes

BRING_WEIGHTS = ("timm:", "vergence:")  # how names begin that bring weights without a run


def is_place(name: str | None) -> TypeGuard[str]:
    """Say whether a name is that of a class, "package.module:Class".

    >>> [is_place(name) for name in ("gcn", "timm:resnet18", "vergence.methods.graph.gcc:StructureGIN")]
    [False, False, True]
    """
    return name is not None and ":" in name and name.partition(":")[0] not in SCHEMES


def place_of(cls: type) -> str:
    """Return what ``class_at`` finds a class by."""
    return f"{cls.__module__}:{cls.__qualname__}"


def class_at(place: str, *, anywhere: bool = False) -> type[nn.Module]:
    """Return the network at "package.module:Class".

    Args:
        place: Where it lies.
        anywhere: Whether it may lie outside vergence: only if the caller chose it, never if a file did, for a
            run's folder must not choose what code is loaded.

    Raises:
        BadInput: If it lies elsewhere, or there is no such network.
    """
    from torch import nn

    module, _, name = place.partition(":")
    if not anywhere and module.partition(".")[0] != "vergence":
        raise BadInput(f"'{place}' is not in vergence, and a file does not choose what code is loaded.")
    try:
        cls = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise BadInput(f"There is no encoder at '{place}': {error}.") from error
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise BadInput(f"There is no encoder at '{place}': {module} has no network of that name.")
    return cls


def wrapping(wrapper: nn.Module, encoder: nn.Module, **options: Any) -> dict[str, Any]:
    """Return the spec of a network that wraps an encoder, empty where that one has none.

    Args:
        wrapper: Its class takes the encoder as its argument ``encoder``.
        encoder: What it wraps.
        **options: Its other arguments.
    """
    inner = getattr(encoder, "spec", None)
    return {"name": place_of(type(wrapper)), **options, "encoder": inner} if inner else {}


def innermost(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spec of the encoder that is wrapped by all others.

    >>> innermost({"name": "a.b:C", "encoder": {"name": "gcn"}})["name"]
    'gcn'
    """
    while isinstance(spec.get("encoder"), Mapping):
        spec = spec["encoder"]
    return spec


def encoder_difference(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Say in what one encoder differs from another, "" where nothing is known to differ.

    Args:
        before: Identity of the one, as ``engine.identity`` makes it; None or empty where it is not known.
        now: Of the other.

    >>> encoder_difference({"weights": "a", "preprocessing": {"crop": 8}}, {"preprocessing": {"crop": 16}})
    'its crop is 16 and was 8'
    """
    if not before or not now:
        return ""
    was, came = (identity.get("preprocessing") or {} for identity in (before, now))
    for name in {**was, **came}:
        if was.get(name) != came.get(name):
            return f"its {name} is {came.get(name)} and was {was.get(name)}"
    return "" if before.get("weights") == now.get("weights") else "its weights are others"


def label(spec: Mapping[str, Any] | None) -> str:
    """Return what to call an encoder in a report.

    >>> label({"name": "vergence.nets.descriptor:Descriptor", "dim": 8, "encoder": {"name": "resnet-tiny"}})
    'Descriptor of resnet-tiny'
    """
    if not spec:
        return "own"
    name = str(spec.get("name", "own"))
    name = name.partition(":")[2] if is_place(name) else name
    return f"{name} of {label(spec['encoder'])}" if isinstance(spec.get("encoder"), Mapping) else name
