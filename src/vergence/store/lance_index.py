"""Indices that Lance keeps on disk beside the vectors: how they are built, and how much is looked at."""

from __future__ import annotations

from typing import Any, Literal

import lance
import numpy as np

from vergence.core.errors import unknown

Index = Literal["hnsw", "pq"]
EFFORTS = (1, 2, 4, 8, 16)
_LARGE = 1_000_000  # rows of a neighbourhood graph; above, there is one for each cell


def build(table: lance.LanceDataset, column: str, kind: str, rows: int, width: int) -> None:
    """Build an index by cosine in place of an earlier one; see ``Store.index``."""
    if kind == "hnsw":
        options: dict[str, Any] = {"index_type": "IVF_HNSW_SQ", "num_partitions": -(-rows // _LARGE)}
    elif kind == "pq":
        values = next(m for m in (4, 2, 1) if width % m == 0)
        options = {"index_type": "IVF_PQ", "num_partitions": max(1, round(rows**0.5))}
        options["num_sub_vectors"] = width // values
    else:
        raise unknown("index", kind, ("hnsw", "pq"))
    table.create_index(column, metric="cosine", replace=True, **options)


def query_options(column: str, queries: np.ndarray, k: int, kind: str, effort: int) -> dict[str, Any]:
    """Return what Lance is asked for the ``k`` nearest of queries ``(Q, D)``.

    Answers are computed again from the vectors themselves, twice as many as wanted or more: the index keeps
    a byte a value or less. With effort 0 it is passed by and every row looked at.
    """
    query = {"column": column, "q": queries, "k": k, "metric": "cosine"}
    if effort == 0:
        return {**query, "use_index": False}
    if kind == "hnsw":
        return {**query, "nprobes": effort, "ef": max(2 * k, 20 * effort), "refine_factor": 2}
    return {**query, "nprobes": 8 * effort, "refine_factor": 2 + effort}
