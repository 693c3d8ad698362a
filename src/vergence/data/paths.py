"""Paths: which files one stands for."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path


def files(root: Path) -> list[str]:
    """Return the paths of all files under ``root``, sorted; hidden ones and link loops are left out."""
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
            if not name.startswith(".")
        ]
    return sorted(names)


def expanded(pattern: str) -> list[Path]:
    """Return the paths that ``{000..003}``, ``{a,b}`` and ``*`` stand for; none where there is no pattern.

    >>> [str(path) for path in expanded("x-{08..10}.tar")]
    ['x-08.tar', 'x-09.tar', 'x-10.tar']
    """
    match = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", pattern)
    if match is None:
        return [Path(name) for name in sorted(glob.glob(pattern))] if glob.has_magic(pattern) else []
    first, last, names = match.groups()
    values = names.split(",") if names else [f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
    filled = [pattern[: match.start()] + value + pattern[match.end() :] for value in values]
    return [
        path for name in filled for path in expanded(name) or ([] if glob.has_magic(name) else [Path(name)])
    ]
