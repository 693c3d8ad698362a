"""Cache of the studio: a folder inside the store, for what need not be made again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, VergenceError
from vergence.data.arrays import read_npy
from vergence.store.table import Store

FOLDER = "_studio"  # Lance keeps to folders of its own


def fingerprint(store: Store, column: str) -> str:
    """Return a word that changes with the rows of a store, their order, or their vectors."""
    seen = hashlib.blake2b(digest_size=8)
    names = store.read(["id"])["id"]
    seen.update(np.ascontiguousarray(pc.binary_length(names).to_numpy()).data)
    for part in names.chunks:
        seen.update(_letters(part))
    seen.update(np.ascontiguousarray(store.vectors(column)).data)
    return seen.hexdigest()


def _letters(words: pa.StringArray) -> memoryview:
    """Return the bytes of all words, one after the other."""
    ends, letters = words.buffers()[1:]
    if not len(words) or letters is None:
        return memoryview(b"")
    places = np.frombuffer(ends, np.int32)[words.offset : words.offset + len(words) + 1]
    return memoryview(letters)[places[0] : places[-1]]


def save_array(store: Store, name: str, array: np.ndarray) -> None:
    """Keep an array; a disk that refuses only means that it is made again next time."""
    from vergence.engine.files import write_whole

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    with contextlib.suppress(VergenceError):
        write_whole(store.path / FOLDER / f"{name}.npy", write)


def load_array(store: Store, name: str) -> np.ndarray | None:
    """Return an array that was kept, None where there is none or it is broken."""
    try:
        return read_npy(store.path / FOLDER / f"{name}.npy")
    except BadInput:
        return None


def save_json(store: Store, name: str, words: dict[str, Any]) -> None:
    """Keep names with values; raises ``DiskTrouble`` if the disk refuses."""
    from vergence.engine.files import write_text

    write_text(store.path / FOLDER / f"{name}.json", json.dumps(words, ensure_ascii=False))


def load_json(store: Store, name: str) -> dict[str, Any]:
    """Return names with values that were kept; none where there are none or the file is broken."""
    try:
        values = json.loads((store.path / FOLDER / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
