"""Projection: where every row lies on the map, at once by PCA, then better, worked out in the background."""

from __future__ import annotations

import contextlib
import importlib.util

import numpy as np
import pyarrow as pa

from vergence.core.errors import VergenceError, unknown
from vergence.store.table import Store
from vergence.studio import cache

NOWHERE = 65_535  # both coordinates of a row without a vector
_SIDE = NOWHERE - 1  # of the map, in steps
_FEW = 10  # rows below which only PCA makes sense
_ALL = 3_000  # rows up to which every one is laid out; of more, the others are put among a sample
_AXES = 20_000  # rows that say which axes the first map has
_BLOCK = 65_536  # rows that are laid on them at a time
_SPREAD = 1e-6  # of unit vectors in any direction: below are errors of rounding


class Projection:
    """The map of one vector column.

    Args:
        store: Opened.
        column: Which vectors.
        mark: The fingerprint of both.

    Attributes:
        now: Where the rows are shown, ``(n, 2)`` uint16, x to the right and y upwards, ``NOWHERE`` for a row
            without a vector; what laid them out, for people to read, "" where all vectors are alike; and how
            often that has changed.
        final: Whether there is nothing better to come.
    """

    def __init__(self, store: Store, column: str, mark: str) -> None:
        self.store, self.column, self.mark = store, column, mark
        kept = cache.load_array(store, f"map-{mark}")
        self.final = kept is not None and kept.shape == (len(store), 2) and kept.dtype == np.uint16
        if self.final:
            assert kept is not None
            how = cache.load_json(store, f"map-{mark}").get("how")
            self.now = kept, str(how or better(int((kept[:, 0] < NOWHERE).sum()))), 0
        else:
            self.now = *self._first(), 0

    def improve(self) -> None:
        """Lay the rows out so that neighbours lie together, and keep that for the next time.

        Raises:
            NoSpread: If all vectors are alike.
        """
        from vergence.use.maps import layout, place_among, plane

        vectors = self.store.vectors(self.column)
        present = self.store.present(self.column)
        if len(present) <= _ALL:
            points, how = plane(vectors[present], how="tsne")
            coordinates = self._spread(present, points)
        else:
            known = layout(self.store, column=self.column)
            points = place_among(vectors[present], vectors[known.rows], known.points)
            points[np.searchsorted(present, known.rows)] = known.points
            coordinates = self._spread(present, points)
            how = (
                f"{known.how} of {len(known.rows):,} of {len(present):,} samples, the others put among their "
                "neighbours"
            )
        cache.save_array(self.store, f"map-{self.mark}", coordinates)
        with contextlib.suppress(VergenceError):
            cache.save_json(self.store, f"map-{self.mark}", {"how": how})
        self.now, self.final = (coordinates, how, self.now[2] + 1), True

    def _first(self) -> tuple[np.ndarray, str]:
        """Return the map by PCA; no row lies anywhere, by nothing, where all vectors are alike."""
        present = self.store.present(self.column)
        points = main_plane(self.store.vectors(self.column), present)
        if points is None:
            return np.full((len(self.store), 2), NOWHERE, np.uint16), ""
        return self._spread(present, points), "PCA"

    def _spread(self, present: np.ndarray, points: np.ndarray) -> np.ndarray:
        places = np.full((len(self.store), 2), NOWHERE, np.uint16)
        low, high = points.min(0), points.max(0)
        share = (points - low) / np.where(high > low, high - low, 1)
        places[present] = np.round(share * _SIDE).astype(np.uint16)
        return places


class ColumnMap:
    """A map by two columns of numbers or times; it has what a ``Projection`` has, and nothing better comes.

    Args:
        store: Opened.
        x: The column that goes to the right.
        y: The one that goes upwards.

    Raises:
        BadInput: If a column is not there, or holds neither numbers nor times.
    """

    final = True

    def __init__(self, store: Store, x: str, y: str) -> None:
        values = np.stack([_numbers(store, name) for name in (x, y)], axis=1)
        valid = np.isfinite(values).all(1)
        places = np.full(values.shape, NOWHERE, np.uint16)
        if valid.any():
            low, high = values[valid].min(0), values[valid].max(0)
            share = np.where(high > low, (values[valid] - low) / np.where(high > low, high - low, 1), 0.5)
            places[valid] = np.round(share * _SIDE).astype(np.uint16)
        self.now = places, f"{x} to the right, {y} upwards", 0

    def improve(self) -> None:
        """Do nothing: the columns are what they are."""


def _numbers(store: Store, column: str) -> np.ndarray:
    """Return a column as ``(n,)`` float64, NaN where it has no value."""
    known = [field.name for field in store.table.schema if _is_number(field.type)]
    if column not in known:
        raise unknown("column of numbers or times", column, known)
    values = store.read([column])[column].combine_chunks()
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int64() if values.type.bit_width == 64 else pa.int32())
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in (*tests, pa.types.is_date, pa.types.is_timestamp))


def main_plane(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Return where directions lie on their two principal axes ``(m, 2)`` float32, None where all are alike.

    The axes are those of an even sample of 20,000 rows. This is ``use.maps.plane(how="pca")`` in plain NumPy,
    block by block: the first map need not wait for what lays out the better one.

    Args:
        vectors: ``(n, D)``.
        rows: ``(m,)``, which of them.
    """
    chosen = rows if len(rows) <= _AXES else rows[np.linspace(0, len(rows) - 1, _AXES).astype(np.int64)]
    unit = _unit(vectors[chosen]).astype(np.float64)
    if len(unit) > 1 and np.ptp(unit, axis=0).max() <= _SPREAD:
        return None
    if len(unit) < 3 or unit.shape[1] < 2:
        return np.pad(_unit(vectors[rows])[:, :2], ((0, 0), (0, max(0, 2 - unit.shape[1]))))
    mean = unit.mean(0)
    axes = np.linalg.eigh((unit - mean).T @ (unit - mean))[1][:, :-3:-1]
    axes *= np.sign(axes[np.abs(axes).argmax(0), [0, 1]])  # the same way up on every machine
    points = np.empty((len(rows), 2), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        points[start : start + _BLOCK] = (_unit(vectors[part]) - mean) @ axes
    return points


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def better(n: int) -> str:
    """Return what the better map of n rows is made by, for people to read.

    >>> better(500)
    't-SNE'
    """
    if n <= _ALL:
        return "t-SNE" if n >= _FEW else "PCA"
    many = n > 5_000 and importlib.util.find_spec("umap") is not None
    return f"{'UMAP' if many else 't-SNE'} of a sample, the others put among their neighbours"
