"""Tools over one store that read: what an agent may ask, and small answers in plain JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vergence.core.errors import BadInput
from vergence.mcp.rows import (
    LARGEST,
    MOST,
    between,
    check,
    matching,
    records,
    shown_columns,
    small_picture,
)
from vergence.store.table import Store
from vergence.studio.contrast import contrast
from vergence.studio.encoder_session import LARGEST as LARGEST_FILE
from vergence.studio.encoder_session import EncoderSession, picture
from vergence.studio.finding import find
from vergence.studio.session import nearest

if TYPE_CHECKING:
    from vergence.use.clustering import Clusters
    from vergence.use.pairs import Duplicates

_ASKING = 20  # rows that ask for their neighbours at once
_PICTURES = 16  # that are shown at once
_CLUSTERS = 200
_MEMBERS = 20  # ids of a group or cluster
_CLASSES = 100
_COLUMNS = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Sampled:
    """Rows that are looked at.

    Args:
        rows: As records.
        pictures: PNG of each, None where it has none.
    """

    rows: list[dict[str, Any]]
    pictures: list[bytes | None]


class ReadingTools:
    """Questions to a store; each public method is a tool, and its docstring what an agent reads.

    Every method raises ``BadInput`` with one line where a question cannot be answered. The store is opened
    again where somebody else has changed it.

    Args:
        store: Opened.
        column: Which vectors.
        pictures: Folder in which pictures may be looked for; None takes none.
    """

    def __init__(self, store: Store, *, column: str = "vector", pictures: Path | None = None) -> None:
        store.width(column)
        self._store, self._column = store, column
        self._pictures = None if pictures is None else pictures.resolve()
        self._encoder = EncoderSession(store, column)
        self._kept: dict[str, tuple[Any, Any]] = {}  # what took long, with what it was made of

    @property
    def store(self) -> Store:
        """The store as it is now."""
        if self._store.table.latest_version != self._store.version:
            self._store = Store.open(self._store.path)
            self._store.width(self._column)
            self._encoder = EncoderSession(self._store, self._column)
        return self._store

    def describe(self) -> dict[str, Any]:
        """Say what the store holds: rows, columns with their types, vectors, classes, and the encoder."""
        store = self.store
        about = store.about
        shown = shown_columns(store)
        return {
            "store": store.path.name,
            "rows": len(store),
            "version": store.version,
            "columns": {name: str(store.table.schema.field(name).type) for name in shown[:_COLUMNS]},
            "more_columns": max(0, len(shown) - _COLUMNS),
            "vectors": store.vector_columns,
            "searched": self._column,
            "encoder": about.get("models", {}).get(self._column) or None,
            "classes": (store.classes or [])[:_CLASSES],
            "pictures": bool(store.table.count_rows("thumbnail IS NOT NULL")),
            "can_search_pictures": self._pictures is not None and self._encoder.missing_file is None,
        }

    def where(
        self, condition: str, columns: list[str] | None = None, limit: int = 20, offset: int = 0
    ) -> dict[str, Any]:
        """Return the rows that fulfil a condition, and how many there are.

        Args:
            condition: SQL of the columns that describe lists, such as "class = 'cat' AND label IS NOT NULL".
            columns: What to show beside id and class.
            limit: Rows that are shown, up to 200.
            offset: Rows that are passed over first.
        """
        between("limit", limit, 1, MOST)
        store = self.store
        rows = matching(store, condition)
        between("offset", offset, 0, len(store))
        shown = rows[offset : offset + limit]
        return {"total": len(rows), "rows": records(store, shown, columns)}

    def search(
        self,
        id: str | None = None,
        text: str | None = None,
        picture: str | None = None,
        k: int = 10,
        where: str | None = None,
        columns: list[str] | None = None,
    ) -> dict[str, Any]:
        """Find rows: like a row, like a picture, or by words. Give exactly one of id, text and picture.

        Args:
            id: A row of the store; those most like it are found, by the cosine of their vectors.
            text: Words that an id, class, place or column of text contains, in any case.
            picture: Path of a picture in the folder that the server was given; the encoder looks at it.
            k: How many, up to 200.
            where: SQL condition that they fulfil.
            columns: What to show beside id, class and score.
        """
        between("k", k, 1, MOST)
        if sum(given is not None for given in (id, text, picture)) != 1:
            raise BadInput("Give exactly one of id, text and picture.")
        store = self.store
        if text is not None:
            rows = find(store, text).rows
            if where is not None:
                rows = np.intersect1d(rows, matching(store, where))
            return {"total": len(rows), "rows": records(store, rows[:k], columns)}
        query = store.find(id) if id is not None else self._look_at(str(picture))
        return {"rows": self._near(query, k, where, columns)}

    def neighbours(
        self, ids: list[str], k: int = 10, where: str | None = None, columns: list[str] | None = None
    ) -> dict[str, Any]:
        """Return the nearest rows of up to 20 rows, each with its own list, by the cosine of their vectors.

        Args:
            ids: Rows of the store.
            k: Neighbours of each, up to 200 of all together.
            where: SQL condition that they fulfil.
            columns: What to show beside id, class and score.
        """
        between("The number of ids", len(ids), 1, _ASKING)
        between("k", k, 1, MOST // len(ids))
        store = self.store
        asking = [store.find(name) for name in ids]
        return {
            "neighbours": [
                {"id": name, "rows": self._near(row, k, where, columns)}
                for name, row in zip(ids, asking, strict=True)
            ]
        }

    def duplicates(
        self,
        by: Literal["neighbours", "cosine", "hash", "pixels"] | None = None,
        threshold: float | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        """Find groups of near-duplicates, the largest first; in each the first id stands for the others.

        Args:
            by: "neighbours" (nearer than chance explains; the default), "cosine", "hash" or "pixels".
            threshold: By cosine the least one, in (0, 1]; by hash the bits of 64 that may differ.
            limit: Groups that are shown, up to 200, with up to 20 ids each.
        """
        from vergence.use.copies import duplicates

        between("limit", limit, 1, MOST)
        store = self.store
        found: Duplicates = self._once(
            "duplicates",
            (store.version, by, threshold),
            lambda: duplicates(store, by=by, threshold=threshold, column=self._column),
        )
        groups = [
            {"size": len(group), "ids": self._names(group[:_MEMBERS])} for group in found.groups[:limit]
        ]
        chance = {} if found.chance is None else {"pairs_by_chance": round(found.chance, 2)}
        return {
            "pairs": found.total,
            **chance,
            "groups": len(found.groups),
            "could_go": len(found.surplus),
            "shown": groups,
        }

    def clusters(self, k: int | None = None, examples: int = 5) -> dict[str, Any]:
        """Divide the rows into groups of like ones, and show what is typical of each, the largest first.

        Args:
            k: How many, up to 200; none lets the silhouette choose.
            examples: Typical ids of each, up to 20.
        """
        between("examples", examples, 0, _MEMBERS)
        present, parts = self._parts(k)
        store = self.store
        labels, names = store.labels, store.classes or []
        shown = []
        for cluster, size in enumerate(parts.sizes.tolist()):
            rows = present[parts.members(cluster)]
            one = {"cluster": cluster, "size": size, "typical": self._names(rows[:examples])}
            if labels is not None and len(known := labels[rows][labels[rows] >= 0]):
                label = int(np.bincount(known).argmax())
                name = names[label] if label < len(names) else str(label)
                one["class"] = {"name": name, "share": round(float((known == label).mean()), 3)}
            shown.append(one)
        silhouette = round(parts.silhouette, 3) if np.isfinite(parts.silhouette) else None
        return {"clusters": shown, "silhouette": silhouette}

    def compare(self, first: str, second: str | None = None, k: int | None = None) -> dict[str, Any]:
        """Compare two groups of rows: in which clusters is one found more often than chance explains?

        Clusters are those that the tool clusters makes. A group is called more frequent by Fisher's exact
        test, for all clusters together at 1 in 100.

        Args:
            first: SQL condition of the first group, such as "year = 2015".
            second: Of the second one, which shares no row with it; none takes all other rows.
            k: Number of clusters, up to 200; none lets the silhouette choose.
        """
        store = self.store
        one = matching(store, first)
        rest = np.setdiff1d(np.arange(len(store)), one)
        two = rest if second is None else matching(store, second)
        if len(both := np.intersect1d(one, two)):
            raise BadInput(f"{len(both):,} rows are in both groups: they must not share any.")
        present, parts = self._parts(k)
        of = np.full(len(store), -1, np.int64)
        of[present] = parts.of
        made = contrast(store.directions(self._column), of, one, two)
        uneven = [
            {
                "cluster": c,
                "more_in": ("first", "second")[verdict],
                "shares": [round(float(share), 4) for share in made.shares[:, c]],
                "examples": self._names(self._examples(parts, present, c, (one, two)[verdict])),
            }
            for c, verdict in enumerate(made.verdicts.tolist())
            if verdict >= 0
        ]
        return {
            "rows": [len(one), len(two)],
            "clusters": len(parts),
            "cosine_of_means": round(made.cosine, 4),
            "uneven": uneven,
        }

    def sample(
        self,
        ids: list[str] | None = None,
        where: str | None = None,
        n: int = 9,
        seed: int = 0,
        side: int = 128,
        columns: list[str] | None = None,
    ) -> Sampled:
        """Look at rows: what is known of them, and their small pictures.

        Args:
            ids: Which; none draws them by chance.
            where: SQL condition on those that are drawn.
            n: How many are drawn, up to 16.
            seed: Of the draw.
            side: Pixels of the pictures' longer side, 16 to 256.
            columns: What to show beside id and class.
        """
        between("side", side, 16, LARGEST)
        between("n", n, 1, _PICTURES)
        between("seed", seed, 0, 2**32 - 1)
        store = self.store
        if ids is not None:
            if where is not None:
                raise BadInput("Give ids or a condition (where), not both.")
            between("The number of ids", len(ids), 1, _PICTURES)
            rows = np.array([store.find(name) for name in ids])
        else:
            known = np.arange(len(store)) if where is None else matching(store, where)
            rows = np.random.default_rng(seed).permutation(known)[:n]
        raw = store.take(rows, ["thumbnail"])["thumbnail"].to_pylist() if len(rows) else []
        return Sampled(records(store, rows, columns), [small_picture(one, side) for one in raw])

    def _near(
        self, query: int | np.ndarray, k: int, where: str | None, columns: list[str] | None
    ) -> list[dict[str, Any]]:
        store = self.store
        check(store, where)
        if store.has_index(self._column):
            from vergence.use.nearest import search

            hits = search(store, query, k=k, where=where, column=self._column)
            valid = hits.rows[0] >= 0
            rows, scores = hits.rows[0][valid], hits.scores[0][valid]
        else:
            rows, scores = self._exact(query, k, where)
        return [
            {**row, "score": round(float(score), 4)}
            for row, score in zip(records(store, rows, columns), scores, strict=True)
        ]

    def _exact(self, query: int | np.ndarray, k: int, where: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows with the k largest cosines and these; no PyTorch is loaded for it."""
        store = self.store
        among = np.arange(len(store)) if where is None else store.where(where)
        vectors = store.vectors(self._column)
        vector = query if isinstance(query, np.ndarray) else vectors[query]
        if np.isnan(vector).any():
            raise BadInput(f"{self._names(np.array([query]))[0]} has no {self._column}.")
        lengths = self._once(
            "lengths", store.version, lambda: np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
        )
        if where is not None:
            vectors, lengths = vectors[among], lengths[among]
        own = None if isinstance(query, np.ndarray) else np.flatnonzero(among == query)
        without = int(own[0]) if own is not None and len(own) else None
        places, scores = nearest(vectors, lengths, vector, k, without=without)
        return among[places], scores

    def _look_at(self, path: str) -> np.ndarray:
        """Return the vector of a picture in the folder of pictures; no other file is touched."""
        if self._pictures is None:
            raise BadInput("This server looks at no pictures: it was given no folder of them.")
        nothing = BadInput(f"There is no picture {path} in the folder of pictures.")
        try:
            place = (self._pictures / path).resolve()
            if not place.is_relative_to(self._pictures) or not place.is_file():
                raise nothing
            if place.stat().st_size > LARGEST_FILE:
                raise BadInput(f"{path} has more than {LARGEST_FILE // 2**20} MB: choose a smaller one.")
            raw = place.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if isinstance(error, BadInput):
                raise
            raise nothing from None
        pixels = picture(raw)
        if (line := self._encoder.missing) is not None:
            raise BadInput(line)
        return self._encoder.vector(pixels)

    def _parts(self, k: int | None) -> tuple[np.ndarray, Clusters]:
        """Return the rows that have a vector, and their partition."""
        from vergence.use.clustering import partition

        store = self.store
        present = store.present(self._column)
        if not len(present):
            raise BadInput(f"No row has a {self._column}.")
        if k is not None:
            between("k", k, 1, min(_CLUSTERS, len(present)))
        made = self._once(
            "clusters", (store.version, k), lambda: partition(store.vectors(self._column)[present], k=k)
        )
        return present, made

    def _examples(self, parts: Clusters, present: np.ndarray, cluster: int, side: np.ndarray) -> np.ndarray:
        members = present[parts.members(cluster)]
        return members[np.isin(members, side)][:5]

    def _names(self, rows: np.ndarray) -> list[str]:
        return self.store.take(rows, ["id"])["id"].to_pylist() if len(rows) else []

    def _once(self, name: str, made_of: Any, make: Any) -> Any:
        """Keep the last of each kind of answer that took long."""
        if name not in self._kept or self._kept[name][0] != made_of:
            self._kept[name] = made_of, make()
        return self._kept[name][1]
