"""Which reader a table asks for."""

from __future__ import annotations

from pathlib import Path

from vergence.data.paths import expanded
from vergence.data.tables.embedded import embedded
from vergence.data.tables.schema import TableSchema
from vergence.data.tables.source import TableSource, open_table


def open_named(uri: str, *, limit: float = 0.5) -> TableSource:
    """Open ``table:FILE?label=…``, where ``FILE`` may be a pattern, or ``sklearn:NAME``."""
    if uri.startswith("sklearn:"):
        return embedded(uri, limit=limit)
    return open_table(uri, expanded(TableSchema.from_uri(uri)[0]) or None, limit=limit)


def open_files(paths: list[Path], root: Path, uri: str, *, limit: float = 0.5) -> TableSource:
    """Open csv files that nobody else has taken."""
    table = open_table(f"table:{uri}", paths, limit=limit)
    table.notes = [*table.notes, "read as a table; an event log needs events:FILE?id=COLUMN&time=COLUMN"]
    return table
