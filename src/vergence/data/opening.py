"""One door to all data: from what the user names to a ``Source``."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.data.source import Source

ACCEPTED = (
    "a folder of images, .parquet, .tar (or x-{000..003}.tar), an event log (.parquet or .csv; "
    "events:FILE?id=COLUMN&time=COLUMN), a table (.csv; table:FILE?label=COLUMN; sklearn:NAME), "
    "torchvision:NAME, hf:NAME, digits"
)
GRAPHS = (
    "a graph (planetoid:DIR/cora, tu:DIR/MUTAG, hetero:DIR/acm, graphsage:DIR/NAME, .edgelist, .gml, "
    ".graphml, .mat, hyper:FILE, smiles:FILE, temporal:FILE, scaled:GRAPH, karate), shapes (points:FOLDER, "
    ".npy, .xyz, .off, .obj, .ply)"
)
GRAPH_SCHEMES = (
    "planetoid", "tu", "hetero", "graphsage", "hyper", "smiles", "temporal", "points", "scaled",
)  # fmt: skip
SHAPE_FILES = (".npy", ".xyz", ".off", ".obj", ".ply")
GRAPH_FILES = (".edgelist", ".gml", ".graphml", ".mat", *SHAPE_FILES)


def open(uri: str | os.PathLike[str] | Source, *, limit: float = 0.5) -> Source:
    """Return the ``Source`` behind ``uri``; a source comes back as it is.

    Args:
        uri: A folder of images (folders inside it are labels; ``photos/`` and ``masks/`` of the same
            names are pictures and their masks), a parquet file, webdataset tar
            shards, a folder of either, ``torchvision:CIFAR10[:root][:split]``, ``hf:name[:split]``,
            an event log (``events:log.parquet?id=user&time=ts``, or parquet and csv files without
            pictures whose columns look like an id and a time), ``movielens:folder``, a table
            (``table:people.parquet?label=sick``, or csv files that are no event log),
            ``sklearn:breast_cancer``, or the embedded ``digits``. File names may hold ``*`` and
            ``{000..003}``. Or one of ``GRAPHS``.
        limit: Share of unreadable samples that is put up with, in [0, 1], before reading stops.

    Raises:
        BadInput: If it is missing, empty or of no known kind; the line says what was found and
            what is accepted.
        MissingExtra: If it needs a library that is not installed.

    >>> open("digits")
    <1,797 images, 10 classes, from digits>
    """
    if isinstance(uri, Source):
        return uri
    if not 0 <= limit <= 1:
        raise BadInput(f"limit is the share of unreadable samples put up with, in [0, 1]; got {limit}.")
    from vergence.data.image import named

    uri = os.fspath(uri)
    scheme = uri.partition(":")[0]
    if uri == "digits":
        return named.digits(limit=limit)
    if uri == "karate" or scheme in GRAPH_SCHEMES or Path(uri).suffix in GRAPH_FILES:
        from vergence.data.graph.opening import open_graph

        return open_graph(uri)
    if scheme == "torchvision":
        return named.torchvision(uri, limit=limit)
    if scheme == "hf":
        return named.hub(uri, limit=limit)
    if scheme == "events":
        from vergence.data.events import EventSchema, open_events

        written, _ = EventSchema.from_uri(uri)
        return open_events(uri, _expanded(written) or None, limit=limit)
    if scheme == "movielens":
        from vergence.data.events import movielens

        return movielens(uri, limit=limit)
    if scheme == "table":
        from vergence.data.tables import TableSchema, open_table

        written, _ = TableSchema.from_uri(uri)
        return open_table(uri, _expanded(written) or None, limit=limit)
    if scheme == "sklearn":
        from vergence.data.tables import embedded

        return embedded(uri, limit=limit)
    path = Path(uri).expanduser()
    if path.is_dir():
        return _folder(path, uri, limit)
    paths = [path] if path.is_file() else _expanded(str(path))
    if not paths:
        raise _missing(path, uri)
    return _shards(paths, Path(os.path.commonpath([p.parent for p in paths])), uri, limit)


def _folder(root: Path, uri: str, limit: float) -> Source:
    from vergence.data.image.annotations import annotated_folder
    from vergence.data.image.folder import FolderReader, files, is_picture
    from vergence.data.image.source import ImageSource

    if (root / "events.json").is_file():
        from vergence.data.events import open_events

        return open_events(f"events:{uri}", limit=limit)
    found = files(root)
    if (annotated := annotated_folder(root, found, uri, limit=limit)) is not None:
        return annotated
    pictures = [name for name in found if is_picture(name)]
    if pictures:
        return ImageSource(FolderReader(root, pictures), uri, limit=limit)
    for suffix in (".parquet", ".tar"):
        shards = [root / name for name in found if name.endswith(suffix)]
        if shards:
            return _shards(shards, root, uri, limit)
    if any(name.endswith(SHAPE_FILES) for name in found):
        from vergence.data.graph.opening import open_graph

        return open_graph(f"points:{root}")
    kinds = Counter(os.path.splitext(name)[1] or "no suffix" for name in found).most_common(3)
    inside = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    what = f"no images but {inside}" if inside else "no files"
    raise BadInput(f"Folder {uri} holds {what}; needs {ACCEPTED}, or {GRAPHS}.")


def _shards(paths: list[Path], root: Path, uri: str, limit: float) -> Source:
    from vergence.data.image.folder import is_picture
    from vergence.data.image.source import ImageSource

    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}, one of the {len(paths)} files of {uri}, is not there.")
    if all(path.suffix == ".parquet" for path in paths):
        from vergence.data.image.parquet import ParquetReader, has_pictures

        if not has_pictures(paths[0]) and (events := _events(paths, uri, limit)) is not None:
            return events
        return ImageSource(ParquetReader(paths, root), uri, limit=limit)
    if all(path.name.endswith((".csv", ".tsv", ".csv.gz")) for path in paths):
        if (events := _events(paths, uri, limit)) is not None:
            return events
        from vergence.data.tables import open_table

        table = open_table(f"table:{uri}", paths, limit=limit)
        table.notes = [*table.notes, "read as a table; an event log needs events:FILE?id=COLUMN&time=COLUMN"]
        return table
    if all(".tar" in path.suffixes or path.suffix == ".tgz" for path in paths):
        from vergence.data.image.tar import TarReader

        return ImageSource(TarReader(paths, root), uri, limit=limit)
    if is_picture(uri):
        raise BadInput(f"{uri} is a single image; open the folder it is in: {root}")
    raise BadInput(f"{uri} is a file of no known kind; needs {ACCEPTED}, or {GRAPHS}.")


def _events(paths: list[Path], uri: str, limit: float) -> Source | None:
    """Open an event log whose columns tell that it is one, else return None."""
    from vergence.data.events import looks_like_events, open_events

    return open_events(f"events:{uri}", paths, limit=limit) if looks_like_events(paths) else None


def _expanded(pattern: str) -> list[Path]:
    """Return the paths that ``{000..003}``, ``{a,b}`` and ``*`` stand for; none where there is no pattern.

    >>> [str(path) for path in _expanded("x-{08..10}.tar")]
    ['x-08.tar', 'x-09.tar', 'x-10.tar']
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", pattern)
    if found is None:
        return [Path(name) for name in sorted(glob.glob(pattern))] if glob.has_magic(pattern) else []
    first, last, names = found.groups()
    values = names.split(",") if names else [f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
    filled = [pattern[: found.start()] + value + pattern[found.end() :] for value in values]
    return [
        path for name in filled for path in _expanded(name) or ([] if glob.has_magic(name) else [Path(name)])
    ]


def _missing(path: Path, uri: str) -> BadInput:
    known = ["digits", "karate"]
    if path.parent.is_dir():
        known += [str(path.parent / name) for name in os.listdir(path.parent)]
    near = difflib.get_close_matches(str(path), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"needs {ACCEPTED}, or {GRAPHS}."
    return BadInput(f"Nothing found at {uri}; {hint}")
