"""Encoders by name: new ones, those of runs, and those that bring weights."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from torch import nn

from vergence.core import BadInput, RunConfig, unknown
from vergence.core.modality import find_modality, known_modalities
from vergence.core.specs import class_at, is_place
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.files import first_line
from vergence.engine.run import Run, load_encoder, read_config


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
    scheme, _, rest = name.partition(":")
    if scheme in ("run", "vergence"):
        if options:
            raise BadInput(f"{name} is trained and takes no options; got {next(iter(options))}.")
        return load(rest) if scheme == "run" else _shipped(rest)
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


def initial_encoder(init: str, source: Source, *, size: int | None = None, **options: Any) -> nn.Module:
    """Return an encoder with the weights to begin with.

    Args:
        init: "run:PATH", "timm:NAME" or "vergence:NAME".
        source: Data that it is to read.
        size: Side of the images in pixels, of timm's.
        **options: Of timm's.

    Raises:
        BadInput: If ``init`` brings no weights, they cannot be had, or they are of another modality.
    """
    scheme, _, rest = init.partition(":")
    if scheme == "timm":
        sized: dict[str, Any] = {} if size is None else {"size": size}
        return encoder(init, source, **sized, **options, pretrained=True)
    if scheme == "vergence":
        return _shipped(rest)
    if scheme != "run":
        hint = f"did you mean run:{init}?" if (Path(init) / "config.yaml").is_file() else "see --encoder."
        raise BadInput(f"--init needs weights, run:PATH or timm:NAME; got {init}: {hint}")
    config = read_config(Path(rest))
    if config.modality != source.modality:
        raise BadInput(
            f"{init} learned from another modality ({config.modality}) than that of {source.uri} "
            f"({source.modality})."
        )
    if options:
        raise BadInput(f"{init} has its architecture already; leave {next(iter(options))} out.")
    return load(rest).train()


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


def _shipped(name: str) -> nn.Module:
    raise BadInput(
        f"vergence ships no encoder '{name}', nor any other yet; start from run:PATH or timm:NAME."
    )


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
