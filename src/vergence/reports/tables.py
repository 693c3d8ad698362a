"""Table rows in a report: their values beside those of their neighbours."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from markupsafe import Markup, escape
from torch import nn

from vergence.core.numbers import written
from vergence.data.tables import TableSource
from vergence.reports.figures import bars
from vergence.reports.subject import Drawn, Panel, Section
from vergence.store.table import Store
from vergence.use.clustering import Clusters
from vergence.use.nearest import search

CARD, TOLD = 8, 10  # columns that a card shows, that a panel shows
QUERIES, AROUND = 4, 4  # rows that are shown, each with so many neighbours
TELLING = 12  # columns whose share of variance is shown
_INK, _BLUE = "#767d8f", "#6f84ff"


def subject(store: Store, parts: Clusters, source: TableSource, encoder: nn.Module) -> TableRows:
    """Return how the page shows the rows of a table."""
    return TableRows(store, parts, source)


class TableRows(Drawn):
    """The rows of a table.

    Args:
        store: Their embeddings.
        parts: Their clusters.
        source: The same rows, in the store's order.
    """

    one, many = "row", "rows"
    raw = "the columns themselves"
    labelling = "Name a label: table:FILE?label=COLUMN, and run vergence measure."
    unlabelled = False

    def __init__(self, store: Store, parts: Clusters, source: TableSource) -> None:
        super().__init__(store, parts)
        self.source, self.columns = source, source.columns
        self.numeric, self.categorical = source.numeric, source.categorical

    @cached_property
    def variance_between(self) -> np.ndarray:
        """The share of each numeric column's variance that lies between classes, or clusters; ``(M,)``."""
        of = self.groupings[0][1]
        known = of >= 0
        x, of = self.numeric[known].astype(np.float64), of[known]
        present = np.isfinite(x)
        x = np.where(present, x, 0.0)
        mean = x.sum(0) / np.maximum(present.sum(0), 1)
        whole = (np.where(present, x - mean, 0.0) ** 2).sum(0)
        between = np.zeros(x.shape[1])
        for group in np.unique(of):
            own = of == group
            count = present[own].sum(0)
            between += count * (x[own].sum(0) / np.maximum(count, 1) - mean) ** 2 * (count > 0)
        return np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0)

    @cached_property
    def informative_columns(self) -> list[int]:
        """Columns, those first that tell most: numeric ones by number, categorical ones after them."""
        order = np.argsort(-self.variance_between, kind="stable").tolist()
        kinds = [len(self.columns.numeric) + k for k in range(len(self.columns.categorical))]
        few = min(2, len(kinds))
        return [*order[: CARD - few], *kinds[:few], *order[CARD - few :], *kinds[few:]]

    @cached_property
    def ranks(self) -> np.ndarray:
        """The share of rows below each number ``(n, M)``, in [0, 1]; NaN where missing."""
        ranks = np.full(self.numeric.shape, np.nan)
        for k in range(self.numeric.shape[1]):
            known = np.isfinite(self.numeric[:, k])
            values = np.sort(self.numeric[known, k])
            ends = [np.searchsorted(values, self.numeric[known, k], side) for side in ("left", "right")]
            ranks[known, k] = (ends[0] + ends[1]) / (2 * max(len(values), 1))
        return ranks

    def name(self, column: int) -> str:
        numbers = len(self.columns.numeric)
        return (
            self.columns.numeric[column] if column < numbers else self.columns.categorical[column - numbers]
        )

    def cell(self, row: int, column: int) -> tuple[str, float]:
        """Return what stands in a cell, and its rank in [0, 1]; 0 of a category or where missing."""
        numbers = len(self.columns.numeric)
        if column < numbers:
            value = self.columns.number(column, float(self.numeric[row, column]))
            return ("–", 0.0) if value != value else (written(value), float(self.ranks[row, column]))
        code = int(self.categorical[row, column - numbers])
        return (self.columns.words[column - numbers][code - 1] if code else "–", 0.0)

    def draw(self, row: int) -> bytes:
        """Draw a row as a card: a few columns, a bar as long as the value's rank."""
        shown = self.informative_columns[:CARD]
        step = 184 / max(len(shown), 4)
        parts = []
        for i, column in enumerate(shown):
            text, rank = self.cell(row, column)
            y = 8 + step * i
            parts.append(
                f'<rect x="8" y="{y:.0f}" width="{184 * rank:.0f}" height="{step - 3:.0f}" rx="3" '
                f'fill="{_BLUE}" opacity=".3"/><text x="14" y="{y + step / 2 + 4:.0f}">'
                f'{escape(_cut(self.name(column), 13))}</text><text x="186" y="{y + step / 2 + 4:.0f}" '
                f'text-anchor="end" font-weight="700">{escape(_cut(text, 9))}</text>'
            )
        head = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" '
            f'font-family="system-ui, sans-serif" font-size="14" fill="{_INK}">'
        )
        return f"{head}{''.join(parts)}</svg>".encode()

    def sections(self) -> list[Section]:
        words = {"class": "classes", "folder": "folders", "cluster": "clusters"}[self.groupings[0][0]]
        text = (
            f"{len(self.numeric):,} rows of {len(self.columns.numeric):,} numbers and "
            f"{len(self.columns.categorical):,} categories. In each card a row comes first, then stand its "
            "nearest; the bluer a number, the higher it is among all rows."
        )
        order = [k for k in self.informative_columns if k < len(self.columns.numeric)][:TELLING]
        shares = [(self.name(k), float(self.variance_between[k]), -1) for k in order]
        panels = [self._panel(row) for row in self._chosen()]
        if shares:
            panels.append(
                Panel(
                    "What tells them apart",
                    f"Share of each column's variance that lies between {words}.",
                    bars(shares, label=f"Variance between {words}"),
                )
            )
        return [Section("alike", "Similar rows", "Are neighbours alike in their columns?", text, panels)]

    def _chosen(self) -> list[int]:
        """Return the most typical row of each of the largest clusters."""
        return [int(self.parts.members(c)[0]) for c in range(min(QUERIES, len(self.parts)))]

    def _panel(self, row: int) -> Panel:
        hits = search(self.store, row, k=AROUND)
        rows = [row, *hits.rows[0][hits.rows[0] >= 0].tolist()]
        shown, pictures = self.informative_columns[:TOLD], self.pictures(rows)
        left, step, wide = 132, 22, (340 - 132) / len(rows)
        parts = []
        for j, picture in enumerate(pictures):
            said = _short(picture.name).removeprefix("row ") if picture.group is None else picture.group
            parts.append(
                Markup('<text class="tick middle" x="{:.1f}" y="11">{}<title>{}</title></text>').format(
                    left + wide * (j + 0.5), _cut(said, 6), picture.name
                )
            )
        for i, column in enumerate(shown):
            top = 18 + step * i
            parts.append(
                Markup('<text class="tick name" x="0" y="{}">{}<title>{}</title></text>').format(
                    top + 14, _cut(self.name(column), 17), self.name(column)
                )
            )
            for j, r in enumerate(rows):
                value, rank = self.cell(r, column)
                parts.append(
                    Markup(
                        '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="3" '
                        'style="fill: var(--line-0); opacity: {:.2f}"/>'
                        '<text class="tick middle" style="fill: var(--ink)" x="{:.1f}" y="{}">'
                        "{}<title>{}</title></text>"
                    ).format(
                        left + wide * j + 1, top, wide - 2, step - 2, 0.05 + 0.45 * rank,
                        left + wide * (j + 0.5), top + 14, _cut(value, 7), value,
                    )
                )  # fmt: skip
        svg = Markup('<svg class="chart" viewBox="0 0 340 {}" role="img" aria-label="{}">{}</svg>').format(
            20 + step * len(shown), f"{pictures[0].name} and its neighbours", Markup("").join(parts)
        )
        own = pictures[0]
        title = _short(own.name) if own.group is None else f"{_short(own.name)}, {own.group}"
        return Panel(title, "A typical row of its cluster, then the rows most like it.", svg)


def _short(name: str) -> str:
    """Return the number of a row, without the table's name."""
    return f"row {name.rpartition('#')[2]}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
