"""Encoders by name: new ones, those of runs, and those that bring weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from vergence.core import BadInput, RunConfig, input_spec, unknown
from vergence.core.modality import find_modality, known_modalities
from vergence.core.specs import BRING_WEIGHTS, class_at, is_place
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.files import first_line
from vergence.engine.identity import identity
from vergence.engine.run import Run, load_encoder, read_config
from vergence.store.reading import TableReader
from vergence.store.rows import check_same_encoder
from vergence.store.table import Store


def encoder(
    name: str, source: str | Path | Source | None = None, *, modality: str | None = None, **options: Any
) -> nn.Module:
    """Return an encoder by its name.

    Args:
        name: Of the library ("resnet-tiny", "gcn"); "timm:NAME"; "run:PATH", the trained encoder of a run;
            "vergence:NAME", one that the library ships; "package.module:Class", which may be your own.
        source: Data that it is to read, or what ``vergence.open`` understands; it says sizes and widths.
        modality: Of the data, such as "graph"; None takes the source's, or the first that has the name.
        **options: Of the encoder, such as ``width=64``, ``size=32``, or ``pretrained=True`` for timm's.

    Raises:
        BadInput: If there is none of that name, or an option does not fit.

    >>> encoder("resnet-tiny", size=32, width=16).out_dim
    64
    """
    scheme = name.partition(":")[0]
    if scheme in ("run", "vergence"):
        if options:
            raise BadInput(f"{name} is trained and takes no options; got {next(iter(options))}.")
        return with_weights(name)
    source = None if source is None else open_source(source)
    if is_place(name) and not name.startswith("vergence."):
        return _own(name, source, options)
    modality = modality or (_modality_of(name) if source is None else source.modality)
    if (reads := _bringing(scheme)) not in (None, modality):
        raise BadInput(f"{name} reads {find_modality(reads).noun}; these are {find_modality(modality).noun}.")
    encoders = _encoders_of(modality)
    return encoders.build(name, **options) if source is None else encoders.for_source(source, name, **options)


def new_encoder(name: str | None, source: Source, *, size: int | None = None, **options: Any) -> nn.Module:
    """Return an untrained encoder for a source; None takes the one that suits it.

    Raises:
        BadInput: As ``encoder`` does, and if the name is of one with weights.
    """
    if name is None:
        return _encoders_of(source.modality).for_source(source, size=size, **options)
    if name.partition(":")[0] in ("run", "vergence"):
        raise BadInput(f"{name} has weights: start from it with --init {name}, in place of --encoder.")
    sized: dict[str, Any] = {} if size is None else {"size": size}
    return encoder(name, source, **sized, **options)


def with_weights(
    name: str, source: Source | None = None, *, size: int | None = None, **options: Any
) -> nn.Module:
    """Return an encoder that comes with its weights, in evaluation mode.

    Args:
        name: "run:PATH", "timm:NAME", "vergence:NAME", or "package.module:Class", which loads them
            itself.
        source: Data that it is to read; None where any will do.
        size: Side of the images in pixels, of timm's; None takes the one that its weights were trained at.
        **options: Of timm's, and of a class.

    Raises:
        BadInput: If the name brings no weights, they cannot be had, or do not fit source, size or options.
    """
    scheme, _, rest = name.partition(":")
    if is_place(name) and not name.startswith("vergence."):
        return _own(name, source, options).eval()
    if scheme not in _WITH_WEIGHTS:
        hint = f"did you mean run:{name}?" if (Path(name) / "config.yaml").is_file() else "see --encoder."
        raise BadInput(f"--init needs weights, run:PATH or timm:NAME; got {name}: {hint}")
    if scheme == "timm":
        sized: dict[str, Any] = {} if size is None else {"size": size}
        options = {**sized, **options, "pretrained": True}
    elif options:
        raise BadInput(f"{name} has its architecture already; leave {next(iter(options))} out.")
    modality, make = _WITH_WEIGHTS[scheme](rest)
    if source is not None and modality != source.modality:
        raise BadInput(
            f"{name} learned from another modality ({modality}) than that of {source.uri} "
            f"({source.modality})."
        )
    net = make(**options)
    has = (input_spec(net) or {}).get("size")
    if size is not None and has not in (None, size):
        raise BadInput(f"{name} looks at images of {has} pixels; leave --size {size} out.")
    return net.eval()


def initial_encoder(init: str, source: Source, *, size: int | None = None, **options: Any) -> nn.Module:
    """Return the encoder that learning begins with, in training mode; see ``with_weights``.

    timm's gets images of the size that suits the source where none is asked for.
    """
    if size is None and init.startswith("timm:") and hasattr(source, "shorter_sides"):
        size = _encoders_of(source.modality).suited_size(source)
    return with_weights(init, source, size=size, **options).train()


def encoder_of(store: TableReader | str | Path, column: str = "vector") -> nn.Module:
    """Return the encoder that made the vectors of a store, ready to embed what is to be compared with them.

    Args:
        store: Opened, or where it lies.
        column: Which vectors.

    Raises:
        BadInput: If the store does not say which it was, it cannot be had by its name, or is another by now.
    """
    store = Store.open(store) if isinstance(store, str | Path) else store
    store.width(column)
    name = str((store.about.get("models") or {}).get(column) or "")
    known = store.encoders.get(column) or {}
    if name.startswith(BRING_WEIGHTS):
        timms = name.startswith("timm:")
        net = with_weights(name, size=(known.get("preprocessing") or {}).get("crop") if timms else None)
    elif name and (Path(name.removeprefix("run:")) / "config.yaml").is_file():
        net = load(name)
    else:
        what = f"the encoder of {column} was {name}, which is not there" if name else "it does not say which"
        raise BadInput(
            f"{store.path} cannot tell its encoder: {what}. Pass the encoder that filled it (encoder=..., "
            "--encoder RUN)."
        )
    check_encoder_of(store, net, column)
    return net


def check_encoder_of(store: TableReader, net: nn.Module, column: str = "vector") -> None:
    """Raise ``BadInput`` if an encoder is known to be another than the one that filled a store."""
    check_same_encoder(store.path, store.encoders.get(column), identity(net))


def encoder_from(config: RunConfig) -> nn.Module:
    """Build the untrained encoder that a run's settings name.

    Raises:
        BadInput: If it was a module of the user's own.
    """
    spec = dict(config.encoder or {})
    name = str(spec.get("name"))
    encoders = _encoders_of(config.modality)
    bare = set(spec) <= {"name"} and not is_place(name) and name not in encoders.names()
    if bare or (is_place(name) and not name.startswith("vergence.")):
        raise BadInput(
            f"The run's encoder is your own {name}: pass it again, load(run, encoder=...) or "
            "resume(run, encoder=...)."
        )
    try:
        built: nn.Module = encoders.build(**spec)
    except BadInput:
        raise
    except Exception as error:  # a file may ask for any sizes of any layers
        raise BadInput(f"The run's encoder {name} cannot be built: {first_line(error)}.") from error
    return built


def load(run: str | Path, *, encoder: nn.Module | None = None) -> nn.Module:
    """Return the trained encoder of a run, in evaluation mode, ready to embed, fine-tune or export.

    Args:
        run: The run's folder; "run:PATH" is understood too.
        encoder: The architecture, where it was one of your own.

    Raises:
        BadInput: If the folder is not a finished run, or the weights do not fit.
    """
    folder = _folder(run)
    net = encoder if encoder is not None else encoder_from(read_config(folder))
    return load_encoder(net, folder / "encoder.safetensors").eval()


def open_run(path: str | Path) -> Run:
    """Return the finished run at ``path`` with its trained encoder."""
    return Run(_folder(path), load(path))


def _folder(run: str | Path) -> Path:
    return Path(run.removeprefix("run:")) if isinstance(run, str) else run


def _of_run(path: str) -> tuple[str, Callable[..., nn.Module]]:
    return read_config(Path(path)).modality, partial(load, path)


def _of_timm(name: str) -> tuple[str, Callable[..., nn.Module]]:
    return "image", partial(encoder, f"timm:{name}", modality="image")


def _shipped(name: str) -> tuple[str, Callable[..., nn.Module]]:
    raise BadInput(
        f"vergence ships no encoder '{name}', nor any other yet; start from run:PATH or timm:NAME."
    )


# By scheme: what reads a name's modality, and then makes its encoder with its weights.
_WITH_WEIGHTS: dict[str, Callable[[str], tuple[str, Callable[..., nn.Module]]]] = {
    "run": _of_run,
    "timm": _of_timm,
    "vergence": _shipped,
}


def _own(name: str, source: Source | None, options: dict[str, Any]) -> nn.Module:
    """Make an encoder of the user's own class, which the user has named."""
    cls: Any = class_at(name, anywhere=True)
    try:
        if source is not None and hasattr(cls, "for_source"):
            made: nn.Module = cls.for_source(source, **options)
        else:
            made = cls(**options)
    except TypeError as error:
        raise BadInput(f"{name} cannot be made: {error}.") from error
    made.spec = {"name": name, **options}  # type: ignore[assignment]
    return made


def _modality_of(name: str) -> str:
    if is_place(name):
        words = name.split(".")
        return words[2] if words[1] == "methods" else "image"
    if (modality := _bringing(name.partition(":")[0])) is not None:
        return modality
    names = {known: m.name for m in known_modalities() for known in m.load("encoders").names()}
    base = name if name in names else name.partition(".")[0]  # timm's may end in the tag of their weights
    if base in names:
        return names[base]
    near = difflib.get_close_matches(base, names, n=1)
    raise (
        unknown("encoder", name, near)
        if near
        else BadInput(
            f"Unknown encoder '{name}'; needs a name such as resnet-tiny or gcn, timm:NAME, run:PATH or "
            "package.module:Class."
        )
    )


def _bringing(scheme: str) -> str | None:
    """Return the modality whose encoders a scheme such as "timm" names."""
    names = (m.name for m in known_modalities() if scheme in getattr(_encoders_of(m.name), "SCHEMES", ()))
    return next(names, None)


def _encoders_of(modality: str) -> Any:
    return find_modality(modality).load("encoders")
