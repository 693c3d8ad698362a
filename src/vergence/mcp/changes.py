"""Tools over one store that change it; an agent has them only where a person has said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.mcp.rows import matching
from vergence.mcp.tools import ReadingTools
from vergence.store.table import Store
from vergence.studio.groups import check_version
from vergence.studio.selection import Tags

_SHARE = 0.25  # of the rows that were there at first, which may go by an agent's hand


class WritingTools(ReadingTools):
    """All that may be asked of a store, and two changes: a tag, and rows taken out.

    Args:
        store: Opened.
        column: Which vectors.
        pictures: Folder in which pictures may be looked for; None takes none.
    """

    def __init__(self, store: Store, *, column: str = "vector", pictures: Path | None = None) -> None:
        super().__init__(store, column=column, pictures=pictures)
        self._first, self._gone = len(store), 0

    def tag(
        self, column: str, tag: str, ids: list[str] | None = None, where: str | None = None
    ) -> dict[str, Any]:
        """Write a word into a column of text, a new one or one that is there, for some rows.

        Args:
            column: Its name.
            tag: Up to 60 characters; none ("") takes the word of these rows away.
            ids: Which rows.
            where: SQL condition on the rows, in place of ids.
        """
        store = self.store
        line = Tags(store, lambda: check_version(store)).put(self._rows(ids, where), column, tag)
        return {"done": line, "version": store.version}

    def delete(self, rows: int, ids: list[str] | None = None, where: str | None = None) -> dict[str, Any]:
        """Take rows out of the store; the version before stays readable. Ask the person before you do.

        Args:
            rows: How many they are; where that is not so, nothing goes.
            ids: Which rows.
            where: SQL condition on the rows, in place of ids.
        """
        store = self.store
        chosen = self._rows(ids, where)
        if len(chosen) != rows:
            raise BadInput(f"These are {len(chosen):,} rows, not {rows}: nothing was deleted.")
        if self._gone + len(chosen) > _SHARE * self._first:
            raise BadInput(
                f"At most a quarter of the {self._first:,} rows may go this way, and {self._gone:,} are "
                "gone: nothing was deleted. A person can do it with vergence delete."
            )
        version = store.version
        gone = store.delete(self._names(chosen))
        self._gone += gone
        return {"deleted": gone, "left": len(store), "version": store.version, "version_before": version}

    def _rows(self, ids: list[str] | None, where: str | None) -> np.ndarray:
        if (ids is None) == (where is None):
            raise BadInput("Say which rows: either ids or a condition (where).")
        if where is not None:
            rows = matching(self.store, where)
        else:
            rows = np.unique([self.store.find(name) for name in ids or ()]).astype(np.int64)
        if not len(rows):
            raise BadInput("No row is chosen.")
        return rows
