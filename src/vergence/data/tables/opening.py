"""Opens tables: which reader a name asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.columns import coded, plain_label
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


def open_object(
    data: Any,
    *,
    limit: float = 0.5,
    label: str | None = None,
    categorical: str | Sequence[str] | None = None,
    numeric: str | Sequence[str] | None = None,
    labels: Sequence[Any] | np.ndarray | torch.Tensor | None = None,
) -> TableSource | None:
    """Take a data frame (pandas, polars, pyarrow), or an array or tensor ``(n, D)`` of one row a sample.

    Args:
        data: As above.
        limit: Has no meaning here: every row can be read.
        label: Column of a data frame with what is known about the row, never an input; None takes none.
        categorical: Its columns of categories; None guesses.
        numeric: Its columns of quantities; None guesses.
        labels: Of an array: one a row, numbers or words, None where unknown.

    Raises:
        BadInput: If a column is not there, no column can be learned from, or an option does not fit.
    """
    if hasattr(data, "__arrow_c_stream__"):
        if labels is not None:
            raise BadInput("The labels of a data frame are a column of it: label=COLUMN.")
        return from_frame(data, TableSchema(label, _columns(categorical), _columns(numeric)), name=URI)
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        raise BadInput("This pandas is too old to be read (no Arrow interface): upgrade it to 2.2 or later.")
    if not (isinstance(data, np.ndarray | torch.Tensor) and data.ndim == 2):
        return None
    if any(part is not None for part in (label, categorical, numeric)):
        raise BadInput("The columns of an array have no names; give a data frame, or labels=, one a row.")
    rows = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data
    if rows.dtype.kind not in "biuf":
        raise BadInput(
            f"An array of rows holds numbers; this one holds {rows.dtype}. Give a data frame where columns "
            "differ."
        )
    if labels is None:
        return from_vectors(rows, name=URI, one_unit=False)
    known, classes = coded([plain_label(value) for value in labels])
    return from_vectors(rows, known, name=URI, one_unit=False, classes=classes)


def _columns(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names.split(",") if isinstance(names, str) else names)
