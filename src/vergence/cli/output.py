"""How results reach the reader: JSON on standard output for machines, plain lines for people."""

from __future__ import annotations

import json
from typing import Any


def show(asked: Any, found: dict[str, Any], text: str) -> None:
    """Print ``found`` as JSON if ``--json`` was asked for, else ``text``."""
    print(json.dumps(found, indent=2, ensure_ascii=False, default=_plain) if asked.json else text)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
