"""Type checks: whether a value that was read is of the kind that a field or argument is declared to have."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin


def fits(value: Any, kind: Any) -> bool:
    """Say whether a value is of a kind, lists being taken for tuples, as files have no others.

    Args:
        value: Plain: a number, a text, a list, a dictionary, None.
        kind: A type as it stands in an annotation; of those that are not known here only the outermost
            is looked at.

    >>> [fits(1, float), fits(True, int), fits([1, 2], tuple[int, int]), fits("a", int | None)]
    [True, False, True, False]
    """
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inside)
    if origin is tuple:
        many = len(inside) == 2 and inside[1] is Ellipsis
        kinds = [inside[0]] * len(value) if many and isinstance(value, list | tuple) else list(inside)
        return isinstance(value, list | tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if origin is list:
        return isinstance(value, list) and all(fits(one, inside[0]) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            fits(k, inside[0]) and fits(v, inside[1]) for k, v in value.items()
        )
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, origin or kind)
