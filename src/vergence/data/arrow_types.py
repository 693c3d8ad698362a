"""Arrow's newer types as the ordinary ones that every kernel and Lance know."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as kinds


def without_views(table: pa.Table) -> pa.Table:
    """Return a table whose columns of views (of strings, bytes or lists, also inside others) are ordinary.

    >>> without_views(pa.table({"id": pa.array(["a"], pa.string_view())})).schema.types
    [DataType(string)]
    """
    for place, field in enumerate(table.schema):
        if (kind := _ordinary(field.type)) != field.type:
            table = table.set_column(place, field.with_type(kind), table[place].cast(kind))
    return table


def _ordinary(kind: pa.DataType) -> pa.DataType:
    if kinds.is_string_view(kind):
        return pa.string()
    if kinds.is_binary_view(kind):
        return pa.binary()
    if kinds.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _ordinary(kind.value_type), kind.ordered)
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(_ordinary(field.type)) for field in kind])
    if kinds.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_ordinary(kind.value_type)), kind.list_size)
    for of_kind, make in (
        ((kinds.is_list, kinds.is_list_view), pa.list_),
        ((kinds.is_large_list, kinds.is_large_list_view), pa.large_list),
    ):
        if any(of(kind) for of in of_kind):
            return make(kind.value_field.with_type(_ordinary(kind.value_type)))
    return kind
