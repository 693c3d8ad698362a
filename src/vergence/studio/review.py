"""Near-duplicates, one group after the other: what was decided about each row is kept and exported."""

from __future__ import annotations

import csv
import io
from typing import Any, Literal

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.data.store import Store
from vergence.studio import aside
from vergence.use.search import Duplicates, duplicates

Verdict = Literal["keep", "drop", ""]
VERDICTS = ("keep", "drop", "")
SHOWN = 60  # rows of a group that are shown
_NAME = "review"


class Review:
    """Decisions about the near-duplicates of a store; they outlive the program.

    Args:
        store: Opened.
        column: Which vectors.

    Attributes:
        threshold: Least cosine of what was found; None before ``find``.
        groups: The rows of each, the largest group first.
    """

    def __init__(self, store: Store, column: str) -> None:
        self.store, self.column = store, column
        self.names = store.names
        kept = aside.kept_words(store, _NAME)
        self._row = {name: row for row, name in enumerate(self.names)}
        self.verdicts: dict[int, str] = {
            self._row[name]: verdict
            for name, verdict in kept.items()
            if name in self._row and verdict in ("keep", "drop")
        }
        self.threshold: float | None = None
        self.groups: list[np.ndarray] = []
        self.pairs = 0

    def find(self, threshold: float) -> Duplicates:
        """Look for near-duplicates; raises ``BadInput`` if the threshold is not in (0, 1]."""
        found = duplicates(self.store, threshold=threshold, column=self.column)
        self.threshold, self.groups, self.pairs = threshold, found.groups, found.total
        return found

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

    def keep_first(self) -> int:
        """In every group that nobody has looked at keep the first row, drop the others; return how many."""
        untouched = [g for g in self.groups if not any(row in self.verdicts for row in g.tolist())]
        for group in untouched:
            self.verdicts.update(dict.fromkeys(group[1:].tolist(), "drop"))
            self.verdicts[int(group[0])] = "keep"
        self._keep()
        return len(untouched)

    @property
    def decided(self) -> int:
        """Groups in which every row has a verdict."""
        return sum(all(row in self.verdicts for row in group.tolist()) for group in self.groups)

    @property
    def dropped(self) -> list[str]:
        """The ids to drop, in the store's order."""
        return [self.names[row] for row in sorted(self.verdicts) if self.verdicts[row] == "drop"]

    def text(self) -> str:
        """Return the ids to drop, one a line."""
        return "".join(f"{name}\n" for name in self.dropped)

    def table(self) -> str:
        """Return all that was decided as CSV: id, verdict and the number of its group, where there is one."""
        group = {row: i + 1 for i, rows in enumerate(self.groups) for row in rows.tolist()}
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "verdict", "group"])
        writer.writerows(
            [_harmless(self.names[row]), self.verdicts[row], group.get(row, "")]
            for row in sorted(self.verdicts)
        )
        return file.getvalue()

    def _keep(self) -> None:
        aside.keep_words(
            self.store, _NAME, {self.names[row]: self.verdicts[row] for row in sorted(self.verdicts)}
        )


def _harmless(name: str) -> str:
    """Keep a spreadsheet from reading an id as a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
