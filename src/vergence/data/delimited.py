"""Reads csv files as people and programs write them: any usual separator, decimal mark and encoding."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from vergence.core.errors import BadInput
from vergence.data.columns import check_names, checked_table, reason
from vergence.data.written import DECIMAL, comma_decimals, is_text, trimmed

SEPARATORS = ",;\t|"
_HEAD = 65_536  # bytes in which the separator is looked for; more where the first line is longer
_LOOKED_AT = 100  # lines of them
_BLOCK = 2**24
_WIDE = (
    1000  # columns from which types are told by the first lines, where that is safe: Arrow tries each in turn
)
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_CODE = rb'(?:^|[,;\t|\n"])[+-]?(?:0\d|\d{19})'  # zip codes, and ids that no 64 bits hold


@dataclass
class _Format:
    """How a csv file is written, and what was found out while reading it."""

    separator: str
    encoding: str
    skip: int  # lines of comments above the header
    names: list[str]
    decimal: str = "."
    words: list[str] = field(default_factory=list)  # columns that stay text
    floats: list[str] = field(default_factory=list)  # columns whose first values have a decimal point
    notes: list[str] = field(default_factory=list)


def read_csv(path: Path, *, limit: float = 0.5) -> tuple[pa.Table, list[str]]:
    """Read a csv file whose first line names the columns.

    The separator is the one that cuts the first lines into equally many cells, quoted ones whole. Lines
    above the header that begin with # are comments. A file that is not UTF-8, nor UTF-16 with its mark, is
    read as Windows-1252. Numbers may have a decimal comma. Codes with leading zeros and whole numbers of more
    than 64 bits stay text. Lines with another number of cells than the header are left out, and
    columns with neither a name nor a value.

    Args:
        path: A file, or one compressed as gzip.
        limit: Share of lines that may be left out, in [0, 1].

    Returns:
        The table, and what a user should know of how it was read.

    Raises:
        BadInput: If it cannot be read, two columns have one name, a quote is never closed, or too many
            lines have too few or too many cells.
    """
    try:
        form = _format_of(path)
        table = _read(path, form, limit)
        form, table = _in_windows_1252(path, form, table, limit)
        if comma_decimals(table, semicolons=form.separator == ";"):
            form = replace(form, decimal=",")
            table = _read(path, form, limit)
        if codes := _codes(path, form, table):
            form = replace(form, words=codes)
            table = _read(path, form, limit)
        _check_quotes(path, form, table)
        table = table.replace_schema_metadata({DECIMAL: form.decimal})
        return checked_table(_named(table, form, path), path), form.notes
    except (pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as csv: {reason(error)}") from None


def names_in(path: Path) -> list[str]:
    """Return the names of the columns of a csv file from its header, without reading the rest.

    Raises:
        BadInput: If there is none.
    """
    try:
        return _format_of(path).names
    except (OSError, EOFError, UnicodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as csv: {reason(error)}") from None


def separator_of(lines: list[str]) -> str:
    """Return the separator that cuts the most of some lines into as many cells as the first, and into most.

    >>> separator_of(['"height, in m";weight', "1,5;60"])
    ';'
    """
    bare = [_unquoted(line) for line in lines]

    def fit(separator: str) -> tuple[float, int]:
        cells = [line.count(separator) for line in bare]
        return (sum(count == cells[0] for count in cells) / len(cells) if cells[0] else 0.0), cells[0]

    return max(SEPARATORS, key=fit)


def _unquoted(text: str) -> str:
    """Return text without what stands in quoted cells."""
    return re.sub(r'(?:^|(?<=[,;\t|\n]))"[^"]*(?:""[^"]*)*"(?=[,;\t|\r\n]|$)', '""', text)


def _format_of(path: Path) -> _Format:
    if not path.is_file():
        raise BadInput(f"{path} is not a regular file.")
    with pa.input_stream(path, compression="detect") as stream:
        raw = head = stream.read(_HEAD)
        while head and b"\n" not in raw and b"\r" not in raw:
            raw += (head := stream.read(len(raw)))
        whole = not stream.read(1)
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    text = raw.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = _unquoted(text).split("\n")
    lines = (lines if whole or len(lines) < 2 else lines[:-1])[: _LOOKED_AT + 1]
    skip = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    below = [line for line in lines[skip:] if line.strip()]
    if not below:
        raise BadInput(f"{path} holds no lines of a table.")
    separator = separator_of(below)
    if skip and lines[skip - 1].count(separator) == below[0].count(separator) > 0:
        skip -= 1  # the header itself begins with #
    notes = [f"{skip:,} lines of comments above the header were left out"] if skip else []
    header = next(csv.reader(io.StringIO(text.split("\n", skip)[skip]), delimiter=separator), [])
    names = [*map(trimmed, header)]
    floats = _with_point(header, below[1:4], separator) if len(names) > _WIDE else []
    return _Format(separator, encoding.removesuffix("-sig"), skip, names, floats=floats, notes=notes)


def _with_point(names: list[str], lines: list[str], separator: str) -> list[str]:
    """Return the columns whose cells in some lines are all numbers with a decimal point."""
    rows = [line.split(separator) for line in lines]
    if not rows or any(len(cells) != len(names) for cells in rows):
        return []
    number = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?").fullmatch
    return [name for name, *cells in zip(names, *rows, strict=True) if all(map(number, cells))]


def _read(path: Path, form: _Format, limit: float) -> pa.Table:
    left: list[str] = []

    def skip(row: pc_csv.InvalidRow) -> str:
        left.append(row.text)
        return "skip"

    handler: Callable[[pc_csv.InvalidRow], str] = skip
    floats = dict.fromkeys(form.floats if form.decimal == "." else (), pa.float64())
    try:
        table = pc_csv.read_csv(
            path,
            parse_options=pc_csv.ParseOptions(
                delimiter=form.separator, newlines_in_values=True, invalid_row_handler=handler
            ),
            read_options=pc_csv.ReadOptions(
                block_size=_BLOCK,
                encoding=form.encoding,
                skip_rows=form.skip,
                use_threads=path.stat().st_size > _WIDE * len(form.names),  # each column is a task
            ),
            convert_options=pc_csv.ConvertOptions(
                strings_can_be_null=True,
                decimal_point=form.decimal,
                column_types={**floats, **dict.fromkeys(form.words, pa.string())},
            ),
        )
    except pa.ArrowInvalid:
        if not floats:
            raise
        form.floats = []  # further down there is a word
        return _read(path, form, limit)
    form.notes = [note for note in form.notes if "cells than the header" not in note]
    if left:
        example = " ".join(left[0].split())[:60]
        said = f"{len(left):,} lines have more or fewer cells than the header's {table.num_columns}"
        if len(left) > limit * (table.num_rows + len(left)):
            raise BadInput(f"{path} cannot be read as csv: {said}, such as '{example}'.")
        form.notes.append(f"{said} and were left out, such as '{example}'")
    return table


def _in_windows_1252(path: Path, form: _Format, table: pa.Table, limit: float) -> tuple[_Format, pa.Table]:
    """Read once more, as Windows-1252, what has bytes that are no UTF-8."""
    if form.encoding != "utf-8" or not (_broken_names(table) or any(map(_bytes, table.schema.types))):
        return form, table
    note = "it is not UTF-8 and was read as Windows-1252 (latin-1)"
    form = replace(form, encoding="cp1252", notes=[*form.notes, note])
    try:
        return form, _read(path, form, limit)
    except UnicodeDecodeError:
        raise BadInput(
            f"{path} is text in neither UTF-8 nor Windows-1252 (latin-1); save it in UTF-8."
        ) from None


def _broken_names(table: pa.Table) -> bool:
    try:
        return not table.column_names and table.num_columns > 0
    except UnicodeDecodeError:
        return True


def _bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _codes(path: Path, form: _Format, table: pa.Table) -> list[str]:
    """Return the columns of whole numbers that lose something as such: leading zeros, or digits."""
    if form.encoding != "utf-16" and not _holds(path, re.compile(_CODE)):
        return []
    kinds = table.schema.types  # by place: two columns may have one name
    whole = [i for i, kind in enumerate(kinds) if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    names = table.column_names
    text = _read(path, replace(form, words=[names[i] for i in whole], notes=[]), 1.0)
    return [names[i] for i in whole if _loses(text.column(i), kinds[i])]


def _loses(text: pa.ChunkedArray, kind: pa.DataType) -> bool:
    if pa.types.is_integer(kind):
        return bool(pc.any(pc.match_substring_regex(text, r"^\s*[+-]?0\d")).as_py())
    digits = pc.all(pc.match_substring_regex(text, r"^\s*[+-]?\d+\s*$")).as_py()
    return bool(digits and pc.any(pc.match_substring_regex(text, r"^\s*[+-]?(0\d|\d{19})")).as_py())


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    before = b"\n"
    with pa.input_stream(path, compression="detect") as stream:
        while block := stream.read(_BLOCK):
            if pattern.search(before + block):
                return True
            before = block[-32:]
    return False


def _check_quotes(path: Path, form: _Format, table: pa.Table) -> None:
    """Raise BadInput if a quote that is not closed has swallowed lines."""
    words = [column for column in table.columns if is_text(column.type)]
    if not any(pc.any(pc.match_substring(column, "\n")).as_py() for column in words):
        return
    with pa.input_stream(path, compression="detect") as stream:
        text = stream.read().decode(form.encoding, errors="replace").replace("\r\n", "\n")
    cut = re.escape(form.separator)
    cells = re.compile(rf'(?:^|(?<=[{cut}\n]))"[^"]*(?:""[^"]*)*(?:"(?![{cut}\n]|$)|$)')
    plain = re.sub(rf'(?:^|(?<=[{cut}\n]))"[^"]*(?:""[^"]*)*"(?=[{cut}\n]|$)', _newlines, text)
    if (bad := cells.search(plain)) and "\n" in bad.group():
        line = plain.count("\n", 0, bad.start()) + 1
        raise BadInput(f"{path} cannot be read as csv: the quote in line {line} is never closed.")


def _newlines(cell: re.Match[str]) -> str:
    return "\n" * cell.group().count("\n")


def _named(table: pa.Table, form: _Format, path: Path) -> pa.Table:
    """Return the columns that have a name or a value, names without blanks around them.

    Raises:
        BadInput: If two of them have one name.
    """
    names = [trimmed(name) for name in table.column_names]
    kept = [i for i, name in enumerate(names) if name or table.column(i).null_count < table.num_rows]
    if len(kept) < len(names):
        form.notes.append(f"{len(names) - len(kept):,} columns without name or value were left out")
        table, names = table.select(kept), [names[i] for i in kept]
    check_names(names, f"The first line of {path}")
    return table if names == table.column_names else table.rename_columns(names)
