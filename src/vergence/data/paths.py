"""Paths: which files one stands for."""

from __future__ import annotations

import glob
import os
import re
import stat
from pathlib import Path

from vergence.core.errors import BadInput


def files(root: Path) -> list[str]:
    """Return the paths of all files under ``root``, sorted.

    Hidden ones, link loops, and what is no file (pipes, sockets, devices) are left out.
    """
    names, seen = [], set()
    for folder, inside, here in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith((".", "__MACOSX")))
        start = os.path.relpath(folder, root)
        names += [
            name if start == "." else f"{start}/{name}".replace(os.sep, "/")
            for name in here
            if not name.startswith(".") and not _is_device(os.path.join(folder, name))
        ]
    return sorted(names)


def _is_device(path: str) -> bool:
    """Say whether what is there is a pipe, a socket or a device, whose reading may never end."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # such as a link to nowhere: whoever reads it says so
        return False
    return not stat.S_ISREG(mode)


def printable(name: str) -> str:
    r"""Return a file's name as text that UTF-8 can hold: bytes that are none stand there as numbers.

    >>> printable("caf\udce9.png") == r"caf\xe9.png"
    True
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return name


def from_printable(name: str) -> str:
    r"""Return the file's name of which ``printable`` made this text.

    >>> from_printable(r"caf\xe9.png") == "caf\udce9.png"
    True
    """
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), name.encode())
    return raw.decode("utf-8", "surrogateescape")


def table_files(folder: Path) -> list[Path]:
    """Return the parquet files of a folder, or its csv files, sorted; hidden ones are left out.

    What is no folder stands for itself.

    Raises:
        BadInput: If it holds both, so that one kind would be left out.
    """
    if not folder.is_dir():
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._")
    parquet = [path for path in inside if path.name.lower().endswith(".parquet")]
    delimited = [path for path in inside if path.name.lower().endswith((".csv", ".tsv", ".csv.gz"))]
    if parquet and delimited:
        raise BadInput(
            f"{folder} holds {len(parquet)} parquet and {len(delimited)} csv files; choose: "
            f"{folder}/*.parquet."
        )
    return parquet or delimited


def expanded(pattern: str) -> list[Path]:
    """Return the paths that ``{000..003}``, ``{a,b}`` and ``*`` stand for; none where there is no pattern.

    A file whose own name looks like a pattern, such as ``log[1].csv``, is that file.

    >>> [str(path) for path in expanded("x-{08..10}.tar")]
    ['x-08.tar', 'x-09.tar', 'x-10.tar']
    """
    if os.path.lexists(pattern):
        return [Path(pattern)]
    match = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", pattern)
    if match is None:
        return [Path(name) for name in sorted(glob.glob(pattern))] if glob.has_magic(pattern) else []
    first, last, names = match.groups()
    values = names.split(",") if names else [f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
    filled = [pattern[: match.start()] + value + pattern[match.end() :] for value in values]
    return [
        path for name in filled for path in expanded(name) or ([] if glob.has_magic(name) else [Path(name)])
    ]


def split_query(uri: str) -> tuple[str, str]:
    """Return the path and what stands behind the ``?`` of ``PATH?name=value&…``.

    A ``?`` in the name of a file that is there belongs to the name.

    >>> split_query("people.csv?label=sick")
    ('people.csv', 'label=sick')
    """
    marks = [mark.start() for mark in re.finditer(r"\?(?=\w+=)", uri)]
    ends = [len(uri), *reversed(marks)]
    end = next((end for end in ends if os.path.exists(os.path.expanduser(uri[:end]))), [*marks, len(uri)][0])
    return uri[:end], uri[end + 1 :]
