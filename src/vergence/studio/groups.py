"""Clusters of a store and the names that people give them, which the store keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio import cache

LONGEST = 60  # characters of a name
_NOTE = "clusters"  # what ``about["info"]`` calls what is known of them, by vector column


class Groups:
    """A partition of a store's rows, some of its parts with a name.

    The first name that is given writes the partition into the store, as a column of numbers (``cluster`` for
    the column ``vector``) with the names in ``about["info"]["clusters"]``; rows that are added later belong
    to no cluster.

    Args:
        store: Opened.
        column: Which vectors.
        mark: The fingerprint of both.

    Attributes:
        of: ``(n,)`` int64, the cluster of each row, -1 for none; None before ``find``.
        names: Of those that have one, by number.
        stage: How often they or their names have changed.
        divided: How often they have been found anew.
    """

    def __init__(self, store: Store, column: str, mark: str) -> None:
        self.store, self.column, self.mark = store, column, mark
        self.of: np.ndarray | None = None
        self.names: dict[int, str] = {}
        self.stage = self.divided = 0
        self._read()

    def find(self, k: int | None = None) -> None:
        """Divide the rows into k clusters, by None into a number that fits; names are forgotten.

        Raises:
            BadInput: If there are fewer than k rows.
        """
        from vergence.use.clustering import partition

        vectors = self.store.vectors(self.column)
        present = self.store.present(self.column)
        of = np.full(len(vectors), -1, np.int64)
        of[present] = partition(vectors[present], k=k).of
        if (written := self.written) is not None:
            check_version(self.store)
            self.store.set_info(**self._with_note({"column": written, "names": {}, "old": True}))
        cache.save_array(self.store, f"clusters-{self.mark}", of)
        self.of, self.names = of, {}
        self.stage += 1
        self.divided += 1

    def rename(self, cluster: int, name: str) -> None:
        """Name a cluster, or take its name away with an empty one, and write that into the store.

        Raises:
            BadInput: If there is no such cluster, the name is too long or another's, or the store was
                changed by somebody else.
        """
        name = " ".join(name.split())
        if self.of is None or not 0 <= cluster < len(self):
            raise BadInput(f"There is no cluster {cluster + 1}.")
        if len(name) > LONGEST or not (name.isprintable() or not name):
            raise BadInput(f"A name has up to {LONGEST} characters that can be printed.")
        if name and name in (other for c, other in self.names.items() if c != cluster):
            raise BadInput(f"'{name}' is another cluster's name: choose another.")
        check_version(self.store)
        names = {c: other for c, other in self.names.items() if c != cluster}
        if name:
            names[cluster] = name
        written = self.written or self.own or self._free()
        info = self._with_note({"column": written, "names": {str(c): names[c] for c in sorted(names)}})
        if self.written is None:
            self.store.set_column(written, self.of, info=info)
        else:
            self.store.set_info(**info)
        self.names = names
        self.stage += 1

    def __len__(self) -> int:
        return 0 if self.of is None or not len(self.of) else max(int(self.of.max()) + 1, 0)

    def name(self, cluster: int) -> str:
        """Return what people call a cluster: its name, or its number counted from 1."""
        return self.names.get(cluster, f"cluster {cluster + 1}")

    @property
    def sizes(self) -> np.ndarray:
        """``(k,)`` rows in each."""
        assert self.of is not None
        return np.bincount(self.of[self.of >= 0], minlength=len(self))

    def typical(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Return some of these rows of one cluster, those nearest to their mean direction first."""
        unit = self.store.directions(self.column)[rows]
        return rows[np.argsort(-(unit @ unit.mean(0)), kind="stable")[:count]]

    def examples(self, count: int) -> list[np.ndarray]:
        """Return the most typical rows of every cluster."""
        from scipy.sparse import csr_array

        assert self.of is not None
        unit = self.store.directions(self.column)
        members = np.flatnonzero(self.of >= 0)
        of = self.of[members]
        part = csr_array((np.ones(len(members), np.float32), (of, members)), shape=(len(self), len(unit)))
        closeness = np.einsum("nd,nd->n", unit[members], (part @ np.nan_to_num(unit))[of])
        order = members[np.lexsort((-closeness, of))]
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        return [order[s : s + min(count, int(n))] for s, n in zip(starts, self.sizes, strict=True)]

    def _read(self) -> None:
        if (column := self.written) is not None:
            values = self.store.read([column])[column].fill_null(-1).to_numpy()
            self.of = np.where((values >= 0) & (values < len(values)), values, -1).astype(np.int64)
            self.names = {int(c): str(name) for c, name in self._note["names"].items()}
            return
        kept = cache.load_array(self.store, f"clusters-{self.mark}")
        fits = kept is not None and kept.shape == (len(self.store),) and kept.dtype == np.int64
        if kept is not None and fits and (kept >= -1).all() and (kept < len(kept)).all():
            self.of = kept

    @property
    def own(self) -> str | None:
        """The store's column that is ours, though its clusters may have been found again since."""
        return self._note.get("column")

    @property
    def written(self) -> str | None:
        """Return the store's column of clusters of these vectors, where it has one that is its own."""
        column = None if self._note.get("old") else self.own
        return column if column in self.store.table.schema.names else None

    @property
    def _note(self) -> dict[str, Any]:
        notes = (self.store.about.get("info") or {}).get(_NOTE)
        return (notes.get(self.column) or {}) if isinstance(notes, dict) else {}

    def _with_note(self, note: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of all clusters, with another note on those of these vectors."""
        notes = (self.store.about.get("info") or {}).get(_NOTE) or {}
        return {_NOTE: {**notes, self.column: note}}

    def _free(self) -> str:
        """Return a name for our column that nobody else uses."""
        usual = "cluster" if self.column == "vector" else f"cluster_{self.column}"
        taken = self.store.table.schema.names
        return next(name for name in (usual, f"studio_{usual}", f"studio_own_{usual}") if name not in taken)


def check_version(store: Store) -> None:
    """Raise ``BadInput`` if another program has changed a store since it was opened."""
    if Store.open(store.path).version != store.version:
        raise BadInput(
            f"{store.path} was changed by another program: start the studio again to see how it is."
        )
