"""What a run of record has found before its end, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from vergence.engine.files import write_json

PACKAGE = Path(__file__).resolve().parents[1]


class Unfinished:
    """The finished trainings of a run that may be broken off, so that the next run goes on.

    Args:
        path: The file, written with the first training and gone after ``end``.
        run: What the trainings depend on besides the code. A file of another run, or one that other code
            wrote, is begun anew.

    Attributes:
        began: When the run began by ``time.monotonic``, without the time between its parts.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self._content: dict[str, Any] = {"run": run, "code": _code(), "seconds": 0.0, "trainings": []}
        found = _read(path)
        if all(found.get(name) == self._content[name] for name in ("run", "code")):
            self._content = found
        self.began = time.monotonic() - self._content["seconds"]

    def __len__(self) -> int:
        return len(self._content["trainings"])

    def get(self, arm: str, seed: int, places: list[int]) -> tuple[list[float], float] | None:
        """Return a training's values and seconds, or None where it is not finished."""
        job = {"arm": arm, "seed": seed, "places": places}
        same = (one for one in self._content["trainings"] if job.items() <= one.items())
        return next(((one["values"], one["seconds"]) for one in same), None)

    def add(self, arm: str, seed: int, places: list[int], values: list[float], seconds: float) -> None:
        """Write what a training found."""
        self._content["trainings"].append(
            {"arm": arm, "seed": seed, "places": places, "values": values, "seconds": seconds}
        )
        self._content["seconds"] = time.monotonic() - self.began
        write_json(self.path, self._content)

    def end(self) -> None:
        """Remove the file: everything is in the result."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}


def _code() -> str:
    """Return what tells two versions of this package apart."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
