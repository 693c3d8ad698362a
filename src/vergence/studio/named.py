"""Named selections of a store's rows, which its folder keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.store.table import Store
from vergence.studio import cache
from vergence.studio.selection import LONGEST, mask_text, read_mask

_MOST = 30  # names
_FILE = "selections"


class NamedSelections:
    """Selections by name, of the rows as they are now: others are forgotten when the rows change.

    Args:
        store: Opened.
        mark: The fingerprint of its rows.
    """

    def __init__(self, store: Store, mark: str) -> None:
        self.store, self.file, self.size = store, f"{_FILE}-{mark}", len(store)
        self._masks: dict[str, str] = {}
        for name, mask in cache.load_json(store, self.file).items():
            try:
                read_mask(str(mask), self.size)
            except BadInput:
                continue
            self._masks[name] = mask

    def keep(self, name: str, rows: np.ndarray) -> list[dict[str, Any]]:
        """Keep rows under a name, in place of those that it had; returns what ``listed`` does.

        Raises:
            BadInput: If the name cannot be used, there are too many, or no row is given.
        """
        name = " ".join(name.split())
        if not name or len(name) > LONGEST or not name.isprintable():
            raise BadInput(f"A name has 1 to {LONGEST} characters that can be printed.")
        if not len(rows):
            raise BadInput("No sample is selected.")
        if name not in self._masks and len(self._masks) >= _MOST:
            raise BadInput(f"There are {_MOST} named selections: forget one first.")
        self._masks[name] = mask_text(rows, self.size)
        self._write()
        return self.listed()

    def forget(self, name: str) -> list[dict[str, Any]]:
        """Forget a name; returns what ``listed`` does."""
        self.rows(name)
        del self._masks[name]
        self._write()
        return self.listed()

    def rows(self, name: str) -> np.ndarray:
        """Return the rows ``(m,)`` of a name; raises ``BadInput`` if there is none such."""
        if name not in self._masks:
            raise unknown("selection", name, self._masks)
        return read_mask(self._masks[name], self.size)

    def listed(self) -> list[dict[str, Any]]:
        """Return every name with how many rows it has, in the order in which they were kept."""
        return [{"name": name, "count": len(self.rows(name))} for name in self._masks]

    def _write(self) -> None:
        cache.save_json(self.store, self.file, self._masks)
