"""Cuts text files of a few entries a line, such as lists of edges, and says which column is what."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput, unknown
from vergence.data.times import times_of
from vergence.data.written import parsed, style

ROLES = ("source", "target", "weight", "time", "-")
_NAMES = {
    "source": ("source", "from", "src", "node1", "u", "head", "start", "id1", "user1", "sender"),
    "target": ("target", "to", "dst", "dest", "destination", "node2", "v", "tail", "end", "id2", "user2",
               "receiver"),
    "weight": ("weight", "w", "value", "strength", "count"),
    "time": ("time", "t", "timestamp", "ts", "date", "datetime", "epoch", "when", "year"),
}  # fmt: skip
_LOOKED_AT = 100  # lines
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PADDED = re.compile(rb"(?:^|[\s,;|\"])[+-]?0\d")
_DATA = re.compile(r"[\s,;|]*(\{.*\})\s*$")  # what networkx writes behind an edge
_DATA_WEIGHT = re.compile(r"""['"]weight['"]\s*:\s*([-+.\deE]+)""")


@dataclass
class Rows:
    """The entries of a file's lines.

    Args:
        entries: All lines equally many; ``(E, columns)`` float64 or int64 numbers, or words.
        numbers: Of the lines in the file, counted from 1.
        header: Names of the columns, or None.
        notes: What a user should know of how the file was read.
        weights: Of the data that networkx writes, a line each, or None.
    """

    entries: list[list[str]]
    numbers: list[int]
    header: list[str] | None
    notes: list[str]
    weights: list[str] | None = None

    def column(self, i: int) -> list[str]:
        return [row[i] for row in self.entries]


@dataclass
class EdgeColumns:
    """Edges as a file lists them.

    Args:
        ends: ``(2 E,)``, from and to in turns: whole numbers or names.
        values: ``edge_weight`` and ``edge_time`` ``(E,)``, those that there are.
        reading: Which column was taken for what, and why.
        notes: What a user should know of how the file was read.
    """

    ends: np.ndarray
    values: dict[str, np.ndarray]
    reading: str
    notes: list[str]


def text_of(path: Path, uri: str) -> tuple[str, list[str]]:
    """Return a file as text with plain line ends, and notes: UTF-8, UTF-16 with its mark, or Windows-1252.

    Raises:
        BadInput: If it is no text.
    """
    if not path.is_file():
        raise BadInput(f"{uri}: {path} is not a regular file.")
    raw, notes = path.read_bytes(), []
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        try:
            text = raw.decode("cp1252")
            notes.append("it is not UTF-8 and was read as Windows-1252 (latin-1)")
        except UnicodeDecodeError:
            raise BadInput(f"{uri} is not a text file: {error}.") from None
    if "\0" in text:
        raise BadInput(f"{uri} is not a text file: it holds zero bytes.")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def rows_of(path: Path, uri: str, what: str = "edges") -> Rows:
    """Return the entries of every line that is not empty or a comment.

    Between them stand blanks, tabs, commas, semicolons or bars; names with blanks are cut at the others.
    Comments begin with # or %, also behind a blank in a line. A first line of names is a header.

    Args:
        path: The file.
        uri: For errors.
        what: The lines hold, for errors.

    Raises:
        BadInput: If there are none, or a line has another number of entries than the first.
    """
    text, notes = text_of(path, uri)
    kept = [
        (i, bare)
        for i, line in enumerate(text.split("\n"), 1)
        if (bare := _uncommented(line).strip()) and bare[0] not in "#%"
    ]
    if not kept:
        raise BadInput(f"{uri} is a graph of no nodes: it has no lines with {what}.")
    data = [match.group(1) if (match := _DATA.search(line)) else None for _, line in kept]
    if any(data):
        kept = [(i, _DATA.sub("", line)) for i, line in kept]
    entries = _cutter([line for _, line in kept[:_LOOKED_AT]])([line for _, line in kept])
    numbers = [i for i, _ in kept]
    width = len(entries[0])
    bad = next((i for i, row in zip(numbers, entries, strict=False) if len(row) != width), None)
    if bad is not None:
        raise BadInput(f"{uri}: line {bad} has not {width} entries as the first one; repair or remove it.")
    header = [name.lower() for name in entries[0]] if _is_header(entries) else None
    skip = int(header is not None)
    if header is not None:
        notes.append(f"line {numbers[0]} was read as a header: {', '.join(header)}")
    weights = _weights_of(data[skip:], notes) if any(data) else None
    return Rows(entries[skip:], numbers[skip:], header, notes, weights)


