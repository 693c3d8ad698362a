"""Side tables: what a csv beside the data says of its samples, such as a group or a place."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.core.lists import read_cell


def side_columns(path: str | Path, columns: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Read columns of a csv for samples, in their order; "" where the csv says nothing of a sample.

    Args:
        path: With a line of column names; the first column holds the samples' names, as the source has them
            or the last part of them alone, such as ``cat.jpg``.
        columns: Wanted.
        names: Of the samples.

    Raises:
        BadInput: If the file cannot be read, lacks a column, names a sample twice, knows none of them,
            or has a last part that several samples share.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as a csv: {error}.") from error
    if not rows or not rows[0]:
        raise BadInput(f"{path} is empty; its first line needs the names of columns.")
    header = [read_cell(name).strip() for name in rows[0]]
    if missing := [name for name in columns if name not in header]:
        raise BadInput(f"{path} has no column '{missing[0]}'; it has {', '.join(header)}.")
    wanted = [header.index(name) for name in columns]
    known: dict[str, list[str]] = {}
    for row in rows[1:]:
        if not row:
            continue
        if (name := read_cell(row[0])) in known:
            raise BadInput(f"{path} names '{name}' twice.")
        known[name] = [read_cell(row[i]).strip() if i < len(row) else "" for i in wanted]
    whole = set(map(str, names))
    bare = Counter(str(name).rsplit("/", 1)[-1] for name in names)
    if doubtful := [name for name in known if bare[name] > 1 and name not in whole]:
        raise BadInput(
            f"{path} names '{doubtful[0]}', which {bare[doubtful[0]]} samples are called: give each sample's "
            f"whole name, such as '{names[0]}'."
        )
    entries = [known.get(name) or known.get(name.rsplit("/", 1)[-1]) for name in map(str, names)]
    if not any(entries):
        raise BadInput(
            f"{path} names none of the {len(names)} samples: its first column has '{next(iter(known), '')}', "
            f"the source '{names[0]}'."
        )
    return [[one[i] if one else "" for one in entries] for i in range(len(columns))]
