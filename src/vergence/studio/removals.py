"""Deletion of samples after a review, which is taken back by the version of the store that was before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.store.table import Store


class Removals:
    """Samples that people delete.

    Args:
        store: Opened.
        check: Raises ``BadInput`` if somebody else has changed the store.
    """

    def __init__(self, store: Store, check: Callable[[], None]) -> None:
        self.store, self.check = store, check
        self._done: list[tuple[int, int, int]] = []  # versions before and after, rows that went

    @property
    def deleted(self) -> int:
        """Samples that ``undo`` would bring back."""
        return self._done[-1][2] if self._done and self._done[-1][1] == self.store.version else 0

    def delete(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Delete rows of the store, and return those that stay, by their numbers before.

        Args:
            rows: ``(m,)``, ascending.
            count: How many the person who confirmed it has read that they are.

        Raises:
            BadInput: If the count is another, no row would go or stay, or the store was changed by somebody
                else.
        """
        if not 0 < len(rows) < len(self.store):
            raise BadInput(
                f"Of {len(self.store):,} samples {len(rows):,} are selected: some have to go, some stay."
            )
        if count != len(rows):
            raise BadInput(f"{len(rows):,} samples are selected, and {count:,} were confirmed: look again.")
        self.check()
        before = self.store.version
        kept = np.delete(np.arange(len(self.store)), rows)
        self.store.delete(self.store.read(["id"])["id"].take(pa.array(rows)).to_pylist())
        self._done.append((before, self.store.version, len(rows)))
        return kept

    def undo(self) -> str:
        """Bring back what was deleted last, and return what was done.

        Raises:
            BadInput: If there is nothing, or the store was changed since.
        """
        if not self.deleted:
            raise BadInput("Nothing was deleted, or the store has been changed since: nothing comes back.")
        self.check()
        before, _, count = self._done.pop()
        self.store.restore(before)
        if self._done:  # what is there now is what the deletion before left
            self._done[-1] = (self._done[-1][0], self.store.version, self._done[-1][2])
        return f"{count:,} samples are back."
