"""A batch of table rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from vergence.data.batch import Batch


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns that all rows of a table have.

    Args:
        numeric: Names of the columns of numbers.
        categorical: Names of the columns of categories.
        words: Of each categorical column its values as words, the most frequent first; code k
            stands for ``words[k - 1]``, code 0 for a missing value.
        groups: Name of each group of columns and the names of its columns; none where they come singly.
        offsets: What was subtracted from each column of numbers before it was rounded to float32; none
            where nothing was. An encoder adds the difference to those that it was trained with.
        one_unit: All numbers are of one kind, such as pixels or the features of a picture, so that
            they keep their proportions.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    one_unit: bool = False
    offsets: tuple[float, ...] = ()

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each column of numbers stands among them."""
        return {name: i for i, name in enumerate(self.numeric)}

    def offset(self, name: str) -> float:
        """Return what was subtracted from a column of numbers."""
        return self.offsets[self.places[name]] if self.offsets else 0.0

    def number(self, column: int, value: float) -> float:
        """Return a value of ``numeric`` as it stands in the table."""
        return value + self.offsets[column] if self.offsets else value


@dataclass(frozen=True, slots=True)
class TableBatch(Batch):
    """Rows of a table.

    Args:
        numeric: ``(B, M)`` float32, less ``columns.offsets``, NaN where missing.
        categorical: ``(B, C)`` int32 codes, 0 where missing.
        index: ``(B,)`` int64, the rows in their source.
        label: ``(B,)`` int64, -1 where unknown.
        columns: What the columns are.
    """

    numeric: Tensor
    categorical: Tensor
    index: Tensor
    label: Tensor
    columns: Columns
