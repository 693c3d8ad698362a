"""Schema of an event log: which column is what, said by the user or guessed and then shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, unknown
from vergence.data.dates import date_order
from vergence.data.paths import split_query
from vergence.data.roles import CATEGORICAL, NUMERIC, role
from vergence.data.written import decimal_of, is_text

IDS = (
    "entity", "entity_id", "user", "user_id", "userid", "client", "client_id", "customer", "customer_id",
    "customerid", "cl_id", "account", "account_id", "patient", "patient_id", "session", "session_id",
    "person", "member_id", "id",
)  # fmt: skip
TIMES = ("time", "ts", "timestamp", "event_time", "datetime", "date", "trans_date", "tr_datetime", "day")
FEW = 256  # distinct whole numbers in the rows looked at; more of them are quantities, not categories
ONCE = 0.9  # share of entities with one event from which rows are those of a table


@dataclass(frozen=True)
class EventSchema:
    """What the columns of an event log mean; what is None is guessed from names and types.

    Args:
        id: Column that says whose event it is.
        time: Column that says when: a timestamp, a date, a text (ISO 8601, or 31/12/2024) or a plain number.
        categorical: Columns of categories (words, codes, flags).
        numeric: Columns of quantities.
        label: Column with what is known about the entity; never a field of its events.
        labels: File with one row an entity, its id in a column called as in the log, that holds
            ``label``; None looks for ``label`` in the log itself.
    """

    id: str | None = None
    time: str | None = None
    categorical: tuple[str, ...] | None = None
    numeric: tuple[str, ...] | None = None
    label: str | None = None
    labels: str | None = None

    def __post_init__(self) -> None:
        for name in ("categorical", "numeric"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise BadInput(f"{name} needs a tuple of column names; got the word '{value}'.")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.labels is not None and self.label is None:
            raise BadInput(f"labels={self.labels} needs the name of the column to take: label=NAME.")

    def uri(self, path: str) -> str:
        """Return the uri under which ``open`` reads ``path`` with this schema again.

        >>> EventSchema(id="user", categorical=("shop", "kind")).uri("log.csv")
        'events:log.csv?id=user&categorical=shop,kind'
        """
        said = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                words = (value,) if isinstance(value, str) else value
                said.append(f"{field.name}=" + ",".join(quote(word, safe="/") for word in words))
        return f"events:{path}" + ("?" + "&".join(said) if said else "")

    @classmethod
    def from_uri(cls, uri: str) -> tuple[str, EventSchema]:
        """Return the path and the schema that an ``events:`` uri names.

        Raises:
            BadInput: If it names something that a schema does not have.
        """
        path, query = split_query(uri.removeprefix("events:"))
        known = [field.name for field in fields(cls)]
        said: dict[str, str | tuple[str, ...]] = {}
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            if name not in known:
                raise unknown("part of an events: uri", name, known)
            words = tuple(unquote(word) for word in value.split(",") if word)
            if name not in ("categorical", "numeric") and not words:
                raise BadInput(f"{uri} leaves {name} empty; write {name}=COLUMN or leave it out.")
            said[name] = words if name in ("categorical", "numeric") else words[0]
        return path, cls(**said)  # type: ignore[arg-type]

    def found_in(self, table: pa.Table, what: str) -> bool:
        """Say whether id and time can be told; ``table`` holds the first rows."""
        try:
            self._id(table, what), self._time(table, what)
        except BadInput:
            return False
        return True

    def complete(self, table: pa.Table, what: str) -> tuple[EventSchema, dict[str, str]]:
        """Fill in what was not said.

        Args:
            table: The first rows of the log.
            what: Name of the log, for errors.

        Returns:
            The whole schema, and why each other column is left out.

        Raises:
            BadInput: If a named column is missing, or id or time cannot be told.
        """
        for name in (self.categorical or ()) + (self.numeric or ()):
            _checked_name(name, table, what, "field")
        if self.label is not None and self.labels is None:
            _checked_name(self.label, table, what, "label")
        id, time = self._id(table, what), self._time(table, what)
        taken = {id, time, self.label, *(self.categorical or ()), *(self.numeric or ())}
        categorical, numeric = list(self.categorical or ()), list(self.numeric or ())
        left: dict[str, str] = {}
        for name in table.column_names:
            if name in taken:
                continue
            kind = _role(name, table[name], decimal_of(table))
            wanted = {"categorical": self.categorical, "numeric": self.numeric}
            if kind in wanted and wanted[kind] is None:
                (categorical if kind == "categorical" else numeric).append(name)
            else:
                left[name] = f"not named under {kind}" if kind in wanted else kind
        whole = replace(self, id=id, time=time, categorical=tuple(categorical), numeric=tuple(numeric))
        return whole, left

    def _id(self, table: pa.Table, what: str) -> str:
        if self.id is not None:
            return _checked_name(self.id, table, what, "id")
        column = _named(table, IDS)
        if column is None:
            raise BadInput(
                f"{what} has no column that looks like an entity's id among {_list(table)}; "
                "name it: --id COLUMN."
            )
        return column

    def _time(self, table: pa.Table, what: str) -> str:
        if self.time is not None:
            return _checked_name(self.time, table, what, "time")
        named = _named(table, TIMES, lambda name: not pa.types.is_time(table.schema.field(name).type))
        dated = [name for name in table.column_names if name != self.id and _is_dated(table[name])]
        if named is None and not dated:
            raise BadInput(
                f"{what} has no column that looks like a time among {_list(table)}; name it: --time COLUMN."
            )
        return dated[0] if dated and named not in dated else str(named)


def _checked_name(name: str, table: pa.Table, what: str, role: str) -> str:
    if name not in table.column_names:
        raise unknown(f"{role} column of {what}", name, table.column_names)
    return name


def _named(table: pa.Table, names: Sequence[str], fits: Callable[[str], bool] = lambda _: True) -> str | None:
    lower = {name.lower(): name for name in reversed(table.column_names) if fits(name)}
    return next((lower[name] for name in names if name in lower), None)


def _is_dated(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if is_text(kind):
        return date_order(column) is not None
    return pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind))


def _list(table: pa.Table) -> str:
    return ", ".join(table.column_names[:12]) + (", …" if table.num_columns > 12 else "")


def _role(name: str, column: pa.ChunkedArray, decimal: str) -> str:
    """Return "categorical", "numeric", or why a column is left out; few whole numbers are categories."""
    kind = role(name, column, decimal)
    if kind == NUMERIC and pa.types.is_integer(column.type):
        return CATEGORICAL if pc.count_distinct(pc.drop_null(column)).as_py() <= FEW else NUMERIC
    return "a second time" if kind == "a time" else kind
