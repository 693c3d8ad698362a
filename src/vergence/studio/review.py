"""Near-duplicates, one group after the other: what was decided about each row is kept and exported."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.core.lists import cell, write_lines
from vergence.store.table import Store
from vergence.studio import cache

if TYPE_CHECKING:
    from vergence.use.copies import By

VERDICTS = ("keep", "drop", "")
SHOWN = 60  # rows of a group that are shown
_NAME = "review"


class Review:
    """Decisions about the near-duplicates of a store; they outlive the program.

    Args:
        store: Opened.
        column: Which vectors.

    Attributes:
        searched: Whether ``find`` has looked.
        groups: The rows of each, the largest group first; every row is a near-duplicate of the group's first.
        pairs: How many near-duplicates there are.
        chance: Pairs expected among these by chance; None where the rule does not know it.
    """

    def __init__(self, store: Store, column: str) -> None:
        self.store, self.column = store, column
        self.names = store.names
        kept = cache.load_json(store, _NAME)
        self._row = {name: row for row, name in enumerate(self.names)}
        self.verdicts: dict[int, str] = {
            self._row[name]: verdict
            for name, verdict in kept.items()
            if name in self._row and verdict in ("keep", "drop")
        }
        self.searched = False
        self.groups: list[np.ndarray] = []
        self.pairs = self.left_out = 0
        self.chance: float | None = None

    def find(self, by: By | None = None, threshold: float | None = None) -> None:
        """Look for near-duplicates as ``duplicates`` does; raises ``BadInput`` where that does."""
        from vergence.use.copies import duplicates

        copies = duplicates(self.store, by=by, threshold=threshold, column=self.column)
        self.searched, self.groups, self.pairs = True, copies.groups, copies.total
        self.chance = copies.chance
        self.left_out = copies.total - len(copies.pairs)

    def group(self, number: int) -> dict[str, Any]:
        """Return one group: its rows, what was decided, and the cosine of each with the first.

        Raises:
            BadInput: If there is no such group.
        """
        if not 0 <= number < len(self.groups):
            raise BadInput(f"There is no group {number + 1}; {len(self.groups):,} were found.")
        rows = self.groups[number][:SHOWN]
        unit = self.store.directions(self.column)[rows]
        return {
            "number": number,
            "size": len(self.groups[number]),
            "rows": rows.tolist(),
            "verdicts": [self.verdicts.get(row, "") for row in rows.tolist()],
            "cosines": [round(float(value), 4) for value in unit @ unit[0]],
        }

    def decide(self, rows: list[int], verdict: str) -> None:
        """Keep or drop rows, or take back what was decided (``""``).

        Raises:
            BadInput: If the verdict or a row is unknown.
            DiskTrouble: If the disk refuses; what was decided holds until the program ends.
        """
        if verdict not in VERDICTS:
            raise unknown("verdict", verdict, VERDICTS)
        if not all(0 <= row < len(self.names) for row in rows):
            raise BadInput(f"{self.store.path} has rows 0 to {len(self.names) - 1}.")
        for row in rows:
            self.verdicts.pop(row, None)
            if verdict:
                self.verdicts[row] = verdict
        self._keep()

    @property
    def surplus(self) -> int:
        """Rows that would go if only the first of each group stayed."""
        return sum(len(group) - 1 for group in self.groups)

    def keep_first(self, number: int | None = None) -> int:
        """Keep the first row of a group and drop the others; None does so in all that nobody has looked at.

        Returns:
            In how many groups.

        Raises:
            BadInput: If there is no such group.
        """
        if number is None:
            chosen = [g for g in self.groups if not any(row in self.verdicts for row in g.tolist())]
        else:
            self.group(number)
            chosen = [self.groups[number]]
        for group in chosen:
            self.verdicts.update(dict.fromkeys(group[1:].tolist(), "drop"))
            self.verdicts[int(group[0])] = "keep"
        self._keep()
        return len(chosen)

    @property
    def decided(self) -> int:
        """Groups in which every row has a verdict."""
        return sum(all(row in self.verdicts for row in group.tolist()) for group in self.groups)

    @property
    def dropped(self) -> list[str]:
        """The ids to drop, in the store's order."""
        return [self.names[row] for row in sorted(self.verdicts) if self.verdicts[row] == "drop"]

    def text(self) -> str:
        """Return the ids to drop, one a line, as ``vergence delete --ids @FILE`` reads them."""
        return write_lines(self.dropped)

    def table(self) -> str:
        """Return all that was decided as CSV: id, verdict and the number of its group, where there is one."""
        group = {row: i + 1 for i, rows in enumerate(self.groups) for row in rows.tolist()}
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "verdict", "group"])
        writer.writerows(
            [cell(self.names[row]), self.verdicts[row], group.get(row, "")] for row in sorted(self.verdicts)
        )
        return file.getvalue()

    def _keep(self) -> None:
        cache.save_json(
            self.store, _NAME, {self.names[row]: self.verdicts[row] for row in sorted(self.verdicts)}
        )
