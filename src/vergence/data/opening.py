"""Opens data: from what the user names, or holds in memory, to a ``Source``."""

from __future__ import annotations

import difflib
import inspect
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vergence.core.errors import BadInput, WrongModality, unknown
from vergence.core.modality import Modality, find_modality, known_modalities, nouns
from vergence.data.paths import expanded, files
from vergence.data.source import Source
from vergence.data.source_options import with_options

_MEMORY = "memory:"  # of data that was opened without a name


def open(uri: Any, *, limit: float = 0.5, **options: Any) -> Source:
    """Return the ``Source`` behind ``uri``; a source comes back as it is.

    Args:
        uri: A folder of images (folders inside it may serve as labels; ``photos/`` and ``masks/`` of the same
            names are pictures and their masks), a parquet file, webdataset tar
            shards, a folder of either, ``torchvision:CIFAR10[:root][:split]``, ``hf:name[:split]``,
            an event log (``events:log.parquet?id=user&time=ts``, or parquet and csv files without
            pictures whose columns look like an id and a time), ``movielens:folder``, a table
            (``table:people.parquet?label=sick``, or csv files that are no event log),
            videos (a file or a folder of them, ``frames:folder?fps=25``),
            ``sklearn:breast_cancer``, a graph (``planetoid:folder/cora``, ``tu:folder/MUTAG``, a file
            such as ``.edgelist``, ...), or the embedded ``digits`` and ``karate``. File names may hold
            ``*`` and ``{000..003}``. What each modality opens is said in ``modalities/``.
            Or what is in memory: images as an array or tensor ``(N, H, W, 3)`` or ``(N, 3, H, W)``, uint8 or
            float in [0, 1], or as a list of PIL images; a data frame, or an array of rows ``(n, D)``; a
            map-style data set of torch or of Hugging Face; a graph of networkx or PyG, or a list of them. Or
            a list of any of these, uris and sources among them: they are joined, and each sample keeps its
            label.
        limit: Share of unreadable samples that is put up with, in [0, 1], before reading stops.
        **options: How it is read, as the flags of the command line: ``modality="video"`` where a folder holds
            several kinds, ``seconds=2`` of a video's windows, ``label="sick"``, ``numeric=["age"]`` of
            a table, ``features="nodes.csv", labels="field"`` of a list of edges, ``id="user", time="ts"`` of
            a log. Of arrays and lists ``labels``, one a sample, None where unknown; of images in memory also
            ``targets``, numbers by name, such as ``group`` (the clip) and ``pose``.

    Raises:
        BadInput: If it is missing, empty or of no known kind, or an option is not for data of this kind; the
            line says what was found and what is accepted.
        MissingExtra: If it needs a library that is not installed.

    >>> open("digits")
    <1,797 images, 10 classes, from digits>
    """
    if isinstance(uri, Source):
        if options:
            raise BadInput(f"{uri.uri} is open already; say {next(iter(options))} where it is opened.")
        return uri
    if not 0 <= limit <= 1:
        raise BadInput(f"limit is the share of unreadable samples put up with, in [0, 1]; got {limit}.")
    if isinstance(uri, list | tuple) and any(isinstance(part, str | os.PathLike | Source) for part in uri):
        return _joined([open(part, limit=limit, **options) for part in uri])
    if (modality := options.get("modality")) is not None:
        source = _as_asked(uri, str(modality), limit, options)
        if source.modality != modality:
            nouns_of = [find_modality(name).noun for name in (source.modality, str(modality))]
            raise BadInput(f"{source.uri} is read as {nouns_of[0]}; it cannot be read as {nouns_of[1]}.")
        return source
    if not isinstance(uri, str | os.PathLike):
        return _object(uri, limit, options)
    return _at(with_options(os.fspath(uri), options), limit)


def _at(uri: str, limit: float) -> Source:
    """Open what a uri names."""
    if (modality := _named(uri)) is not None:
        return modality.load("open")(uri, limit=limit)
    if uri.startswith(_MEMORY):
        raise BadInput(f"{uri} was in memory and cannot be opened by name again: pass the data itself.")
    path = Path(uri).expanduser()
    if path.is_dir():
        return _folder(path, uri, limit)
    paths = [path] if path.is_file() else expanded(str(path))
    if not paths:
        raise _missing(path, uri)
    return _files(paths, uri, limit)


