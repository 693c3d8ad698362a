"""Specs of encoders: a name, options, and the spec of an encoder that is wrapped.

A *spec* is what makes an encoder again, without its weights: ``{"name": ..., **options}``, as a run's
``config.yaml`` has it. The name is short ("gcn"), or says where a class lies: "package.module:Class". An
encoder that wraps another has that one's spec as its option ``encoder``, and one that wraps a network of the
user's own has that one's as ``own``.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
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
        anywhere: Whether it may be loaded from outside vergence: only if the caller chose it, never if a file
            did; what a file names outside must be loaded already, see ``own_class``.

    Raises:
        BadInput: If it lies elsewhere, or there is no such network.
    """
    module = place.partition(":")[0]
    if not anywhere and module.partition(".")[0] != "vergence":
        return own_class(place)
    try:
        if anywhere:
            load_module(module)
        else:
            importlib.import_module(module)
    except (BadInput, ModuleNotFoundError) as error:
        raise BadInput(f"There is no encoder at '{place}': {error.__cause__ or error}.") from error
    if (cls := _network(place)) is None:
        raise BadInput(f"There is no encoder at '{place}': {module} has no network of that name.")
    return cls


def load_module(name: str) -> None:
    """Import a module that the user has named; one in the working folder is there, as for ``python -m``.

    Raises:
        BadInput: If there is none of that name.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(name)
    except (ModuleNotFoundError, ValueError) as error:
        raise BadInput(f"There is no module '{name}': {error}.") from error


def own_class(place: str) -> type[nn.Module]:
    """Return the user's own network at "package.module:Class" that a run's folder names.

    It is defined in a module that the user has imported already, and not in an installed package: a run's
    folder does not choose what code is loaded.

    Raises:
        BadInput: If there is none such.
    """
    module, _, name = place.partition(":")
    loaded = sys.modules.get(module) is not None
    cls = _network(place) if loaded and not _is_installed(module) else None
    if cls is None or cls.__module__ != module:
        helps = name and not loaded
        said = f"import {module} first (--import {module}), or pass it again" if helps else "pass it again"
        raise BadInput(
            f"The run's encoder is your own {place}: {said}, load(run, encoder=...) or "
            "resume(run, encoder=...); a folder does not choose what code is loaded."
        )
    return cls


def own_spec(net: nn.Module) -> dict[str, Any]:
    """Return what makes a network of the user's own again: its class and options, where they are known.

    Of an object they are known where its class takes no options; else the spec is only what it is called.
    """
    if isinstance(spec := getattr(net, "spec", None), Mapping) and "name" in spec:
        return dict(spec)
    cls: Any = type(net)
    base: Any = _module()
    plain = cls.__init__ is base.__init__ or len(inspect.signature(cls.__init__).parameters) == 1
    return {"name": place_of(cls) if plain and "<locals>" not in cls.__qualname__ else cls.__name__}


def is_own(net: nn.Module | type[nn.Module]) -> bool:
    """Say whether a network is the user's own and knows nothing of vergence: no base class is of vergence."""
    cls = net if inspect.isclass(net) else type(net)
    return not any(base.__module__.partition(".")[0] == "vergence" for base in cls.__mro__)


def _module() -> type[nn.Module]:
    from torch import nn

    return nn.Module


def _network(place: str) -> type[nn.Module] | None:
    """Return the network at a place whose module is loaded, None where there is none."""
    module, _, name = place.partition(":")
    cls: Any = sys.modules[module]
    for part in name.split("."):
        cls = getattr(cls, part, None)
    if not (inspect.isclass(cls) and issubclass(cls, _module())):
        return None
    return cls if "." not in name or cls.__qualname__ == name else None  # not through what it imports


def _is_installed(module: str) -> bool:
    """Say whether a loaded module lies where packages are installed, or comes with Python."""
    file = getattr(sys.modules[module], "__file__", None)
    folders = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    return file is not None and bool(folders & set(Path(file).resolve().parents))


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
    """Return the spec of the encoder, or the network of the user's own, that is wrapped by all others.

    >>> innermost({"name": "a.b:C", "encoder": {"name": "gcn"}})["name"]
    'gcn'
    """
    while isinstance(inner := spec.get("encoder", spec.get("own")), Mapping):
        spec = inner
    return spec


def name_of(encoder: nn.Module) -> str:
    """Return what to call an encoder in a message: by its spec, else by its class."""
    spec = getattr(encoder, "spec", None)
    return label(spec) if spec else type(encoder).__name__


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
    if isinstance(spec.get("own"), Mapping):
        return label(spec["own"])
    name = str(spec.get("name", "own"))
    name = name.partition(":")[2] if is_place(name) else name
    return f"{name} of {label(spec['encoder'])}" if isinstance(spec.get("encoder"), Mapping) else name
