"""Subjects of reports: how samples of one modality are shown, and what else there is to say of them.

A modality says in its descriptor which function takes ``(store, parts, source, encoder)`` and returns a
``Subject``. Portraits are data URIs, so that a drawing (SVG) goes
wherever a photo does: on the map, among neighbours, in clusters and pairs.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image
from torch import nn

from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.reports.figures import palette
from vergence.store.table import Store
from vergence.use.clustering import Clusters

DRAWN = 600  # points of a map that are drawn when pointed at
COLOURS = 20  # groups that get a colour of their own
_ON_MAP = 48  # pixels of the pictures that the map shows when pointed at


@dataclass(frozen=True, slots=True)
class Picture:
    """One sample as the page shows it.

    Args:
        name: Its id.
        group: Its class, or None.
        uri: Its portrait as a data URI, or None for a sample without one.
        small: Whether it is so small that its pixels should stay sharp when enlarged.
        fact: What else to say under it.
    """

    name: str
    group: str | None
    uri: str | None
    small: bool
    fact: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One card: a drawing, what it shows and how to read it.

    Args:
        title: What is drawn.
        how: How to read it.
        svg: The drawing.
        last: A number to put beside the title, or None.
        first: What that number was to begin with, or None.
        legend: Names of the drawing's lines, in the order of their colours.
    """

    title: str
    how: str
    svg: Markup
    last: float | None = None
    first: float | None = None
    legend: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that one modality adds.

    Args:
        key: Its place in the page, a word of lower-case letters.
        name: In the list of sections.
        title: Its heading.
        text: What stands under the heading.
        panels: Its cards.
    """

    key: str
    name: str
    title: str
    text: str
    panels: Sequence[Panel] = field(default=())


class Subject:
    """Samples as the pictures that the store holds of them, and as names where it holds none.

    Modalities override what they can show better: ``portraits``, ``facts``, ``bonds``, ``links``
    and ``sections``.

    Args:
        store: Embeddings; rows below are its rows.
        parts: Its clusters.

    Attributes:
        one: What a sample is called.
        many: What samples are called.
        raw: What the data are without an encoder.
        labelling: How to give labels.
        unlabelled: Whether no method of the modality looks at labels.
        lines: What the map's lines are, a sentence, where there are any.
        drawn: What portraits and bonds show, where it needs words.
        around: Neighbours shown of a sample.
        wide: Whether captions need more room than a number.
    """

    one, many = "sample", "samples"
    raw = "the raw input"
    labelling = "Pass a source with labels to vergence measure, to get the table."
    unlabelled = True
    lines = drawn = ""
    around = 9
    wide = False

    def __init__(self, store: Store, parts: Clusters) -> None:
        self.store, self.parts = store, parts

    @cached_property
    def classes(self) -> list[str]:
        """The classes that get a colour, in their own order; the most frequent when they are many."""
        rows = self.store.read(["class", "label"], where="label IS NOT NULL").to_pylist()
        count = Counter((row["label"], class_of(row) or "") for row in rows)
        return [name for _, name in sorted(key for key, _ in count.most_common(COLOURS))]

    @cached_property
    def groupings(self) -> list[tuple[str, np.ndarray, list[str]]]:
        """What rows are coloured by: "class" or "folder", where there are labels, and "cluster".

        Each with ``(n,)`` numbers of colours, -1 for none, and their names.
        """
        groupings: list[tuple[str, np.ndarray, list[str]]] = []
        if self.classes:
            number = {name: i for i, name in enumerate(self.classes)}
            rows = self.store.read(["class", "label"]).to_pylist()
            of = np.array([number.get(class_of(row) or "", -1) for row in rows])
            groupings.append((self.store.label_name, of, self.classes))
        of = np.where(self.parts.of < COLOURS, self.parts.of, -1)
        groupings.append(("cluster", of, [str(i + 1) for i in range(min(len(self.parts), COLOURS))]))
        return groupings

    @cached_property
    def palette(self) -> list[tuple[int, int]]:
        """Hue and lightness step of every colour."""
        return palette(max(len(names) for _, _, names in self.groupings))

    def pictures(self, rows: Sequence[int] | np.ndarray) -> list[Picture]:
        """Return these rows as the page shows them."""
        if not len(rows):
            return []
        records = self.store.take(rows, ["id", "class", "label"]).to_pylist()
        described = zip(records, self.portraits(rows), self.facts(rows), strict=True)
        return [Picture(row["id"], class_of(row), uri, _is_small(uri), fact) for row, uri, fact in described]

    def portraits(self, rows: Sequence[int] | np.ndarray) -> list[str | None]:
        """Return what these rows look like, as data URIs."""
        files = self.store.take(rows, ["thumbnail"])["thumbnail"].to_pylist()
        return [data_uri(file) for file in files]

    def on_map(self, rows: np.ndarray) -> list[str | None]:
        """Return small portraits, one a point of the map."""
        files = self.store.take(rows, ["thumbnail"])["thumbnail"].to_pylist()
        return [_tiny(file) for file in files]

    def facts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return what to say of each row beside its class, in a few words."""
        return [""] * len(rows)

    def bonds(self, row: int, others: np.ndarray) -> list[str]:
        """Return what the data itself say of a row and each of the others, in a few words."""
        return [""] * len(others)

    def links(self, rows: np.ndarray) -> np.ndarray:
        """Return which of these rows to join by lines on the map, ``(2, m)`` places in ``rows``."""
        return np.empty((2, 0), np.int64)

    def sections(self) -> list[Section]:
        """Return what else there is to say of data of this modality."""
        return []


