"""Session of one store: what the page asks for, and what is worked out in the background."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, VergenceError
from vergence.core.numbers import written
from vergence.data.arrow_types import times_as_words
from vergence.data.written import is_text
from vergence.store.table import Store
from vergence.studio import cache, colours
from vergence.studio.cache import fingerprint
from vergence.studio.colours import KINDS, NONE, OTHER, Legend
from vergence.studio.encoder_session import EncoderSession
from vergence.studio.groups import Groups, check_version
from vergence.studio.named import NamedSelections
from vergence.studio.originals import Originals
from vergence.studio.projection import ColumnMap, Projection, better
from vergence.studio.removals import Removals
from vergence.studio.review import Review
from vergence.studio.selection import Tags

T = TypeVar("T")
NEIGHBOURS = 18
_LONGEST = 300  # characters of a value that are shown
_TEXT = 4_000  # characters of a sample that is a text
_TEXTS = ("text", "caption", "sentence", "content", "body", "document", "abstract", "title")
_LOOKED, _LONG = 1_000, 12  # values that say how long a column's texts are, and how long texts are on average
_PICTURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
_ABOUT = ("id", "class", "label", "thumbnail")


class Session:
    """A store, its map, its clusters and what people decide about it.

    Args:
        store: Opened.
        column: Which vectors.
        axes: Columns that the map is drawn by, x and y; None lays the vectors out.

    Raises:
        BadInput: If there are no such vectors or columns.
    """

    def __init__(self, store: Store, column: str = "vector", *, axes: tuple[str, str] | None = None) -> None:
        store.width(column)
        self.store, self.column = store, column
        self.encoder = EncoderSession(store, column)
        self.originals = Originals(store)
        self.tags = Tags(store, lambda: check_version(store))
        self.removals = Removals(store, lambda: check_version(store))
        self._busy: list[tuple[str, float]] = []
        self._columns: tuple[int, list[str]] = (-1, [])  # of which version of the store
        self.trouble = ""
        self.dividing, self.reviewing, self.tagging = (threading.Lock() for _ in range(3))
        self.drawn = threading.Event()
        self._worker: threading.Thread | None = None
        self.axes = axes
        self._made: dict[str, Any] = {} if axes is None else {"projection": ColumnMap(store, *axes)}
        self._making = threading.RLock()

    @property
    def projection(self) -> Projection | ColumnMap:
        """The map."""
        return self._once("projection", lambda: Projection(self.store, self.column, self.mark))

    @property
    def groups(self) -> Groups:
        """The clusters."""
        return self._once("groups", lambda: Groups(self.store, self.column, self.mark))

    @property
    def review(self) -> Review:
        """The decisions about near-duplicates."""
        return self._once("review", lambda: Review(self.store, self.column))

    @property
    def named(self) -> NamedSelections:
        """The selections that have a name."""
        return self._once("named", lambda: NamedSelections(self.store, self.mark))

    @property
    def mark(self) -> str:
        """The fingerprint of the rows and their vectors."""
        return self._once("mark", lambda: fingerprint(self.store, self.column))

    @property
    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """The vectors ``(n, D)`` and their lengths ``(n,)``, kept though a tag changes the columns."""

        def made() -> tuple[np.ndarray, np.ndarray]:
            vectors = self.store.vectors(self.column)
            return vectors, np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), 1e-12)

        return self._once("vectors", made)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """Return what is made when it is first needed, by whichever thread needs it."""
        if name not in self._made:
            with self._making:
                if name not in self._made:
                    self._made[name] = make()
        return self._made[name]

    @property
    def working(self) -> bool:
        """Whether something is worked out in the background."""
        return self._worker is not None and self._worker.is_alive()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold all that is made of the rows, while rows go or come back.

        Raises:
            BadInput: If the map or the clusters are still being worked out of the rows as they are.
        """
        if self.working:
            raise BadInput("The map is still being worked out: wait until it is there, then try again.")
        with self.dividing, self.reviewing, self._making:
            yield

    def renew(self, kept: np.ndarray | None = None) -> None:
        """Forget what was made of rows that are others now, and make it anew when it is needed.

        Args:
            kept: The rows that have stayed, by their numbers before: they keep their place on the map, their
                clusters and named selections. None where rows have come back that were known before.
        """
        made = self._made
        self.tags = Tags(self.store, self.tags.check)
        self._made = {} if self.axes is None else {"projection": ColumnMap(self.store, *self.axes)}
        if kept is not None:
            points, groups, named = made.get("projection"), made.get("groups"), made.get("named")
            if isinstance(points, Projection) and points.final:
                cache.save_array(self.store, f"map-{self.mark}", points.now[0][kept])
            if groups is not None and groups.of is not None and groups.written is None:
                cache.save_array(self.store, f"clusters-{self.mark}", groups.of[kept])
            if named is not None:
                for name in [one["name"] for one in named.listed()]:
                    if len(rows := np.flatnonzero(np.isin(kept, named.rows(name)))):
                        self.named.keep(name, rows)
        self.start(0.0)

    def start(self, patience: float = 0.0) -> threading.Thread:
        """Work out what is not known yet, in a thread that lets others go first.

        Args:
            patience: Seconds that what takes long waits until the page is drawn (``drawn``) at most.
        """
        self._worker = threading.Thread(target=self._work, args=(patience,), name="studio", daemon=True)
        self._worker.start()
        return self._worker

    def _work(self, patience: float) -> None:
        try:
            with self.busy(f"Reading {len(self.store):,} samples"):
                _ = self.projection, self.groups
                _ = self.vectors
                self.drawn.wait(patience)
        except VergenceError as error:
            self.trouble = str(error)
            return
        with contextlib.suppress(AttributeError, OSError):  # where the system can
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        n = f"{len(self.store):,} samples"
        try:
            if self.groups.of is None:
                with self.busy(f"Dividing {n} into clusters"), self.dividing:
                    self.groups.find()
            if not self.projection.final:
                how = better(len(self.store)).partition(" ")[0]
                with self.busy(f"Laying out {n} by {how}; until then the map is by PCA"):
                    self.projection.improve()
            _ = self.encoder.missing  # loads what looks at pictures, so that the first need not wait for it
        except VergenceError as error:
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001 - the page goes on and says what went wrong
            self.trouble = f"The map could not be made better: {type(error).__name__}: {error}"

    @contextlib.contextmanager
    def busy(self, line: str) -> Iterator[None]:
        """Let the page say what is being done for the while."""
        work = (line, time.monotonic())
        self._busy.append(work)
        try:
            yield
        finally:
            self._busy.remove(work)

    @property
    def doing(self) -> str:
        """What is being done and for how long, for people to read; empty when nothing is."""
        now = time.monotonic()
        return "; ".join(f"{line} … {now - began:.0f} s" for line, began in list(self._busy))

    @property
    def by_cluster(self) -> str:
        """What colouring by our clusters is called: "cluster", unless the store has such a column itself."""
        taken = "cluster" in self.store.table.schema.names and self.groups.own != "cluster"
        return "studio cluster" if taken else "cluster"

    def columns(self) -> list[str]:
        """Return what the map can be coloured by; class (or label) first, then our clusters."""
        version = self.store.version
        if self._columns[0] != version:
            self._columns = version, colours.columns(self.store)
        names = [name for name in self._columns[1] if name != self.groups.own]
        place = 1 if names and names[0] in ("class", "label") else 0
        return [*names[:place], *([self.by_cluster] if self.groups.of is not None else []), *names[place:]]

    def state(self) -> dict[str, Any]:
        """Return what the page has to know to begin with, and again while something is being worked out."""
        columns, (_, how, stage) = self.columns(), self.projection.now
        return {
            "name": self.store.path.name,
            "rows": len(self.store),
            "width": self.store.width(self.column),
            "how": how,
            "stage": stage,
            "clusters": self.groups.stage,
            "doing": self.doing,
            "working": self.working,
            "trouble": self.trouble,
            "columns": columns,
            "label": self.store.label_name,
            "blind": self.encoder.missing_so_far,
            "deleted": self.removals.deleted,
        }

    def shown(self, column: str) -> str:
        """Return what people call a column: labels that were the names of folders are folders."""
        return self.store.label_name if column in ("class", "label") else column

    def colour(self, column: str) -> tuple[np.ndarray, Legend]:
        """Return the codes ``(n,)`` uint8 of a column, our clusters among them, and how to read them."""
        if column == self.by_cluster and self.groups.of is not None:
            of = self.groups.of
            codes = np.where(of < KINDS, of, OTHER).astype(np.uint8)
            codes[of < 0] = NONE
            k = min(len(self.groups), KINDS)
            names = [self.groups.name(c) for c in range(k)]
            sizes = self.groups.sizes[:k].tolist()
            other, none = (int((codes == code).sum()) for code in (OTHER, NONE))
            return codes, Legend(column, False, names, sizes, other, none)
        return colours.codes(self.store, column)

    @property
    def text(self) -> str | None:
        """The column that says what a sample is where there is no picture of it, None where there is none."""
        return self._once("text", lambda: _text_column(self.store))

    def cards(self, rows: Sequence[int] | np.ndarray, longest: int = _LONGEST) -> list[dict[str, Any]]:
        """Return what is shown of each row: its id, class, cluster, and picture or text (up to ``longest``).

        Raises:
            BadInput: If there is no such row.
        """
        chosen = [self._checked(row) for row in rows]
        if not chosen:
            return []
        text = self.text
        records = self.store.take(chosen, [*_ABOUT, *([text] if text else [])]).to_pylist()
        return [
            {
                "row": row,
                "id": about["id"],
                "class": _class(about),
                "cluster": self._cluster(row),
                "picture": as_uri(about["thumbnail"]),
                "text": _cut(about[text], longest) if text and about[text] is not None else None,
            }
            for row, about in zip(chosen, records, strict=True)
        ]

    def point(self, row: int, k: int = NEIGHBOURS) -> dict[str, Any]:
        """Return all about a row, and its k nearest neighbours."""
        card = self.cards([row], _TEXT)[0]
        own = self.text if card["picture"] is None else None  # is shown whole already
        shown = [
            field.name
            for field in self.store.table.schema
            if field.name not in (*_ABOUT, self.groups.own, own)
            and not pa.types.is_nested(field.type)
            and not pa.types.is_binary(field.type)
        ]
        values = times_as_words(self.store.take([row], shown)).to_pylist()[0]
        if values["uri"] == card["id"]:  # vectors that came without a place
            del values["uri"]
        card["facts"] = [[name, shown_value(value)] for name, value in values.items() if value is not None]
        if np.isnan(self.vectors[0][row, 0]):
            return {"point": card, "near": [], "note": "This sample has no such vector, so no neighbours."}
        return {"point": card, "near": self._near(row, k), "note": ""}

    def alike(self, vector: np.ndarray, k: int = NEIGHBOURS) -> list[dict[str, Any]]:
        """Return the k rows most like a vector ``(D,)``."""
        return self._near(vector, k)

    def picture_of(self, row: int) -> bytes:
        """Return a row's small picture, encoded; see ``originals`` for the picture itself.

        Raises:
            BadInput: If it has none.
        """
        record = self.store.take([self._checked(row)], ["id", "thumbnail"]).to_pylist()[0]
        if not record["thumbnail"]:
            raise BadInput(f"{record['id']} has no picture in the store.")
        return record["thumbnail"]

    def _near(self, query: int | np.ndarray, k: int) -> list[dict[str, Any]]:
        vectors, lengths = self.vectors
        own = None if isinstance(query, np.ndarray) else int(query)
        asking = query if isinstance(query, np.ndarray) else vectors[query]
        rows, scores = nearest(vectors, lengths, asking, k, without=own)
        cards = self.cards(rows)
        for card, score in zip(cards, scores.tolist(), strict=True):
            card["score"] = round(score, 4)
        return cards

    def _cluster(self, row: int) -> str | None:
        of = self.groups.of
        return None if of is None or of[row] < 0 else self.groups.name(int(of[row]))

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self.store):
            raise BadInput(f"{self.store.path} has rows 0 to {len(self.store) - 1}; row {row} was asked for.")
        return int(row)


