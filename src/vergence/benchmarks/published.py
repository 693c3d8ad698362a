"""What is published of a paper: its run of record, else its row in the image table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vergence.benchmarks import PUBLISHED

IMAGE_TABLE = "image-table.json"
GENERATED = "generated"


def published(key: str) -> dict[str, Any] | None:
    """Return a paper's result, None where there is none.

    Where none of its comparisons is on real data, its row in the image table stands under "also", with
    "shared" beside it. Torch is not imported.
    """
    own = _read(PUBLISHED / f"{key}.json")
    if any(with_real_data(own)):
        return own
    row = _read(PUBLISHED / IMAGE_TABLE).get("comparisons", {}).get(key)
    return ({**own, "also": [*(own.get("also") or ()), row]} if row else own) or None


def with_real_data(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the comparisons of a result on data that is not generated, the main one first."""
    for one in (result, *(result.get("also") or ())):
        if "arms" in one and one["source"] != GENERATED:
            yield one


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return read