def _uncommented(line: str) -> str:
    return line if "#" not in line and "%" not in line else re.sub(r"\s[#%].*$", "", line)


def _weights_of(data: Sequence[str | None], notes: list[str]) -> list[str] | None:
    matches = [_DATA_WEIGHT.search(entry or "") for entry in data]
    if any(entry and re.sub(_DATA_WEIGHT, "", entry).strip("{}, ") for entry in data):
        notes.append("what else than a weight stands in {} behind edges was left out")
    if not any(matches):
        return None
    return [match.group(1) if match else "1" for match in matches]


def _cutter(lines: list[str]) -> Callable[[list[str]], list[list[str]]]:
    """Return what cuts lines such as these into their entries."""
    for separator in ";|":
        if _everywhere(lines, separator):
            return lambda them: _cut(them, separator)
    pieces = [entry for line in lines[1:] or lines for entry in re.split(r"[\s,]+", line.strip(", \t"))]
    if all(map(_NUMBER.fullmatch, pieces)):
        return lambda them: [line.replace(",", " ").split() for line in them]
    for separator in "\t,":
        if _everywhere(lines, separator):
            return lambda them: _cut(them, separator)
    return lambda them: [line.replace(",", " ").split() for line in them]


def _everywhere(lines: list[str], separator: str) -> bool:
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]
    return min(line.count(separator) for line in bare) > 0


def _cut(lines: list[str], separator: str) -> list[list[str]]:
    try:
        cut = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [[entry.strip() for entry in row] for row in cut]
    except csv.Error:
        return [[entry.strip() for entry in line.split(separator)] for line in lines]


def _is_header(entries: list[list[str]]) -> bool:
    first, some = entries[0], entries[1 : _LOOKED_AT + 1]
    if not some:
        return False
    known = [any(name.lower() in names for names in _NAMES.values()) for name in first]
    if any(map(_NUMBER.fullmatch, first)):
        return False
    unlike = any(
        all(_NUMBER.fullmatch(row[i]) for row in some if len(row) > i) for i, name in enumerate(first)
    )
    return unlike or (all(known[:2]) and first[0] != first[1])


def edge_columns(
    path: Path, uri: str, columns: Sequence[str] | None = None, *, timed: bool = False
) -> EdgeColumns:
    """Read the ends of edges, and their weights and times.

    Args:
        path: The file.
        uri: For errors.
        columns: A role of ``ROLES`` for each column; None goes by the header, else by the number of columns:
            the third is a weight, of ``timed`` edges a time, and of four the fourth is a time.
        timed: The edges have times.

    Raises:
        BadInput: If a line is something else, or the columns are not those.
    """
    fast = None if columns is not None or timed else _all_numbers(path)
    if fast is not None:
        return fast
    rows = rows_of(path, uri)
    roles, reading = _roles(rows, uri, columns, timed)
    ends = [rows.column(roles.index(role)) for role in ("source", "target")]
    values, notes = {}, rows.notes
    if "weight" in roles:
        values["edge_weight"] = numbers(rows.column(roles.index("weight")), f"{uri}: weights")
    elif rows.weights is not None:
        values["edge_weight"] = numbers(rows.weights, f"{uri}: weights")
        reading += ", weight in {}"
    if "time" in roles and timed:
        values["edge_time"] = _times(rows.column(roles.index("time")), uri)
    elif "time" in roles:
        at = roles.index("time") + 1
        notes = [*notes, f"column {at} was taken for times and left out: temporal:FILE reads them"]
    return EdgeColumns(np.array(ends).T.reshape(-1), values, reading, notes)


def _roles(rows: Rows, uri: str, columns: Sequence[str] | None, timed: bool) -> tuple[list[str], str]:
    """Return the role of each column, and why."""
    width = len(rows.entries[0])
    why = "as named" if columns is not None else "by the header"
    roles = list(columns) if columns is not None else _by_header(rows.header, width)
    if roles is None:
        roles, why = _by_place(rows, width, timed), "by place"
    if roles is None:
        raise BadInput(
            f"{uri}: a line needs two nodes and {'a time' if timed else 'perhaps a weight'}; the first has "
            f"{width} entries. Name them: columns=source,target,-,time."
        )
    for role in roles:
        if role not in ROLES:
            raise unknown("column of edges", role, ROLES)
    if len(roles) != width:
        raise BadInput(f"{uri}: columns names {len(roles)} columns, but a line has {width} entries.")
    wanted = ["source", "target", *(["time"] if timed else [])]
    if any(roles.count(role) != 1 for role in wanted) or any(roles.count(r) > 1 for r in ROLES[:-1]):
        raise BadInput(f"{uri}: columns needs {', '.join(wanted)} once each; got {','.join(roles)}.")
    said = [f"{role} column {roles.index(role) + 1}" for role in ROLES[:-1] if role in roles]
    left = [str(i + 1) for i, role in enumerate(roles) if role == "-"]
    return roles, ", ".join(
        [*said, *([f"column {' and '.join(left)} left out"] if left else [])]
    ) + f" ({why})"


