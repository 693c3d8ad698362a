"""What it takes to repeat the runs of record, and which of them the code has left behind."""

from __future__ import annotations

import ast
import hashlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vergence.benchmarks import PUBLISHED, records

PACKAGE = Path(__file__).resolve().parents[1]
OWN = ("benchmarks.records", "methods", "losses", "nets", "views", "use")
"""Packages whose code a result is held to; engine, data and protocols, which all share, are left out."""
PARTS = {"parity": "parity", "mechanism": "mechanism", "data": "seconds"}
"""Parts of a run of record, and where a result has them."""


@dataclass(frozen=True)
class Entry:
    """One run of record.

    Args:
        key: Of the catalog.
        seconds: That its published result took, of all parts; None where none is published.
        date: Of the result.
        state: "current", "changed" (its method, losses, networks, views or record are not what they were when
            some part was run), "unknown" (a part was published before that was kept) or "missing".
    """

    key: str
    seconds: float | None
    date: str
    state: str


def entries(published: Path = PUBLISHED) -> list[Entry]:
    """Return all runs of record, the longest first."""
    every = [_entry(key, published / f"{key}.json") for key in keys()]
    return sorted(every, key=lambda entry: (-(entry.seconds or 0), entry.key))


def keys() -> list[str]:
    """Return the keys of the catalog that have a run of record."""
    from vergence import catalog

    modules = {name for _, name, _ in pkgutil.iter_modules(records.__path__)}
    return [paper.key for paper in catalog.PAPERS if paper.key.replace("-", "_") in modules]


def parts_of(result: Mapping[str, Any]) -> list[str]:
    """Return which of "parity", "mechanism" and "data" a result has."""
    return [part for part, name in PARTS.items() if name in result]


def code_of(key: str) -> str:
    """Return a digest of a record's own code: its module and all that it imports of ``OWN``."""
    seen: set[str] = set()
    waiting = [f"benchmarks.records.{key.replace('-', '_')}"]
    while waiting:
        if (module := waiting.pop()) not in seen:
            seen.add(module)
            waiting += [name for name in _imports(module) if name.startswith(OWN)]
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(module.encode() + _file(module).read_bytes())
    return digest.hexdigest()[:16]


def _entry(key: str, path: Path) -> Entry:
    if not path.exists():
        return Entry(key, None, "", "missing")
    result: dict[str, Any] = json.loads(path.read_text())
    mechanism = result.get("mechanism") or {}
    seconds = float(result.get("seconds", 0)) + float(mechanism.get("seconds", 0))
    code, now = result.get("code", {}), code_of(key)
    digests = {code.get(part) for part in parts_of(result)}
    state = "current" if digests <= {now} else "unknown" if digests <= {now, None} else "changed"
    return Entry(key, seconds, max(result.get("date", ""), mechanism.get("date", "")), state)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Return the modules of vergence, without its name, that one imports anywhere in its file."""
    imported = []
    for node in ast.walk(ast.parse(_file(module).read_text())):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    own = {name.removeprefix("vergence.") for name in imported if name.startswith("vergence.")}
    return tuple(name for name in own if _file(name).exists())


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