def nearest(
    vectors: np.ndarray, lengths: np.ndarray, query: np.ndarray, k: int, *, without: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the k largest cosines to a vector and these, the largest first.

    ``use.search`` does more and loads PyTorch for it, for which the first click would have to wait.

    Args:
        vectors: ``(n, D)``; NaN is never found.
        lengths: ``(n,)`` of them, above 0.
        query: ``(D,)`` of any length; nothing is near to zeros.
        k: How many.
        without: A row that is left out, the one that asks.
    """
    length = float(np.linalg.norm(query))
    if not length:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    scores = vectors @ (query / length).astype(np.float32) / lengths
    scores[np.isnan(scores)] = -np.inf
    if without is not None:
        scores[without] = -np.inf
    k = min(k, len(scores))
    rows = np.argpartition(-scores, k - 1)[:k] if k else np.empty(0, np.int64)
    rows = rows[np.lexsort((rows, -scores[rows]))]
    rows = rows[np.isfinite(scores[rows])]
    return rows, scores[rows]


def as_uri(picture: bytes | None) -> str | None:
    """Return a small picture as a data URI; None where it is none that a page shows."""
    kind = next((name for first, name in _PICTURES.items() if picture and picture.startswith(first)), None)
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}" if picture and kind else None


def _class(about: dict[str, Any]) -> str | None:
    if about["class"] is not None:
        return str(about["class"])
    return None if about["label"] is None else str(about["label"])


def shown_value(value: Any) -> str:
    """Return a value of the data as people read it, not too long."""
    return _cut(written(value) if isinstance(value, float) else str(value), _LONGEST)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text_column(store: Store) -> str | None:
    """Return the column with a usual name for texts, else the one with the longest, if they are texts."""
    names = [field.name for field in store.table.schema if is_text(field.type)]
    names = [name for name in names if name not in ("id", "uri", "class")]
    for name in _TEXTS:
        if name in names:
            return name
    first = store.take(np.arange(min(len(store), _LOOKED)), names) if names else {}
    lengths = {name: pc.mean(pc.utf8_length(first[name])).as_py() or 0.0 for name in names}
    longest = max(names, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] >= _LONG else None