def _by_header(header: list[str] | None, width: int) -> list[str] | None:
    if header is None:
        return None
    roles = [next((role for role, names in _NAMES.items() if name in names), "-") for name in header]
    if "source" not in roles and "target" not in roles:
        roles[:2] = ["source", "target"]
    complete = roles.count("source") == roles.count("target") == 1
    doubled = any(roles.count(role) > 1 for role in ("weight", "time"))
    return roles if complete and not doubled and width == len(roles) else None


def _by_place(rows: Rows, width: int, timed: bool) -> list[str] | None:
    if width == 2 and not timed:
        return ["source", "target"]
    if width == 3:
        dated = not timed and _looks_like_times(rows.column(2))
        return ["source", "target", "time" if timed or dated else "weight"]
    if width == 4:
        swapped = _looks_like_times(rows.column(2)) and not _looks_like_times(rows.column(3))
        return ["source", "target", *(("time", "weight") if swapped else ("weight", "time"))]
    return None


def _looks_like_times(entries: Sequence[str] | np.ndarray) -> bool:
    """Say whether entries are seconds, or thousandths and so on, of the years 1973 to 2286."""
    try:
        some = np.array(entries[:: max(1, len(entries) // 1000)], np.float64)
    except ValueError:
        return False
    return any(1e8 * unit <= some.min() and some.max() < 1e10 * unit for unit in (1, 1e3, 1e6, 1e9))


def _all_numbers(path: Path) -> EdgeColumns | None:
    """Read a file of two whole numbers a line, and perhaps a weight, fast; None where it is another."""
    if not path.is_file() or _PADDED.search(path.read_bytes()):
        return None
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip() and line.lstrip()[0] not in "#%"), "")
        entries = re.split(r"\s*,\s*|\s+", line.strip())
        if len(entries) not in (2, 3) or not all(map(_NUMBER.fullmatch, entries)):
            return None
        fields = [("source", np.int64), ("target", np.int64), ("weight", np.float64)][: len(entries)]
        comma = "," if "," in line else None
        table = np.loadtxt(path, fields, delimiter=comma, comments=["#", "%"], ndmin=1, encoding="utf-8-sig")
    except (ValueError, OverflowError):
        return None
    ends = np.stack([table["source"], table["target"]], axis=1).reshape(-1)
    if len(entries) == 2:
        return EdgeColumns(ends, {}, "source column 1, target column 2 (by place)", [])
    if _looks_like_times(table["weight"]):
        return None
    reading = "source column 1, target column 2, weight column 3 (by place)"
    return EdgeColumns(ends, {"edge_weight": table["weight"]}, reading, [])


def _times(entries: list[str], uri: str) -> np.ndarray:
    """Return times, int64 where they are whole; dates become seconds since 1970."""
    if all(re.fullmatch(r"-?\d+", entry) for entry in entries):
        try:
            return np.array([int(entry) for entry in entries], np.int64)
        except (OverflowError, ValueError):  # beyond 2^63, or beyond the digits that Python reads
            pass
    if not all(map(_NUMBER.fullmatch, entries)):
        try:
            ticks, _, per_second = times_of(pa.chunked_array([entries]), "time", uri)
        except BadInput:
            return numbers(entries, f"{uri}: times")
        return ticks if per_second == 1 else ticks / per_second
    return numbers(entries, f"{uri}: times")


def numbers(entries: Sequence[str], what: str) -> np.ndarray:
    """Return entries as float64, or raise ``BadInput``."""
    try:
        return np.array(entries, np.float64)
    except (TypeError, OverflowError) as error:
        raise BadInput(f"{what} must be numbers: {error}.") from None
    except ValueError as error:
        words = pa.chunked_array([list(entries)], pa.string())
        mark = style(words)
        if mark is None:
            raise BadInput(f"{what} must be numbers: {error}.") from None
        return parsed(words, mark)
