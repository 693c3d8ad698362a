"""Schema of a table: which column is what, said by the user or guessed and then shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, unknown

SCHEME = "table:"
PARTS = ("label", "categorical", "numeric", "group")
MANY = 0.5  # share of distinct words from which a column is free text or a name of the row
FEW = 256  # distinct words that are always taken for categories


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table mean; what is None is guessed from types.

    Words and flags are categories, numbers are numbers; dates and texts of which nearly every one
    differs are left out.

    Args:
        label: Column with what is known about the row; never an input.
        categorical: Columns of categories; whole numbers that are codes must be named here.
        numeric: Columns of quantities.
        groups: Name of each group of columns and its columns.
    """

    label: str | None = None
    categorical: tuple[str, ...] | None = None
    numeric: tuple[str, ...] | None = None
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def uri(self, path: str) -> str:
        """Return the uri under which ``open`` reads ``path`` with this schema again.

        >>> TableSchema(label="sick", groups=(("size", ("height", "weight")),)).uri("people.csv")
        'table:people.csv?label=sick&group=size:height,weight'
        """
        said = [f"label={quote(self.label)}"] if self.label is not None else []
        listed = {"categorical": self.categorical, "numeric": self.numeric}
        said += [f"{name}={_joined(columns)}" for name, columns in listed.items() if columns is not None]
        said += [f"group={quote(name)}:{_joined(columns)}" for name, columns in self.groups]
        return SCHEME + path + ("?" + "&".join(said) if said else "")

    @classmethod
    def from_uri(cls, uri: str) -> tuple[str, TableSchema]:
        """Return the path and the schema that a ``table:`` uri names.

        Raises:
            BadInput: If it names something that a schema does not have.
        """
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        schema = cls()
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            if name not in PARTS:
                raise unknown("part of a table: uri", name, PARTS)
            if name == "label":
                if not value:
                    raise BadInput(f"{uri} leaves label empty; write label=COLUMN or leave it out.")
                schema = replace(schema, label=unquote(value))
            elif name == "group":
                group, colon, columns = value.partition(":")
                if not (group and colon and columns):
                    raise BadInput(f"A group of columns is written group=NAME:a,b,c; got {part}.")
                schema = replace(schema, groups=(*schema.groups, (unquote(group), _split(columns))))
            elif name == "categorical":
                schema = replace(schema, categorical=_split(value))
            else:
                schema = replace(schema, numeric=_split(value))
        return path, schema

    def complete(self, table: pa.Table, what: str) -> tuple[TableSchema, dict[str, str]]:
        """Fill in what was not said.

        Args:
            table: All rows.
            what: Name of the table, for errors.

        Returns:
            The whole schema, and why each other column is left out.

        Raises:
            BadInput: If a named column is missing, or nothing is left to learn from.
        """
        self._check(table, what)
        inputs = {"categorical": list(self.categorical or ()), "numeric": list(self.numeric or ())}
        named = {*inputs["categorical"], *inputs["numeric"], self.label}
        left: dict[str, str] = {}
        for name in table.column_names:
            if name in named:
                continue
            kind = _kind(table[name])
            if kind not in inputs:
                left[name] = kind
            elif getattr(self, kind) is None:
                inputs[kind].append(name)
        for name in self._grouped():
            if name not in inputs["numeric"] and name not in inputs["categorical"]:
                raise BadInput(
                    f"Column {name} of {what} is in a group but is no input; name it under numeric."
                )
        if not inputs["categorical"] and not inputs["numeric"]:
            raise BadInput(f"{what} has no column of numbers or categories to learn from.")
        columns = {name: tuple(values) for name, values in inputs.items()}
        return replace(self, **columns), left  # type: ignore[arg-type]

    def _grouped(self) -> list[str]:
        return [name for _, columns in self.groups for name in columns]

    def _check(self, table: pa.Table, what: str) -> None:
        """Raise BadInput if a named column is missing, or named for two purposes."""
        grouped = self._grouped()
        inputs = [*(self.categorical or ()), *(self.numeric or ()), *grouped]
        for name in [*inputs, *([self.label] if self.label is not None else [])]:
            if name not in table.column_names:
                raise unknown(f"column of {what}", name, table.column_names)
        if self.label in inputs:
            raise BadInput(f"{self.label} is the label of {what}, so that it cannot be learned from as well.")
        if both := set(self.categorical or ()) & set(self.numeric or ()):
            raise BadInput(f"{min(both)} of {what} is named as categorical and as numeric; choose one.")
        if len(set(grouped)) < len(grouped):
            raise BadInput(f"A column of {what} is in one group at most.")


def _joined(columns: Sequence[str]) -> str:
    return ",".join(quote(name) for name in columns)


def _split(columns: str) -> tuple[str, ...]:
    return tuple(unquote(name) for name in columns.split(",") if name)


def _kind(column: pa.ChunkedArray) -> str:
    """Return "categorical", "numeric", or why a column is left out."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return "categorical"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    if pa.types.is_temporal(kind):
        return "a time"
    if pa.types.is_null(kind):
        return "empty"
    plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    if not (pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)):
        return f"of type {kind}"
    distinct = pc.count_distinct(pc.drop_null(plain)).as_py()
    return "categorical" if distinct <= max(FEW, MANY * len(plain)) else "nearly every row differs"
