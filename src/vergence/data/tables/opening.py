"""Opens tables: which reader a name asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.data.paths import expanded
from vergence.data.tables.embedded import embedded
from vergence.data.tables.schema import TableSchema
from vergence.data.tables.source import TableSource, from_frame, from_vectors, open_table

URI = "memory:table"


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


def open_object(data: Any, *, limit: float = 0.5) -> TableSource | None:
    """Take a data frame (pandas, polars, pyarrow), or an array or tensor ``(n, D)`` of one row a sample.

    No column is taken for a label; ``from_frame(frame, TableSchema(label="sick"))`` names one.
    """
    if hasattr(data, "__arrow_c_stream__"):
        return from_frame(data, name=URI)
    if isinstance(data, np.ndarray | torch.Tensor) and data.ndim == 2:
        rows = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data
        return from_vectors(rows, name=URI, one_unit=False)
    return None