def subject_of(
    store: Store, parts: Clusters, *, modality: str, source: Source | None, encoder: nn.Module
) -> Subject:
    """Return how the page shows the samples of a store.

    Args:
        store: Embeddings.
        parts: Its clusters.
        modality: Of the samples.
        source: Holds the samples of the store's ids; None, or one that lacks some, leaves names.
        encoder: What made the embeddings.
    """
    known = find_modality(modality)
    make: Callable[..., Subject] | None = known.load("subject")
    if make is None:
        return Subject(store, parts)
    if known.thumbnail:  # the store holds all that is shown
        return make(store, parts, source, encoder)
    if source is None:
        return Subject(store, parts)
    place = {name: i for i, name in enumerate(source.names)}
    rows = np.array([place.get(name, -1) for name in store.names])
    if (rows < 0).any():
        return Subject(store, parts)
    return make(store, parts, source.subset(rows), encoder)


class Images(Subject):
    """Images, as the store keeps them."""

    raw = "the raw pixels"
    labelling = "Nest images in one folder a class, or pass a labelled test source, to get the table."

    def __init__(self, store: Store, parts: Clusters, source: Source | None, encoder: nn.Module) -> None:
        super().__init__(store, parts)


def class_of(row: dict[str, Any]) -> str | None:
    """Return the class of a row of a store, by name where it has one."""
    if row["class"] is not None:
        return row["class"]
    return None if row["label"] is None else str(row["label"])


class Drawn(Subject):
    """Samples that are no pictures: each portrait is drawn, on the map only while they are few."""

    around = 6
    wide = True

    def draw(self, row: int) -> bytes:
        """Return the portrait of a row, as an SVG file."""
        raise NotImplementedError

    def portraits(self, rows: Sequence[int] | np.ndarray) -> list[str | None]:
        return [data_uri(self.draw(int(row))) for row in rows]

    def on_map(self, rows: np.ndarray) -> list[str | None]:
        return self.portraits(rows) if len(rows) <= DRAWN else [None] * len(rows)


def data_uri(file: bytes | None) -> str | None:
    """Return a PNG, WebP, JPEG or SVG file as a URI that carries the picture itself."""
    if not file:
        return None
    kinds = {b"\x89PNG": "png", b"<svg": "svg+xml"}
    kind = kinds.get(file[:4], "webp" if file[8:12] == b"WEBP" else "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _is_small(uri: str | None) -> bool:
    if uri is None or uri.startswith("data:image/svg"):
        return False
    return max(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size) <= 40


def _tiny(file: bytes | None) -> str | None:
    if file is None or len(file) < 1_000:
        return data_uri(file)
    image, out = Image.open(io.BytesIO(file)), io.BytesIO()
    image.thumbnail((_ON_MAP, _ON_MAP))
    image.save(out, "WEBP", quality=70)
    return data_uri(out.getvalue())
