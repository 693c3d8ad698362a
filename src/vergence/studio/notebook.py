"""Notebook widget: the map of a store in a cell, and the ids of what is selected on it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import traitlets

from vergence.core.errors import BadInput, VergenceError
from vergence.store.table import Store
from vergence.studio.selection import mask_text, read_mask
from vergence.studio.session import Session

_STATIC = Path(__file__).parent / "static"
_SHEET = 12  # samples that are shown at once


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _page_colours() -> str:
    """Return the colours of the studio's page, which stand before everything else that styles it."""
    colours, _, _ = _read("studio.css").partition("\nbody ")
    return colours


class Notebook(anywidget.AnyWidget):
    """A map of which Python reads, and may set, what is selected.

    The map is the one that the studio has kept, or else by PCA until ``improve``.

    Args:
        store: Opened.
        column: Which vectors.
        by: Column that the points are coloured by; None takes class or label where there is one.
        axes: Columns that the map is drawn by, x and y; None lays the vectors out.

    Attributes:
        selection: What is selected, as ``selection.read_mask`` reads it; ``observe`` it to hear of changes.

    Raises:
        BadInput: If there are no such vectors or columns.
    """

    _esm = "\n".join(
        _read(name) for name in ("shared.js", "map.js", "notebook.js")
    )  # one file to the browser
    _css = _page_colours() + _read("notebook.css")
    points = traitlets.Bytes().tag(sync=True)
    how = traitlets.Unicode().tag(sync=True)
    columns: traitlets.List = traitlets.List().tag(sync=True)
    by = traitlets.Unicode().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)
    legend = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    selection = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        store: Store,
        *,
        column: str = "vector",
        by: str | None = None,
        axes: tuple[str, str] | None = None,
    ) -> None:
        self._session = Session(store, column, axes=axes)
        names = self._session.columns()
        super().__init__(columns=[[name, self._session.shown(name)] for name in names])
        self._lay()
        self.codes = bytes(len(store))
        self.by = by if by is not None else next(iter(names), "")
        self.on_msg(self._answer)

    @property
    def rows(self) -> np.ndarray:
        """Rows that are selected ``(m,)`` int64, ascending."""
        count = len(self._session.store)
        return read_mask(self.selection, count) if self.selection else np.empty(0, np.int64)

    @property
    def selected(self) -> list[str]:
        """Ids of the rows that are selected, in the store's order; may be set.

        Raises:
            BadInput: If one is set that is not in the store.
        """
        return self._session.store.read(["id"])["id"].take(self.rows).to_pylist()

    @selected.setter
    def selected(self, ids: Iterable[str]) -> None:
        if isinstance(ids, str):
            raise BadInput(f"selected takes a list of ids; got the text {ids!r}.")
        store, names = self._session.store, list(ids)
        places = pc.index_in(
            pa.array(names, pa.string()), value_set=store.read(["id"])["id"].cast(pa.string())
        )
        if places.null_count:
            store.find(names[places.is_null().index(True).as_py()])  # says what its ids look like
        rows = places.to_numpy(zero_copy_only=False).astype(np.int64)
        self.selection = mask_text(rows, len(store)) if len(rows) else ""

    def improve(self) -> None:
        """Lay the rows out so that neighbours lie together, and keep that with the store; takes its time."""
        if not self._session.projection.final:
            self._session.projection.improve()
            self._lay()

    def _lay(self) -> None:
        places, self.how, _ = self._session.projection.now
        self.points = places.tobytes()

    @traitlets.validate("selection")
    def _checked(self, proposal: Any) -> str:
        if proposal["value"]:
            read_mask(proposal["value"], len(self._session.store))
        return proposal["value"]

    @traitlets.observe("by")
    def _colour(self, change: Any) -> None:
        codes, legend = self._session.colour(change["new"])
        with self.hold_sync():
            self.codes, self.legend = codes.tobytes(), legend.plain()

    def _answer(self, widget: Any, content: Any, buffers: Any) -> None:
        """Answer what the map asks: a sample with its neighbours, or some of what is selected."""
        try:
            if "open" in content:
                self.send({"point": self._session.point(int(content["open"]), _SHEET)})
            else:
                self.send({"sheet": self._session.cards([int(row) for row in content["sheet"][:_SHEET]])})
        except VergenceError as error:
            self.send({"wrong": str(error)})
