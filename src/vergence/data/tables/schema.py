"""Schema of a table: which column is what, said by the user or guessed and then shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

import pyarrow as pa

from vergence.core.errors import BadInput, unknown
from vergence.data.paths import split_query
from vergence.data.roles import role
from vergence.data.written import decimal_of

SCHEME = "table:"
PARTS = ("label", "categorical", "numeric", "group")


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table mean; what is None is guessed from types.

    Words and flags are categories; numbers are numbers, also as ``1,50``, ``1,500.00`` or ``3%``. Left out
    are dates, texts of which nearly every one differs, and what names a row: an index, an id, a zip code.

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
        path, query = split_query(uri.removeprefix(SCHEME))
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
        decimal = decimal_of(table)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name in named:
                continue
            kind = role(name, column, decimal)
            if kind not in inputs:
                left[name] = kind
            elif getattr(self, kind) is None:
                inputs[kind].append(name)
            else:
                left[name] = f"not named under {kind}"
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
