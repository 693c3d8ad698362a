"""How results reach the reader: JSON on standard output for machines, plain lines for people."""

from __future__ import annotations

import json
from typing import Any


def show(args: Any, result: dict[str, Any] | list[Any], text: str) -> None:
    """Print ``result`` as JSON if ``--json`` was asked for, else ``text``."""
    print(json.dumps(result, indent=2, ensure_ascii=False, default=_plain) if args.json else text)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