def _as_asked(uri: Any, modality: str, limit: float, options: Mapping[str, Any]) -> Source:
    """Open data as one modality, also where another would read what lies there."""
    rest = {name: value for name, value in options.items() if name != "modality"}
    known = find_modality(modality)
    if not isinstance(uri, str | os.PathLike):
        return open(uri, limit=limit, **rest)
    return open(with_options(os.fspath(uri), {**rest, "modality": known.name}), limit=limit)


def check_there(uri: str) -> None:
    """Say at once, before anything heavy is loaded, that there is nothing at a path.

    Raises:
        BadInput: If ``uri`` is no name of data and no scheme, and nothing lies there.
    """
    path = Path(uri).expanduser()
    if _named(uri) is None and not uri.startswith(_MEMORY) and not path.exists() and not expanded(str(path)):
        raise _missing(path, uri)


def _named(uri: str) -> Modality | None:
    """Return the modality one of whose names or schemes ``uri`` begins with, or None."""
    scheme, colon, _ = uri.partition(":")
    for modality in known_modalities():
        if uri.partition("?")[0] in modality.names or (colon and scheme in modality.schemes):
            return modality
    return None


def _joined(sources: list[Source]) -> Source:
    if len({source.modality for source in sources}) > 1:
        raise BadInput(
            "Only sources of one modality can be joined; got "
            + " and ".join(f"{find_modality(source.modality).noun} ({source.uri})" for source in sources)
        )
    join = find_modality(sources[0].modality).load("join")
    if join is None:
        raise BadInput(f"Sources of {find_modality(sources[0].modality).noun} cannot be joined.")
    return join(sources)


def _object(data: Any, limit: float, options: Mapping[str, Any]) -> Source:
    def read(modality: Modality) -> Source | None:
        opens = modality.load("open_object")
        if opens is None:
            return None
        known = [name for name in inspect.signature(opens).parameters if name not in ("data", "limit")]
        source = opens(data, limit=limit, **{name: options[name] for name in known if name in options})
        if source is not None and (strange := [name for name in options if name not in known]):
            raise unknown(f"option of {modality.noun} in memory", strange[0], known)
        return source

    if (source := _first(read)) is not None:
        return source
    what = type(data).__name__
    if isinstance(getattr(data, "shape", None), tuple):
        what += f" of shape {tuple(data.shape)}"
    elif isinstance(data, list | tuple):
        what += f" of {len(data)} {type(data[0]).__name__}" if data else " of nothing"
    known = "; ".join(m.accepts_objects for m in known_modalities() if m.accepts_objects)
    raise BadInput(f"vergence.open cannot read a {what}; it takes a name or path, and in memory: {known}.")


def _folder(root: Path, uri: str, limit: float) -> Source:
    names = files(root)

    def read(modality: Modality) -> Source | None:
        opens = modality.load("open_folder")
        return opens(root, names, uri, limit=limit) if opens else None

    if (source := _first(read)) is not None:
        return source
    kinds = Counter(os.path.splitext(name)[1] or "no suffix" for name in names).most_common(3)
    inside = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    what = f"only {inside}" if inside else "no files"
    raise BadInput(f"Folder {uri} holds {what}; needs {_accepted()}.")


def _files(paths: list[Path], uri: str, limit: float) -> Source:
    for path in paths:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "is not there"
            raise BadInput(f"{path}, one of the {len(paths)} files of {uri}, {what}.")
    root = Path(os.path.commonpath([path.parent for path in paths]))

    def read(modality: Modality) -> Source | None:
        if not all(path.name.lower().endswith(modality.suffixes) for path in paths):
            return None
        return modality.load("open_files")(paths, root, uri, limit=limit)

    if (source := _first(read)) is not None:
        return source
    raise BadInput(f"{uri} is a file of no known kind; needs {_accepted()}.")


def _first(read: Callable[[Modality], Source | None]) -> Source | None:
    """Ask one modality after the other; where none reads it, the first that has a reason is right."""
    refused: WrongModality | None = None
    for modality in known_modalities():
        try:
            if (source := read(modality)) is not None:
                return source
        except WrongModality as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return None


def _accepted() -> str:
    return f"{nouns(known_modalities())}, in one of the forms that vergence learn --help lists"


def _missing(path: Path, uri: str) -> BadInput:
    known = [name for modality in known_modalities() for name in modality.names]
    if path.parent.is_dir():
        known += [str(path.parent / name) for name in os.listdir(path.parent)]
    near = difflib.get_close_matches(str(path), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"needs the path of {nouns(known_modalities())}."
    return BadInput(f"Nothing found at {uri}; {hint}")
