"""A selection against the rest of a store: means of numbers, and values and words found more often in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.colours import columns, decoded

_LEVEL = 0.01  # chance that any value or word of a column is named though there is no difference
_SHOWN = 6  # values or words of a column
_DISTINCT = 1_000  # values of a column above which its words are counted instead
_APART = r"[^\p{L}\p{N}]+"  # between words
_LEAST = 2  # characters of a word


def against_rest(store: Store, rows: np.ndarray) -> dict[str, Any]:
    """Return what sets rows apart from all others, column by column.

    Args:
        store: Opened.
        rows: ``(m,)`` of it, ascending.

    Returns:
        ``rows``, how many are in and out; ``numbers``, by column the means and medians of both and the
        difference of the means in standard deviations, the largest first; ``kinds``, by column the values (of
        text with many, its words) that are found in more of these rows than chance explains (Fisher's exact
        test, all values of a column together at 1 in 100), with the rows in and out that have them.

    Raises:
        BadInput: If no row is in, or none is out.
    """
    inside = np.zeros(len(store), bool)
    inside[rows] = True
    if not 0 < len(rows) < len(store):
        raise BadInput("To compare, some samples have to be selected and some not.")
    numbers, kinds = [], []
    for name in [*columns(store), "id"]:
        values = decoded(store, name)
        if _is_number(values.type):
            if (means := _means(values, inside)) is not None:
                numbers.append({"column": name, **means})
        elif more := _more(values, inside):
            kinds.append({"column": name, **more})
    numbers.sort(key=lambda about: -abs(about["effect"]))
    return {"rows": [len(rows), len(store) - len(rows)], "numbers": numbers, "kinds": kinds}


def _means(values: pa.Array, inside: np.ndarray) -> dict[str, Any] | None:
    """Return the means and medians of numbers in and out; None where a side has none."""
    x = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    valid = np.isfinite(x)
    sides = [x[valid & side] for side in (inside, ~inside)]
    if not all(map(len, sides)):
        return None
    means = [float(side.mean()) for side in sides]
    spread = float(x[valid].std())
    effect = (means[0] - means[1]) / spread if spread else 0.0
    return {"means": means, "medians": [float(np.median(side)) for side in sides], "effect": round(effect, 3)}


def _more(values: pa.Array, inside: np.ndarray) -> dict[str, Any] | None:
    """Return the values or words that more rows inside have than chance explains, None without any."""
    words = pa.types.is_string(values.type) and pc.count_distinct(values).as_py() > _DISTINCT
    names, of, row = words_of(values) if words else _values(values)
    if not len(names):
        return None
    counts = np.stack([np.bincount(of[side[row]], minlength=len(names)) for side in (inside, ~inside)])
    from scipy.stats import hypergeom

    total = counts.sum(0)
    tried = np.flatnonzero(counts[0] * (len(inside) - inside.sum()) > counts[1] * inside.sum())  # more often
    chance = hypergeom.sf(counts[0, tried] - 1, len(inside), total[tried], inside.sum())
    sure = chance < _LEVEL / len(names)
    best = tried[sure][np.argsort(chance[sure], kind="stable")[:_SHOWN]]
    if not len(best):
        return None
    shown = [{"name": str(names[i]), "counts": counts[:, i].tolist()} for i in best]
    return {"words": words, "found": shown}


def _values(values: pa.Array) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return the values, and for each row that has one which (by number) and the row."""
    row = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    coded = values.drop_null().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), row


def words_of(values: pa.Array) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return the words of a text, and for each row and word that it has once which and the row."""
    parts = pc.split_pattern_regex(pc.utf8_lower(values.fill_null("")), _APART)
    row = pc.list_parent_indices(parts).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = pc.list_flatten(parts)
    keep = pc.and_(pc.greater_equal(pc.utf8_length(flat), _LEAST), pc.invert(pc.utf8_is_decimal(flat)))
    coded = flat.filter(keep).dictionary_encode()
    row = row[keep.to_numpy(zero_copy_only=False)]
    size = len(coded.dictionary) + 1
    once = np.unique(row * size + coded.indices.to_numpy(zero_copy_only=False))
    return coded.dictionary.to_pylist(), once % size, once // size


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(kind) for test in tests)
