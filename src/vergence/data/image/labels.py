"""Labels of images in a column of a table: whole numbers, truth values or words, however they are stored."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from vergence.data.columns import plain

NAMES = ("label", "labels", "fine_label", "class", "target", "category", "y")


class NoLabels(Exception):
    """A column holds what cannot be labels; the message is the reason."""


def label_column(names: Iterable[str]) -> str | None:
    """Return the column that holds labels by its name, None where there is none."""
    names = list(names)
    return next((name for name in NAMES if name in names), None)


def labels_of(column: pa.ChunkedArray) -> tuple[list[int | str | None], list[str] | None]:
    """Return the labels in a column, None where unknown, and the classes where its type tells them.

    Whole numbers that are stored as floats are whole numbers.

    Raises:
        NoLabels: If it holds other numbers, or no numbers and words.
        pyarrow.ArrowException: If the values are broken.
    """
    values = plain(column)
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int8()).to_pylist(), ["false", "true"]
    if pa.types.is_floating(values.type):
        raise NoLabels("it holds numbers that are not whole, and labels are classes")
    if pa.types.is_null(values.type):
        return [None] * len(values), None
    if pa.types.is_integer(values.type):
        return values.to_pylist(), None
    try:
        return values.cast(pa.string()).to_pylist(), None
    except pa.ArrowNotImplementedError:
        raise NoLabels(f"it is of type {values.type}, and labels are whole numbers or words") from None
