"""Own vectors in one command: a file of them becomes a store beside it, and is opened from there again."""

from __future__ import annotations

from pathlib import Path

from vergence.core.errors import BadInput
from vergence.store.table import Store

_NOTE = "made from"  # what ``about["info"]`` calls the file's size and time


def open_or_import(path: str | Path) -> Store:
    """Open a store, or the store of a file of vectors (``.npy``, ``.npz``, ``.parquet``, ``.json``).

    The store of ``vectors.npy`` is ``vectors.npy.lance`` beside it; it is made the first time, so that the
    map, the clusters and the tags are there the next time.

    Raises:
        BadInput: If there is neither, the file cannot be read, something else lies where its store belongs,
            or the file has been changed since that was made.
    """
    file = Path(path)
    if not file.is_file():
        return Store.open(file)
    place, now = file.with_name(f"{file.name}.lance"), file.stat()
    mark = [now.st_size, now.st_mtime_ns]
    if not place.exists():
        store = Store.read_file(file, place)
        store.set_info(**{_NOTE: mark})
        return store
    store = Store.open(place)
    if (store.about.get("info") or {}).get(_NOTE) != mark:
        raise BadInput(
            f"{file} is not what {place} was made of: delete that to read {file.name} again, or give "
            f"{place} to look at it as it is."
        )
    return store
