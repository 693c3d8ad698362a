"""What a store says of itself, in its schema and beside its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vergence.data.source import Skipped
from vergence.store.reading import NOTE, SKIPPED


def note(
    source: str | None,
    classes: list[str] | None,
    model: str,
    encoder: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, str]:
    """Return what a new table says about itself, as its schema keeps it; see ``Store.about``."""
    about = {"format": 1, "source": source, "classes": classes, "models": {"vector": model}, "info": {}}
    known = {"encoders": {"vector": encoder}} if encoder else {}
    return {NOTE: json.dumps({**about, **known, **more})}


def write_skipped(path: Path, skipped: Skipped) -> None:
    """Put what could not be read beside the table at ``path``; no file where everything could."""
    if skipped.reasons:
        (path / SKIPPED).write_text(skipped.table())
    else:
        (path / SKIPPED).unlink(missing_ok=True)
