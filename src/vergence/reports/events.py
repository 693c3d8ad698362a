"""Event histories in a report: each one a timeline, coloured by what happened."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from markupsafe import Markup
from torch import nn

from vergence.data.events import EventSource
from vergence.reports.drawing import ink
from vergence.reports.figures import bars, columns, palette
from vergence.reports.subject import Drawn, Panel, Section
from vergence.store.table import Store
from vergence.use.clustering import Clusters
from vergence.use.nearest import search

LATEST = 150  # events of a history that a timeline shows at most
WORDS = 7  # most frequent categories that get a colour
QUERIES, AROUND = 4, 5  # timelines: of so many entities, each with so many neighbours
_LOOKED_AT = 100_000  # events from which heights are scaled
_GREY = "#9298a8"
_DAY = 86_400
_REAL_TIME = 1e8  # seconds; earlier than 1973, times count in a unit of the log's own


def subject(store: Store, parts: Clusters, source: EventSource, encoder: nn.Module) -> Histories:
    """Return how the page shows the entities of an event log."""
    return Histories(store, parts, source)


class Histories(Drawn):
    """The entities of an event log.

    Args:
        store: Their embeddings.
        parts: Their clusters.
        source: The same entities, in the store's order.
    """

    one, many = "entity", "entities"
    raw = "hand-made aggregates"
    labelling = "Name a label: events:FILE?id=…&time=…&label=COLUMN, and run vergence measure."

    def __init__(self, store: Store, parts: Clusters, source: EventSource) -> None:
        super().__init__(store, parts)
        self.source, self.log = source, source.log
        self.first, self.past = source.log.offsets[source.rows], source.log.offsets[source.rows + 1]
        self.lengths = self.past - self.first

    @cached_property
    def coloured_by(self) -> int | None:
        """The first categorical field with two words or more."""
        return next((k for k, words in enumerate(self.log.fields.words) if len(words) > 1), None)

    @cached_property
    def raised_by(self) -> tuple[int, np.ndarray] | None:
        """The first numeric field that is no flag, and its values in order, as a scale."""
        some = np.linspace(0, len(self.log.time) - 1, min(_LOOKED_AT, len(self.log.time))).astype(np.int64)
        for k in range(len(self.log.fields.numeric)):
            values = np.sort(self.log.numeric[some, k])
            values = values[np.isfinite(values)]
            if len(values) and len(np.unique(values)) > 2:
                return k, values
        return None

    def timeline(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where and how to draw the latest events of a row.

        Returns:
            ``(n,)`` places along the history in [0, 1], where a gap takes room by its logarithm;
            ``(n,)`` heights in [0, 1]; ``(n,)`` numbers of colours, -1 for none.
        """
        part = slice(max(int(self.first[row]), int(self.past[row]) - LATEST), int(self.past[row]))
        n = part.stop - part.start
        step = np.log1p(np.maximum(self.log.gap[part].astype(np.float64), 0))
        step += 0.2 * step[1:].mean() + 1e-3 if n > 1 else 1.0  # events of the same time stay apart
        step[0] = 0
        x = np.cumsum(step) / max(float(step.sum()), 1e-9)
        y, colour = np.full(n, 0.5), np.zeros(n, np.int64)
        if self.raised_by is not None:
            k, scale = self.raised_by
            value = self.log.numeric[part, k]
            middle = np.searchsorted(scale, value, "left") + np.searchsorted(scale, value, "right")
            y = np.where(np.isfinite(value), middle / (2 * len(scale)), 0.5)
        if self.coloured_by is not None:
            code = self.log.categorical[part, self.coloured_by].astype(np.int64)
            colour = np.where((code > 0) & (code <= WORDS), code - 1, -1)
        return x, y, colour

    @cached_property
    def inks(self) -> list[str]:
        """The colours of the words."""
        count = 1 if self.coloured_by is None else len(self.log.fields.words[self.coloured_by])
        return [ink(*colour) for colour in palette(min(count, WORDS))]

    def draw(self, row: int) -> bytes:
        """Draw a history as dots: across in time, upwards by a number, coloured by a category."""
        x, y, colour = self.timeline(row)
        places = np.stack([16 + 168 * x, 184 - 168 * y], 1).round().astype(int)
        size = 16 if len(x) <= 30 else 11 if len(x) <= 80 else 8
        dots = [
            f'<path d="{_dots(places[colour == c])}" stroke="{self.inks[c] if c >= 0 else _GREY}" '
            f'stroke-width="{size}" stroke-linecap="round"/>'
            for c in np.unique(colour).tolist()
        ]
        rule = f'<path d="M16 196H184" stroke="{_GREY}" stroke-width="2"/>'
        head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" fill="none">'
        return f"{head}{rule}{''.join(dots)}</svg>".encode()

    def facts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        chosen = np.asarray(rows)
        ends = self.log.time[self.past[chosen] - 1] - self.log.time[self.first[chosen]]
        counts = self.lengths[chosen].tolist()
        return [
            f"{count:,} event{'s' if count > 1 else ''}, {self._span(end)}"
            for count, end in zip(counts, ends.tolist(), strict=True)
        ]

    def _span(self, time: float) -> str:
        if self.log.time[0] < _REAL_TIME:
            return f"span {time:.4g}"
        if time >= 2 * _DAY:
            return f"{time / _DAY:,.0f} days"
        return f"{time / 3600:.0f} h" if time >= 2 * 3600 else f"{time / 60:.0f} min"

    def bonds(self, row: int, others: np.ndarray) -> list[str]:
        """Say how much of their events two entities have in common, by the category that colours them."""
        if self.coloured_by is None:
            return [""] * len(others)
        own, *theirs = (self._shares(int(r)) for r in [row, *others])
        return [f"{100 * np.minimum(own, share).sum():.0f} % alike" for share in theirs]

    def _shares(self, row: int) -> np.ndarray:
        assert self.coloured_by is not None
        codes = self.log.categorical[int(self.first[row]) : int(self.past[row]), self.coloured_by]
        count = np.bincount(codes, minlength=len(self.log.fields.words[self.coloured_by]) + 1)
        return count / count.sum()

    def sections(self) -> list[Section]:
        fields = self.log.fields
        notes = ["Dots are events in their order, the latest on the right; a gap takes room by its logarithm"]
        notes += [f"higher is more of {fields.numeric[self.raised_by[0]]}"] if self.raised_by else []
        notes += [] if self.coloured_by is None else [f"colours are {fields.categorical[self.coloured_by]}"]
        timelines = Section(
            "timelines",
            "Timelines",
            "Do neighbours live alike?",
            "; ".join(notes) + ". The first line of a card is an entity, below it stand its nearest.",
            [self._panel(row) for row in self._chosen()],
        )
        gaps = self.log.gap[
            np.linspace(0, len(self.log.gap) - 1, min(_LOOKED_AT, len(self.log.gap))).astype(int)
        ]
        text = (
            f"{int(self.lengths.sum()):,} events; events of an entity: mean {self.lengths.mean():,.3g}, "
            f"median {np.median(self.lengths):,g}, maximum {self.lengths.max():,}; entities with a single "
            f"event: {int((self.lengths == 1).sum()):,}. {100 * (gaps <= 0).mean():.0f} % of the events are "
            "the first of their entity or come at the same time as the one before."
        )
        word, of, names = self.groupings[0]
        means = [
            (f"{word} {name}" if word == "cluster" else name, float(self.lengths[of == i].mean()), i)
            for i, name in enumerate(names)
            if (of == i).any()
        ]
        panels = [
            Panel("Lengths", "Number of entities by number of events.", _logarithmic(self.lengths, "events")),
            Panel(
                f"Mean length by {word}",
                "A large difference can be told without looking at any event.",
                bars(means, label=f"Mean length by {word}"),
            ),
        ]
        return [timelines, Section("histories", "Lengths", "How long are the histories?", text, panels)]

    def _chosen(self) -> list[int]:
        """Return a few rows of the largest groups: of a length that is usual there, and longer ones."""
        of = self.groupings[0][1]
        groups, counts = np.unique(of[of >= 0], return_counts=True)
        groups = groups[np.argsort(-counts, kind="stable")][:QUERIES]
        chosen = []
        for group in groups:
            rows = np.flatnonzero(of == group)
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            shares = np.linspace(0.5, 0.9, -(-QUERIES // len(groups)))
            chosen += rows[np.unique((shares * (len(rows) - 1)).astype(int))].tolist()
        return chosen[:QUERIES]

    def _panel(self, row: int) -> Panel:
        hits = search(self.store, row, k=AROUND)
        rows = [row, *hits.rows[0][hits.rows[0] >= 0].tolist()]
        pictures, (left, right, step) = self.pictures(rows), (70, 334, 26)
        parts = []
        for i, (r, picture) in enumerate(zip(rows, pictures, strict=True)):
            x, y, colour = self.timeline(r)
            places = np.stack([left + (right - left) * x, step * i + 20 - 15 * y], 1).round(1)
            parts.append(
                Markup(
                    '<text class="tick name" x="0" y="{t}">{}<title>{}</title></text>'
                    '<line class="rule" x1="{}" x2="{}" y1="{u}" y2="{u}"/>'
                ).format(
                    picture.name if len(picture.name) <= 10 else f"{picture.name[:9]}…",
                    f"{picture.name}, {picture.fact}", left - 4, right + 4, t=step * i + 16, u=step * i + 24,
                )
            )  # fmt: skip
            parts += [
                Markup(
                    '<path d="{}" stroke="{}" stroke-width="5" stroke-linecap="round" fill="none"/>'
                ).format(_dots(places[colour == c]), self.inks[c] if c >= 0 else _GREY)
                for c in np.unique(colour).tolist()
            ]
        bottom = step * len(rows)
        key, height = self._key(bottom + 8)
        svg = Markup('<svg class="chart" viewBox="0 0 340 {}" role="img" aria-label="{}">{}{}</svg>').format(
            bottom + height,
            f"Timelines of {pictures[0].name} and its neighbours",
            Markup("").join(parts),
            key,
        )
        own = pictures[0]
        title = own.name if own.group is None else f"{own.name}, {own.group}"
        near = ", ".join(p.name if p.group is None else p.group for p in pictures[1:])
        return Panel(title, f"{own.fact}. Nearest: {near or 'none'}.", svg)

    def _key(self, top: int) -> tuple[Markup, int]:
        """Draw which colour is which word, in as many lines as it takes."""
        if self.coloured_by is None:
            return Markup(""), 4
        words = self.log.fields.words[self.coloured_by]
        shown = [(w if len(w) <= 14 else f"{w[:13]}…", self.inks[i]) for i, w in enumerate(words[:WORDS])]
        shown += [("other", _GREY)] if len(words) > WORDS else []
        parts, x, y = [], 0, top + 8
        for word, colour in shown:
            wide = 22 + 6 * len(word)
            if x + wide > 340 and x:
                x, y = 0, y + 16
            parts.append(
                Markup(
                    '<circle cx="{}" cy="{}" r="4" fill="{}"/><text class="tick" x="{}" y="{}">{}</text>'
                ).format(x + 5, y, colour, x + 13, y + 4, word)
            )
            x += wide
        return Markup("").join(parts), y + 12 - top + 8


def _dots(places: np.ndarray) -> str:
    return "".join(f"M{x:g} {y:g}h0" for x, y in places.tolist())


def _logarithmic(values: np.ndarray, x_name: str) -> Markup:
    """Draw how often whole numbers of 1 or more occur, in bins that widen."""
    borders = np.unique(np.geomspace(int(values.min()), int(values.max()) + 1, 16).round().astype(int))
    counts = np.histogram(values, borders)[0]
    return columns(counts.tolist(), [f"{b:,}" for b in borders.tolist()], label="Entities", x_name=x_name)
