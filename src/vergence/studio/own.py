"""Own vectors in one command: a file of them becomes a store beside it, and is opened from there again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vergence.core.errors import BadInput
from vergence.store.table import Store

_NOTE = "made from"  # what ``about["info"]`` calls the sizes and times of the files, and what else was given


def open_or_import(
    path: str | Path,
    *,
    vector: str | None = None,
    table: str | Path | None = None,
    images: str | Path | None = None,
) -> Store:
    """Open a store, or the store of a file of vectors (``.npy``, ``.npz``, ``.parquet``, ``.json``).

    The store of ``vectors.npy`` is ``vectors.npy.lance`` beside it; it is made the first time, so that the
    map, the clusters and the tags are there the next time.

    Args:
        path: Of either.
        vector: The column of a file's vectors, as of ``Store.read_file``, like what follows.
        table: A file with further columns for a ``.npy``.
        images: A folder with a picture for every row.

    Raises:
        BadInput: If there is neither, a file cannot be read, something else lies where its store belongs,
            a file has been changed since that was made, or it was made with something else.
    """
    file = Path(path)
    more: dict[str, Any] = {"vector": vector, "table": table, "images": images}
    if not file.is_file():
        store = Store.open(file)
        if given := [name for name, value in more.items() if value is not None]:
            raise BadInput(f"--{given[0]} goes with a file of vectors; {file} is a store already.")
        return store
    place, now = file.with_name(f"{file.name}.lance"), _mark(file, vector, table, images)
    if not place.exists():
        store = Store.read_file(file, place, **more)
        store.set_info(**{_NOTE: now})
        return store
    store = Store.open(place)
    then = (store.about.get("info") or {}).get(_NOTE)
    if not isinstance(then, dict) or any(then.get(name) != value for name, value in now.items()):
        raise BadInput(
            f"{file} is not what {place} was made of: delete that to read {file.name} again, or give "
            f"{place} to look at it as it is."
        )
    return store


def _mark(
    file: Path, vector: str | None, table: str | Path | None, images: str | Path | None
) -> dict[str, Any]:
    """Return what a store is made of; what is not given is left out."""
    mark: dict[str, Any] = {"file": _stamp(file)}
    if vector is not None:
        mark["vector"] = vector
    if table is not None and Path(table).is_file():
        mark["table"] = _stamp(Path(table))
    if images is not None:
        mark["images"] = str(Path(images).resolve())
    return mark


def _stamp(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]
