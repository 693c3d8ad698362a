"""Opens graphs: which reader a name asks for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from vergence.core.errors import BadInput, unknown
from vergence.data.graph.base import GraphSource
from vergence.data.paths import split_query

FOLDERS = {
    "planetoid": "DIR/cora",
    "tu": "DIR/MUTAG",
    "hetero": "DIR/acm",
    "graphsage": "DIR/linkoping-osm",
}
FILES = {"edges": "FILE.csv", "hyper": "FILE.txt", "temporal": "FILE.csv"}
_MODULES = {"edges": "attributed"}  # where it is not called as the scheme
_PARTS = {"edges": ("columns", "features", "labels"), "temporal": ("columns",)}
SUFFIXES = {".edgelist": "edgelist", ".gml": "gml", ".graphml": "graphml", ".mat": "matlab"}


def open_files(paths: list[Path], root: Path, uri: str, *, limit: float = 0.5) -> GraphSource:
    """Open a file by its suffix."""
    return open_graph(uri)


def open_folder(root: Path, names: Sequence[str], uri: str, *, limit: float = 0.5) -> GraphSource | None:
    """Open a folder of shapes."""
    from vergence.data.graph.points import READERS

    return (
        open_graph(f"points:{root}") if any(name.lower().endswith(tuple(READERS)) for name in names) else None
    )


def open_graph(uri: str, *, limit: float = 0.5) -> GraphSource:
    """Open ``karate``, ``planetoid:DIR/NAME`` and its kind, or a file by its suffix.

    ``hyper:hetero:DIR/acm:a`` gives the labelled nodes of a typed graph, joined by those of type ``a``;
    ``scaled:NAME`` opens any of them and lets the features of each node sum to 1;
    ``edges:FILE.csv?features=NODES.csv&labels=LABELS.csv`` reads a graph of three files;
    ``smiles:FILE.csv:COLUMN`` reads a column of numbers to predict; ``points:`` a folder of
    shapes, or a file of them. ``limit`` has no meaning here: a graph is read whole or not at all.

    Raises:
        BadInput: If the name is missing or the data is not there or not usable.
    """
    if uri == "karate":
        from vergence.data.graph.karate import karate

        return karate()
    scheme, _, rest = uri.partition(":")
    if scheme == "scaled":
        return _scaled(rest, uri)
    if scheme == "hyper" and rest.startswith("hetero:"):
        from vergence.data.graph.hyper import hyper_of

        typed, _, via = rest.rpartition(":")
        return hyper_of(open_graph(typed), via, uri)
    if scheme == "smiles":
        from vergence.data.graph.molecules import molecules

        file, dot, column = rest.partition(".csv:")
        return molecules(existing(Path(file + dot.rstrip(":")).expanduser(), uri), uri, column or None)
    if scheme == "points":
        return _shapes(Path(rest).expanduser(), uri)
    if scheme in FOLDERS or scheme in FILES:
        where, options = _options(scheme, rest, uri)
        path = Path(where).expanduser()
        if not path.name:
            raise BadInput(f"{uri} names no data; write {scheme}:{ {**FOLDERS, **FILES}[scheme] }.")
        reader = _reader(_MODULES.get(scheme, scheme), scheme)
        if scheme in FOLDERS:
            return reader(path.parent, path.name, uri)
        return reader(existing(path, uri), uri, **options)
    path = Path(uri).expanduser()
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        return _shapes(path, uri)
    reader = _reader("matlab" if kind == "matlab" else "edges", kind)
    return reader(existing(path, uri), uri)


def _reader(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"vergence.data.graph.{module}"), name)


def _options(scheme: str, rest: str, uri: str) -> tuple[str, dict[str, Any]]:
    """Return the path of ``PATH?name=value&…``, and what is said behind it."""
    if scheme not in _PARTS:
        return rest, {}
    path, query = split_query(rest)
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _PARTS[scheme]:
            raise unknown(f"part of a {scheme}: uri", name, _PARTS[scheme])
        if not value:
            raise BadInput(f"{uri} leaves {name} empty; write a value or leave it out.")
        options[name] = tuple(unquote(value).split(",")) if name == "columns" else unquote(value)
    return path, options


def _scaled(name: str, uri: str) -> GraphSource:
    known = ("karate", "smiles", *FOLDERS, *FILES)
    if name.partition(":")[0] not in known and Path(name).suffix not in SUFFIXES:
        raise BadInput(f"{uri} names no graph to scale; write scaled:planetoid:DIR/cora.")
    source = open_graph(name)
    source.uri = uri
    source.scale_features()
    return source


def _shapes(path: Path, uri: str) -> GraphSource:
    from vergence.data.graph.points import shapes

    return shapes(path if path.is_dir() else existing(path, uri), uri)


def existing(path: Path, uri: str) -> Path:
    if path.is_file():
        return path
    near = sorted(p.name for p in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
    hint = f"{path.parent} holds {', '.join(near[:5])}" if near else f"{path.parent} holds none of its kind"
    raise BadInput(f"Nothing found at {uri}; {hint}.")
