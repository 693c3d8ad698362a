"""Networks of the user's own: they get tensors, and what they answer is checked once, when they are taken."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vergence.core import BadInput, Features, pooled
from vergence.core.specs import own_class, own_spec, place_of

E = TypeVar("E", bound=nn.Module)
Own: TypeAlias = nn.Module | Mapping[str, Any] | Callable[[int], nn.Module]
WIDTHS = ("in_dim", "in_channels", "in_features")  # of a constructor: how wide what the network reads is


def own_module(own: Own, in_dim: int) -> nn.Module:
    """Return a network as it was given, or make it.

    Args:
        own: The network; or its spec, "package.module:Class" and options; or what makes it.
        in_dim: Width of what it reads, for what makes it.

    Raises:
        BadInput: If its class is not loaded, or cannot be made with these options.
    """
    if isinstance(own, nn.Module):
        return own
    if not isinstance(own, Mapping):
        return own(in_dim)
    return made_of(own_class(str(own.get("name"))), {k: v for k, v in own.items() if k != "name"})


def made_of(cls: type[nn.Module], options: Mapping[str, Any], in_dim: int | None = None) -> nn.Module:
    """Make a network of a class of the user's own, which from then on knows its spec.

    Args:
        cls: Of the network.
        options: Arguments.
        in_dim: Width of what it reads: given under the first of ``WIDTHS`` that it takes.

    Raises:
        BadInput: If it cannot be made.
    """
    takes = inspect.signature(cls).parameters
    width = next((name for name in WIDTHS if name in takes and name not in options), None)
    if in_dim is not None and width is not None:
        options = {**options, width: in_dim}
    try:
        made = cls(**options)
    except Exception as error:  # it is the user's code
        raise BadInput(f"The encoder {cls.__name__} cannot be made: {_said(error)}.") from error
    name = cls.__name__ if "<locals>" in cls.__qualname__ else place_of(cls)
    made.spec = {"name": name, **options}  # type: ignore[assignment]
    return made


def renewed(net: nn.Module) -> nn.Module | None:
    """Return the same network with new random weights, or None where some could not be drawn anew."""
    with contextlib.suppress(BadInput):
        first, second = (own_module(own_spec(net), 0) for _ in range(2))
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        if any(not is_lazy(a) and not torch.equal(a, b) for a, b in pairs):
            return second  # else its constructor sets the weights, or leaves all for later
    new = copy.deepcopy(net)
    for module in new.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            return None
    return new


def rebuilt(encoder: nn.Module, build: Callable[..., E]) -> E | None:
    """Return the encoder of a network of the user's own with new random weights, or None where it has none.

    Args:
        encoder: With its ``net``, and a ``spec`` by which ``build`` makes it.
        build: The modality's.
    """
    spec: Any = encoder.spec
    net = renewed(encoder.get_submodule("net"))
    if net is None:
        return None
    new = build(**{**spec, "own": net})
    new.spec = dict(spec)  # type: ignore[assignment]
    return new


@torch.no_grad()
def width_of_answer(
    encode: Callable[[Any], Tensor | Features], net: nn.Module, example: Any, gets: str
) -> int:
    """Return the width D of an encoder's vectors, found by one forward pass of a made-up example.

    Layers that find their own widths, such as ``nn.LazyLinear``, have them from then on.

    Args:
        encode: Gives ``net`` the example, or parts of it, and returns its ``answer``.
        net: Of the user's own; in evaluation mode for the while.
        example: Of two samples or more; it is taken to where ``net`` is.
        gets: What ``net`` is given, in words.

    Raises:
        BadInput: If ``net`` raises, or answers with something else than vectors.
    """
    training, first = net.training, next(net.parameters(), None)
    if first is not None:
        example = example.to(first.device)
    net.eval()
    try:
        output = encode(example)
    except BadInput:
        raise
    except Exception as error:  # it is the user's code
        raise BadInput(f"{_name(net)} cannot read {gets}, which it is given: {_said(error)}.") from error
    finally:
        net.train(training)
    return int(pooled(output).shape[1])


def answer(output: Any, net: nn.Module, counts: int | Iterable[int], *, maps: bool = False) -> Features:
    """Return what a network answered as ``Features``.

    Args:
        output: Vectors ``(B, D)`` or ``Features``; with ``maps`` also maps ``(B, D, h, w)``, whose vectors
            are their means.
        net: That answered, for errors.
        counts: How many rows it may have.
        maps: Whether maps are understood.

    Raises:
        BadInput: If it is something else.
    """
    rows = (counts,) if isinstance(counts, int) else tuple(counts)
    if isinstance(output, Features):
        return output
    if (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and len(output.shape)
        and len(output) in rows
    ):
        if output.ndim == 2:
            return Features(output)
        if output.ndim == 4 and maps:
            return Features.of_map(output.mean((2, 3)), output)
    wanted = f"one vector a sample, a float tensor ({' or '.join(map(str, rows))}, D)"
    hint = ""
    if isinstance(output, Tensor) and output.ndim == 3:
        hint = " Pool what it has of each sample, for instance by .mean(1)."
    elif isinstance(output, tuple | list | Mapping):
        hint = " Return the vectors alone."
    raise BadInput(
        f"{_name(net)} returned {_kind(output)}; an encoder returns {wanted}"
        f"{', or a map (B, D, h, w)' if maps else ''}.{hint}"
    )


def _kind(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)} of {str(output.dtype).removeprefix('torch.')}"
    if isinstance(output, tuple | list) and output:
        return f"a {type(output).__name__} of {', '.join(type(part).__name__ for part in output[:3])}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} of {', '.join(map(str, list(output)[:3]))}"
    return "nothing" if output is None else f"a {type(output).__name__}"


def _name(net: nn.Module) -> str:
    return type(net).__name__


def _said(error: Exception) -> str:
    said = " ".join(str(error).split())[:200].rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
