"""Construct what a run's settings name: its encoder, its method or estimator, with their options checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from torch import nn

from vergence.core import BadInput, Estimator, Method, RunConfig, unknown
from vergence.core.kinds import fits
from vergence.data import Source
from vergence.engine.encoders import Given, initial_encoder, new_encoder

M = TypeVar("M")
_FITTED = ("size", "epochs", "batch_size", "lr", "optimizer", "weight_decay", "warmup", "save_every", "log")


def check_options(
    cls: type[Method] | type[Estimator], config: RunConfig, made: bool, given: Sequence[str]
) -> None:
    """Raise ``BadInput`` for options that a method lacks or does not have, or any of one that is made.

    Args:
        cls: Of the method.
        config: With the method's options.
        made: Whether the method is made already.
        given: Names of the arguments that are for the method or its encoder.
    """
    if made and given:
        raise BadInput(f"This {cls.__name__} is made already: say its {given[0]} where it is made.")
    options = _options(cls)
    for name, value in (config.options or {}).items():
        if name not in options:
            raise unknown(f"option of {config.method}", name, list(options))
        if isinstance(value, nn.Module):
            raise BadInput(
                f"{name} is a network, which config.yaml cannot hold: give its name, such as run:PATH, or "
                f"make the method yourself, learn({cls.__name__}(encoder, {name}=...), ...)."
            )
    for name, option in () if made else options.items():
        if option.default is option.empty and name not in (config.options or {}):
            raise BadInput(f"{cls.__name__} needs its {name}: learn({cls.__name__}, ..., {name}=...).")


def check_kinds(cls: type[Method], config: RunConfig, folder: Path) -> None:
    """Raise ``BadInput`` for an option in a run's folder that is not of the kind that the method declares."""
    try:
        kinds = get_type_hints(cls.__init__)
    except NameError:  # of a name that only type checkers import
        return
    for name, value in (config.options or {}).items():
        if name not in kinds:
            raise unknown(f"option of {config.method}", str(name), list(kinds))
        if not fits(value, kinds[name]):
            raise BadInput(
                f"{folder / 'config.yaml'} has options.{name}: {value!r:.60}; {cls.__name__} takes none such."
            )


def construct_encoder(cls: type[Method], config: RunConfig, source: Source, given: Given | None) -> nn.Module:
    """Make the encoder that the settings name or that is given, else the recipe's, else the source's."""
    size = config.size or cls.recipe.size
    if config.init is not None:
        init_size = size if config.init.startswith("timm:") else config.size
        return initial_encoder(config.init, source, size=init_size, **config.encoder_options)
    name = cls.recipe.encoder if given is None else given
    return new_encoder(name, source, size=size, **config.encoder_options)


def construct_estimator(
    estimator: Estimator | type[Estimator], config: RunConfig, encoder: Given | None, **more: Any
) -> Estimator:
    """Make an estimator; of ``learn``'s own settings it takes those that it has an option for."""
    cls = type(estimator) if isinstance(estimator, Estimator) else estimator
    settings = {
        "encoder": encoder,
        "init": config.init,
        **more,
        **{name: getattr(config, name) for name in _FITTED},
    }
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        if name not in inspect.signature(cls).parameters:
            raise BadInput(
                f"{cls.__name__} is fitted, not trained by steps: it has no --{name.replace('_', '-')}."
            )
        if isinstance(estimator, Estimator):
            raise BadInput(f"This {cls.__name__} is made already: say its {name} where it is made.")
    if isinstance(estimator, Estimator):
        return estimator
    return construct(cls, **given, **(config.options or {}))


def construct(cls: Callable[..., M], *args: nn.Module, **options: Any) -> M:
    """Make a method; an option out of its range is the user's mistake."""
    try:
        return cls(*args, **options)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _options(cls: type[Method] | type[Estimator]) -> dict[str, inspect.Parameter]:
    """Return the options of a method by name: the arguments of its constructor, but for the encoder."""
    parameters = list(inspect.signature(cls).parameters.values())
    given = parameters[1:] if issubclass(cls, Method) else parameters
    return {p.name: p for p in given if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
