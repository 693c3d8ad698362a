"""One door to all data: from what the user names to a ``Source``."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.data.source import Source

ACCEPTED = "a folder of images, .parquet, .tar (or x-{000..003}.tar), torchvision:NAME, hf:NAME, or digits"


def open(uri: str | os.PathLike[str] | Source, *, limit: float = 0.5) -> Source:
    """Return the ``Source`` behind ``uri``; a source comes back as it is.

    Args:
        uri: A folder of images (folders inside it are labels), a parquet file, webdataset tar
            shards, a folder of either, ``torchvision:CIFAR10[:root][:split]``, ``hf:name[:split]``,
            or the embedded ``digits``. File names may hold ``*`` and ``{000..003}``.
        limit: Share of unreadable samples that is put up with, in [0, 1], before reading stops.

    Raises:
        BadInput: If it is missing, empty or of no known kind; the line says what was found and
            what is accepted.
        MissingExtra: If it needs a library that is not installed.

    >>> open("digits")
    <1,797 images, 10 classes, from digits>
    """
    if isinstance(uri, Source):
        return uri
    if not 0 <= limit <= 1:
        raise BadInput(f"limit is the share of unreadable samples put up with, in [0, 1]; got {limit}.")
    from vergence.data.image_source import ImageSource
    from vergence.data.named import digits

    uri = os.fspath(uri)
    if uri == "digits":
        return digits(limit=limit)
    path = Path(uri).expanduser()
    if path.is_dir():
        return _folder(path, uri, limit)
    if path.suffix == ".parquet" and path.is_file():
        from vergence.data.parquet import ParquetShelf

        return ImageSource(ParquetShelf([path], path.parent), uri, limit=limit)
    raise _missing(path, uri)


def _folder(root: Path, uri: str, limit: float) -> Source:
    from vergence.data.folder import FolderShelf, files, is_picture
    from vergence.data.image_source import ImageSource
    from vergence.data.parquet import ParquetShelf

    found = files(root)
    pictures = [name for name in found if is_picture(name)]
    if pictures:
        return ImageSource(FolderShelf(root, pictures), uri, limit=limit)
    shards = [root / name for name in found if name.endswith(".parquet")]
    if shards:
        return ImageSource(ParquetShelf(shards, root), uri, limit=limit)
    kinds = Counter(os.path.splitext(name)[1] or "no suffix" for name in found).most_common(3)
    inside = ", ".join(f"{count} x {kind}" for kind, count in kinds) or "no files"
    raise BadInput(f"Folder {uri} holds no images but {inside}; needs {ACCEPTED}.")


def _missing(path: Path, uri: str) -> BadInput:
    if path.is_file():
        return BadInput(f"File {uri} is of no known kind; needs {ACCEPTED}.")
    known = ["digits"]
    if path.parent.is_dir():
        known += [str(path.parent / name) for name in os.listdir(path.parent)]
    near = difflib.get_close_matches(str(path), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"needs {ACCEPTED}."
    return BadInput(f"Nothing found at {uri}; {hint}")
