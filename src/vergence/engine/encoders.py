"""Encoders by name: new ones, those of runs, and those that bring weights."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from vergence.core import BadInput, RunConfig, input_spec, unknown
from vergence.core.modality import find_modality, known_modalities
from vergence.core.specs import BRING_WEIGHTS, class_at, is_own, is_place, own_class, own_spec
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.files import first_line
from vergence.engine.identity import identity
from vergence.engine.run import Run, load_encoder, read_config
from vergence.engine.shipped import card, load_shipped
from vergence.nets.own import answer, made_of, width_of_answer
from vergence.store.reading import TableReader
from vergence.store.rows import check_same_encoder
from vergence.store.table import Store

Given: TypeAlias = str | nn.Module | type[nn.Module]  # how an encoder is named: by name, as module, as class


def encoder(name: Given, source: Any = None, *, modality: str | None = None, **options: Any) -> nn.Module:
    """Return an encoder by its name, or make one of a network of your own.

    Args:
        name: Of the library ("resnet-tiny", "gcn"); "timm:NAME"; "run:PATH", the trained encoder of a run;
            "vergence:NAME", one that the library ships; "package.module:Class", which may be your own; or
            your own network, made or as a class: of images it gets pixels ``(B, 3, size, size)``, see
            ``docs/own.md``.
        source: Data that it is to read, or what ``vergence.open`` understands; it says sizes and widths. Your
            own network needs it.
        modality: Of the data, such as "graph"; None takes the source's, or the first that has the name.
        **options: Of the encoder, such as ``width=64``, ``size=32``, or ``pretrained=True`` for timm's.

    Raises:
        BadInput: If there is none of that name, an option does not fit, or your own network cannot read the
            data.

    >>> encoder("resnet-tiny", size=32, width=16).out_dim
    64
    """
    if not isinstance(name, str):
        if source is None:
            raise BadInput("A network of your own needs the data that it is to read: encoder(net, source).")
        return own_encoder(name, open_source(source), **options)
    scheme = name.partition(":")[0]
    if scheme in ("run", "vergence"):
        if options:
            raise BadInput(f"{name} is trained and takes no options; got {next(iter(options))}.")
        return with_weights(name)
    source = None if source is None else open_source(source)
    if is_place(name) and not name.startswith("vergence."):
        cls = class_at(name, anywhere=True)
        if source is None:
            return made_of(cls, options)
        return own_encoder(cls, source, **options)
    modality = modality or (_modality_of(name) if source is None else source.modality)
    if (reads := _bringing(scheme, modality)) not in (None, modality):
        raise BadInput(f"{name} reads {find_modality(reads).noun}; these are {find_modality(modality).noun}.")
    encoders = _encoders_of(modality)
    return encoders.build(name, **options) if source is None else encoders.for_source(source, name, **options)


def own_encoder(
    own: nn.Module | type[nn.Module], source: Source, *, size: int | None = None, **options: Any
) -> nn.Module:
    """Return a network of the user's own as an encoder of a source.

    One that knows nothing of vergence gets what its modality says, tensors instead of batches, and its width
    is found; one that derives from a class of the library comes back as it is.

    Args:
        own: Made already, or a class.
        source: That it is to read.
        size: Side of images in pixels; None lets the network and the source say.
        **options: Of the class.

    Raises:
        BadInput: If it cannot be made, cannot read the data, or answers with something else than vectors.
    """
    if isinstance(own, nn.Module) and options:
        raise BadInput(
            f"This {type(own).__name__} is made already: say its {next(iter(options))} where it is made."
        )
    if not isinstance(own, nn.Module) and not (inspect.isclass(own) and issubclass(own, nn.Module)):
        what = own.__name__ if inspect.isclass(own) else type(own).__name__
        raise BadInput(f"An encoder is a name or a torch.nn.Module, made or as a class; got {what}.")

    def make(in_dim: int | None = None) -> nn.Module:
        if isinstance(own, nn.Module):
            return own
        if hasattr(own, "for_source"):
            made: nn.Module = own.for_source(source, **options)
            made.spec = {**own_spec(made), **options}  # type: ignore[assignment]
            return made
        return made_of(own, options, in_dim)

    encoders = _encoders_of(source.modality)
    if is_own(own) and hasattr(encoders, "adapt"):
        return encoders.adapt(make, source, size=size)
    made = make()
    if is_own(own) and not hasattr(made, "out_dim"):
        batch = next(source.loader(2))
        gets = f"a batch of {find_modality(source.modality).noun} ({type(batch).__name__})"
        made.out_dim = width_of_answer(  # type: ignore[assignment]
            lambda batch: answer(made(batch), made, len(batch)), made, batch, gets
        )
    return made


def encoder_for(run: Run | nn.Module | str | Path, source: Source) -> nn.Module:
    """Return the encoder of a run, or one that is given, as it reads a source.

    Args:
        run: A finished run, its folder, the name of an encoder with weights, or an encoder, also a network of
            the user's own.
        source: That it is to read.

    Raises:
        BadInput: If the folder is no finished run, or the network cannot read the source.
    """
    if isinstance(run, nn.Module):
        return own_encoder(run, source)
    if isinstance(run, str) and run.startswith(BRING_WEIGHTS):
        return with_weights(run, source)
    return run.encoder if isinstance(run, Run) else load(run)


def new_encoder(name: Given | None, source: Source, *, size: int | None = None, **options: Any) -> nn.Module:
    """Return an untrained encoder for a source; None takes the one that suits it.

    Raises:
        BadInput: As ``encoder`` does, and if the name is of one with weights.
    """
    if name is not None and not isinstance(name, str):
        return own_encoder(name, source, size=size, **options)
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
    sized: dict[str, Any] = {} if size is None else {"size": size}
    if is_place(name) and not name.startswith("vergence."):
        return encoder(name, source, **sized, **options).eval()
    if scheme not in _WITH_WEIGHTS:
        hint = f"did you mean run:{name}?" if (Path(name) / "config.yaml").is_file() else "see --encoder."
        raise BadInput(f"--init needs weights, run:PATH or timm:NAME; got {name}: {hint}")
    if scheme == "timm":
        options = {**sized, **options, "pretrained": True}
    elif options:
        raise BadInput(f"{name} has its architecture already; leave {next(iter(options))} out.")
    modality, make = _WITH_WEIGHTS[scheme](rest)
    wraps = {} if source is None else getattr(_encoders_of(source.modality), "WRAPS", {})
    if source is not None and modality in wraps:
        return wraps[modality](with_weights(name, size=size, **options)).eval()
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


def encoder_from(config: RunConfig, own: Given | None = None) -> nn.Module:
    """Build the untrained encoder that a run's settings name.

    Args:
        config: Of the run.
        own: The architecture, where it was one of the user's own whose class is not loaded.

    Raises:
        BadInput: If it was of the user's own, and neither given nor of a class that is loaded; or cannot be
            built.
    """
    spec = dict(config.encoder or {})
    name = str(spec.get("name"))
    encoders = _encoders_of(config.modality)
    if own is not None:
        net = _architecture(own, config)
        if "own" not in spec:
            return net
        spec["own"] = net
    elif is_place(name) and not name.startswith("vergence.") and is_own(cls := own_class(name)):
        return made_of(cls, {option: value for option, value in spec.items() if option != "name"})
    elif set(spec) <= {"name"} and not is_place(name) and name not in encoders.names():
        own_class(name)
    try:
        built: Any = encoders.build(**spec)
    except BadInput:
        raise
    except Exception as error:  # a file may ask for any sizes of any layers
        raise BadInput(f"The run's encoder {name} cannot be built: {first_line(error)}.") from error
    if own is not None:
        built.spec["own"] = own_spec(built.net)
    return built


def _architecture(own: Given, config: RunConfig) -> nn.Module:
    """Return a network of the user's own that was passed: as it is, or made as the run's was."""
    if isinstance(own, nn.Module):
        return getattr(own, "net", own) if "own" in (getattr(own, "spec", None) or {}) else own
    cls = class_at(own, anywhere=True) if isinstance(own, str) else own
    spec = config.encoder or {}
    known = spec["own"] if isinstance(spec.get("own"), dict) else spec
    return made_of(cls, {name: value for name, value in known.items() if name != "name"})


def load(run: str | Path, *, encoder: Given | None = None) -> nn.Module:
    """Return the trained encoder of a run, in evaluation mode, ready to embed, fine-tune or export.

    Args:
        run: The run's folder; "run:PATH" is understood too.
        encoder: Where it was one of your own and its class is not imported: the network made as it was, its
            class, or "package.module:Class".

    Raises:
        BadInput: If the folder is not a finished run, or the weights do not fit.
    """
    folder = _folder(run)
    net = encoder_from(read_config(folder), encoder)
    return load_encoder(net, folder / "encoder.safetensors").eval()


def open_run(path: str | Path, *, encoder: Given | None = None) -> Run:
    """Return the finished run at ``path`` with its trained encoder; ``encoder`` as of ``load``."""
    return Run(_folder(path), load(path, encoder=encoder))


def _folder(run: str | Path) -> Path:
    return Path(run.removeprefix("run:")) if isinstance(run, str) else run


def _of_run(path: str) -> tuple[str, Callable[..., nn.Module]]:
    return read_config(Path(path)).modality, partial(load, path)


def _of_timm(name: str) -> tuple[str, Callable[..., nn.Module]]:
    return "image", partial(encoder, f"timm:{name}", modality="image")


def _of_shipped(name: str) -> tuple[str, Callable[..., nn.Module]]:
    return card(name)["modality"], partial(load_shipped, name)


# By scheme: what reads a name's modality, and then makes its encoder with its weights.
_WITH_WEIGHTS: dict[str, Callable[[str], tuple[str, Callable[..., nn.Module]]]] = {
    "run": _of_run,
    "timm": _of_timm,
    "vergence": _of_shipped,
}


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


def _bringing(scheme: str, wanted: str | None = None) -> str | None:
    """Return a modality whose encoders a scheme such as "timm" names: the wanted, else the first."""
    names = [m.name for m in known_modalities() if scheme in getattr(_encoders_of(m.name), "SCHEMES", ())]
    return wanted if wanted in names else next(iter(names), None)


def _encoders_of(modality: str) -> Any:
    return find_modality(modality).load("encoders")
