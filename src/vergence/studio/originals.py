"""The pictures behind the small ones of a store, at full size, read again from where they lie."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vergence.core.errors import BadInput
from vergence.data import open as open_source
from vergence.data.paths import from_printable
from vergence.store.table import Store
from vergence.studio.exif import exif

if TYPE_CHECKING:
    from vergence.data.image.decode import Raw
    from vergence.data.image.source import ImageSource

LONGEST = 4096  # pixels of a side that are sent; larger pictures are shrunk
_LOSSLESS = 512  # pixels of the longer side up to which a picture is sent as it is


@dataclass(frozen=True, slots=True)
class Original:
    """A picture as it lies on the disk.

    Args:
        path: Where, for people.
        raw: Encoded, or decoded by a library.
        small: Whether there is no picture to read at ``path`` now, and this is the store's small one of it.
    """

    path: str
    raw: Raw
    small: bool = False


class Originals:
    """Reads the samples of a store again.

    A sample is a file that its ``uri`` names, or a part of one (parquet, tar), which is read by opening the
    store's source. Nothing is asked of the network.

    Args:
        store: Opened.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._source: ImageSource | None = None
        self._places: dict[str, int] | None = None
        self._one = threading.Lock()

    def describe(self, row: int) -> dict[str, Any]:
        """Return where the picture of a row lies, its ``width`` and ``height`` in pixels and its ``bytes``.

        ``bytes`` is None where it is not a file of its own, ``note`` says what to know of what is shown, and
        ``exif`` is what the camera wrote, in pairs of words (``studio.exif``).

        Raises:
            BadInput: If there is neither a picture nor a small one in the store.
        """
        from vergence.data.image.decode import shape

        original = self._find(row)
        height, width = shape(original.raw)
        notes = []
        if original.small:
            notes.append("There is no picture to read there now; this is the store's small one.")
        if max(height, width) > LONGEST:
            notes.append(f"Shown with {LONGEST:,} pixels on its longer side.")
        return {
            "path": original.path,
            "width": width,
            "height": height,
            "bytes": len(original.raw) if isinstance(original.raw, bytes) and not original.small else None,
            "note": " ".join(notes),
            "exif": exif(original.raw) if isinstance(original.raw, bytes) and not original.small else [],
        }

    def size(self, row: int) -> tuple[int, int]:
        """Return width and height of the picture of a row; raises ``BadInput`` if it is not there to read."""
        from vergence.data.image.decode import shape

        original = self._find(row)
        if original.small:
            raise BadInput(f"{original.path} is not there, only the store's small picture of it.")
        height, width = shape(original.raw)
        return width, height

    def encoded(self, row: int) -> bytes:
        """Return the picture of a row, encoded anew: PNG where it is small, else JPEG.

        Raises:
            BadInput: If there is none, or it cannot be read.
        """
        from vergence.data.image.decode import DecodeError, decode

        original = self._find(row)
        try:
            image = Image.fromarray(decode(original.raw))
        except DecodeError as error:
            raise BadInput(f"{original.path} cannot be read: {error}.") from None
        file = io.BytesIO()
        if max(image.size) <= _LOSSLESS:
            image.save(file, "PNG")
        else:
            image.thumbnail((LONGEST, LONGEST))
            image.save(file, "JPEG", quality=92)
        return file.getvalue()

    def _find(self, row: int) -> Original:
        from vergence.data.image.decode import DecodeError, shape

        if not 0 <= row < len(self.store):
            raise BadInput(f"{self.store.path} has rows 0 to {len(self.store) - 1}; row {row} was asked for.")
        record = self.store.take([row], ["id", "uri", "thumbnail"]).to_pylist()[0]
        try:
            raw = self._raw(record["id"], record["uri"] or "", image=record["thumbnail"] is not None)
        except (DecodeError, OSError) as error:
            raise BadInput(f"{record['uri']} cannot be read: {error}.") from None
        if raw is not None and shape(raw) != (0, 0):
            return Original(record["uri"], raw)
        if not record["thumbnail"]:
            raise BadInput(
                f"{record['id']} has no picture: {record['uri']} is none, and the store holds none."
            )
        return Original(record["uri"], record["thumbnail"], small=True)

    def _raw(self, name: str, uri: str, *, image: bool) -> Raw | None:
        """Return a sample as its file or, of an ``image``, its source has it; None where neither is there."""
        from vergence.data.image.reader import read_part

        path = from_printable(uri)
        if os.path.isfile(path):
            return read_part(path)
        if not image:
            return None
        with self._one:
            if self._places is None:
                self._source = self._open()
                names = () if self._source is None else self._source.names
                self._places = {known: i for i, known in enumerate(names)}
        if self._source is None or name not in self._places:
            return None
        return self._source.reader.read(int(self._source.rows[self._places[name]]))

    def _open(self) -> ImageSource | None:
        """Open the store's source where it lies on this machine."""
        from vergence.data.image.source import ImageSource

        uri = str(self.store.about.get("source") or "")
        if not uri or not Path(uri).exists():
            return None
        try:
            source = open_source(uri)
        except BadInput:
            return None
        return source if isinstance(source, ImageSource) else None
