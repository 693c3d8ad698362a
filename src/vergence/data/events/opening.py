"""Opens event logs: which reader a name asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vergence.data.events.log import ABOUT
from vergence.data.events.movielens import movielens
from vergence.data.events.read import looks_like_events
from vergence.data.events.schema import EventSchema
from vergence.data.events.source import EventSource, open_events
from vergence.data.paths import expanded


def open_named(uri: str, *, limit: float = 0.5) -> EventSource:
    """Open ``events:FILE?id=…&time=…``, where ``FILE`` may be a pattern, or ``movielens:DIR``."""
    if uri.startswith("movielens:"):
        return movielens(uri, limit=limit)
    return open_events(uri, expanded(EventSchema.from_uri(uri)[0]) or None, limit=limit)


def open_files(paths: list[Path], root: Path, uri: str, *, limit: float = 0.5) -> EventSource | None:
    """Open files whose columns look like those of an event log."""
    return open_events(f"events:{uri}", paths, limit=limit) if looks_like_events(paths) else None


def open_folder(root: Path, names: Sequence[str], uri: str, *, limit: float = 0.5) -> EventSource | None:
    """Open what ``EventLog.save`` wrote, or a folder of parquet files that look like an event log."""
    if ABOUT in names:
        return open_events(f"events:{uri}", limit=limit)
    files = [root / name for name in names if name.endswith(".parquet")]
    return open_files(files, root, uri, limit=limit) if files else None
