"""Resuming a run of record that was broken off: scores of finished arms, kept on disk."""

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
    """The finished jobs of a run that may be broken off, so that the next run goes on.

    Args:
        path: The file, written with the first job and gone after ``end``.
        run: What the jobs depend on besides the code. A file of another run, or one that other code wrote, is
            begun anew.

    Attributes:
        began: When the run began by ``time.monotonic``, without the time between its parts.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self._content: dict[str, Any] = {"run": run, "code": _code(), "seconds": 0.0, "jobs": []}
        kept = _read(path)
        if all(kept.get(name) == self._content[name] for name in ("run", "code")):
            self._content = kept
        self.began = time.monotonic() - self._content["seconds"]

    def __len__(self) -> int:
        return len(self._content["jobs"])

    def get(self, place: int, arm: str, seed: int) -> tuple[dict[str, float], float] | None:
        """Return a job's scores and seconds, or None where it is not finished."""
        job = {"place": place, "arm": arm, "seed": seed}
        same = (one for one in self._content["jobs"] if job.items() <= one.items())
        return next(((one["scores"], one["seconds"]) for one in same), None)

    def add(self, place: int, arm: str, seed: int, scores: dict[str, float], seconds: float) -> None:
        """Keep a job's scores."""
        job = {"place": place, "arm": arm, "seed": seed, "scores": scores, "seconds": seconds}
        self._content["jobs"].append(job)
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
