"""Changes of a table's columns, one commit each."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata
from lance.schema import LanceSchema

from vergence.store.rows import column_name

LONGEST = 100  # bytes of a new column's name


def is_new_name(name: str) -> bool:
    """Return whether a column may be made under a name: an identifier of at most ``LONGEST`` bytes."""
    return name.isidentifier() and column_name(name) == name and len(name.encode()) <= LONGEST


def put_column(
    table: lance.LanceDataset,
    names: Sequence[str],
    field: pa.Field,
    values: pa.Array,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Give rows a value each in a column, in place of one of that name; rows keep their order.

    Args:
        table: At its latest version.
        names: Ids of the rows; others get none.
        field: Of the column; its name has at most ``LONGEST`` bytes.
        values: As many as names.
        metadata: Of the table's schema, put in place of that of the same names.
    """
    replaced = field.name in table.schema.names
    made = uuid.uuid4().hex if replaced else field.name  # until the old column is gone
    schema = pa.schema([pa.field("id", pa.string()), field.with_name(made)])
    column = pa.table([pa.array(names, pa.string()), values], schema)
    if not (replaced or metadata):
        table.merge(column, "id")
    elif merged := [fragment.merge(column, "id") for fragment in table.get_fragments()]:
        after = merged[0][1]
        if replaced:
            after = _replaced(after, field.name, made)
        if metadata:
            after = _described(after, metadata)
        merge = lance.LanceOperation.Merge([_needed(fragment, after) for fragment, _ in merged], after)
        lance.LanceDataset.commit(table, merge, read_version=table.version)


def _replaced(schema: LanceSchema, name: str, made: str) -> LanceSchema:
    """Return a schema without the column ``name``, and with ``made`` called so.

    Lance's constructors would number the fields anew, which its files do not follow. So the pickled state is
    edited: a message of Protocol Buffers a field, whose field 2 is the name.
    """
    state: Any = schema.__reduce__()
    make, (metadata, *messages) = state
    gone = {field.id() for field in _family([f for f in schema.fields() if f.name() == name])}
    kept = [
        message
        for message, field in zip(messages, _family(schema.fields()), strict=True)
        if field.id() not in gone
    ]
    before, after = (b"\x12" + bytes([len(word.encode())]) + word.encode() for word in (made, name))
    return make(metadata, *(message.replace(before, after, 1) for message in kept))


def _described(schema: LanceSchema, metadata: Mapping[str, str]) -> LanceSchema:
    """Return a schema with other metadata, which the pickled state holds as JSON, a list of bytes each."""
    state: Any = schema.__reduce__()
    make, (known, *messages) = state
    added = {name: list(text.encode()) for name, text in metadata.items()}
    return make(json.dumps({**json.loads(known), **added}), *messages)


def _needed(fragment: FragmentMetadata, schema: LanceSchema) -> FragmentMetadata:
    """Return a fragment without the files that hold no field of a schema."""
    known = {field.id() for field in _family(schema.fields())}
    return dataclasses.replace(
        fragment, files=[file for file in fragment.files if known.intersection(file.fields)]
    )


def _family(fields: Sequence[Any]) -> Iterator[Any]:
    """Yield fields, each followed by what is inside it."""
    for field in fields:
        yield field
        yield from _family(field.children())
