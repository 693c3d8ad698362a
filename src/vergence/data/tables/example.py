"""A small table in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vergence.data.tables.schema import TableSchema
from vergence.data.tables.source import TableSource, from_frame


def example(kind: str = "") -> TableSource:
    """Return 240 rows of two sorts: 12 numbers in four groups of one cause each, 12 of noise, two words.

    Args:
        kind: "numbers" leaves the words out, "few labels" also the labels of all rows but 20.
    """
    rng, n = np.random.default_rng(0), 240
    y = np.arange(n) % 2
    cause = rng.normal(size=(n, 4)) + np.where(y[:, None], 0.6, -0.6)
    numbers = np.repeat(cause, 3, 1) + 0.8 * rng.normal(size=(n, 12))
    columns = {f"x{i}": column for i, column in enumerate((*numbers.T, *rng.normal(size=(12, n))))}
    if not kind:
        columns["town"] = rng.choice(["a", "b", "c"], n)
        columns["kind"] = np.where(rng.random(n) < 0.7, y, 1 - y).astype(str)
    if kind == "few labels":
        y = np.where(np.arange(n) < 20, y.astype(object), None)  # type: ignore[call-overload]
    groups = tuple((f"g{i}", tuple(f"x{3 * i + j}" for j in range(3))) for i in range(8))
    return from_frame(
        pa.table({**columns, "y": y}), TableSchema(label="y", groups=groups), name="memory:rows"
    )
