"""Lists of names as text: one a line, and cells of a csv that a spreadsheet may open."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vergence.core.errors import BadInput

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with these a spreadsheet begins a formula


def line(name: str) -> str:
    r"""Return a name on one line: as it is, or as a JSON string where it would not be read back as it is.

    >>> line("cat/1.png"), line("two\nlines")
    ('cat/1.png', '"two\\nlines"')
    """
    plain = name.isprintable() and name.strip() == name and name and not name.startswith('"')
    return name if plain else json.dumps(name)


def write_lines(names: Iterable[str]) -> str:
    """Return names one a line, as ``read_lines`` reads them."""
    return "".join(f"{line(name)}\n" for name in names)


def read_lines(text: str) -> list[str]:
    """Return the names of a list of one a line; empty lines are passed over.

    Raises:
        BadInput: If a line begins with a double quote and is no JSON string.
    """
    names = []
    for number, one in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not (one := one.removesuffix("\r")):
            continue
        if one.startswith('"'):
            try:
                one = json.loads(one)
            except ValueError:
                raise BadInput(
                    f"Line {number} begins with a double quote and is no JSON string: a name that does so "
                    f"is written {json.dumps(one)}."
                ) from None
        names.append(one)
    return names


def cell(text: str) -> str:
    """Return text that no spreadsheet reads as a formula; ``read_cell`` gives it back.

    >>> cell("=1+1"), cell("cat"), read_cell(cell("'=1"))
    ("'=1+1", 'cat', "'=1")
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def read_cell(text: str) -> str:
    """Return what ``cell`` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
