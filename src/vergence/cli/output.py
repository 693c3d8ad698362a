"""Output of results: JSON on standard output for machines, plain lines for people."""

from __future__ import annotations

import json
from collections.abc import Sized
from typing import Any


def show(args: Any, result: dict[str, Any] | list[Any], text: str) -> None:
    """Print ``result`` as JSON if ``--json`` was asked for, else ``text``."""
    print(json.dumps(result, indent=2, ensure_ascii=False, default=_plain) if args.json else text)


def count(things: Sized, name: str) -> str:
    """Return how many there are: ``1 group``, ``2,000 groups``.

    >>> count(["a"], "group"), count(range(2000), "group")
    ('1 group', '2,000 groups')
    """
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
