"""Opens images: which reader a name asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.data.image import named
from vergence.data.image.folder import PICTURES, FolderReader, left_out
from vergence.data.image.formats import is_picture, pictures_among
from vergence.data.image.parquet import ParquetReader
from vergence.data.image.reader import read_head
from vergence.data.image.source import ImageSource
from vergence.data.image.tar import TarReader


def open_named(uri: str, *, limit: float = 0.5) -> ImageSource:
    """Open the embedded ``digits``, ``torchvision:NAME``, ``hf:NAME``, or a world with what its name says."""
    if uri == "digits":
        return named.digits(limit=limit)
    name = uri.partition("?")[0].partition(":")[0]
    if name == "scenes":
        from vergence.data.image.scenes import open_scenes  # compiles

        return open_scenes(uri, limit=limit)
    if name == "shapes3d":
        from vergence.data.image.shapes3d import open_shapes3d  # compiles

        return open_shapes3d(uri, limit=limit)
    read = named.torchvision if uri.startswith("torchvision:") else named.hub
    return read(uri, limit=limit)


def open_files(paths: list[Path], root: Path, uri: str, *, limit: float = 0.5) -> ImageSource | None:
    """Open parquet files or tar shards.

    Raises:
        WrongModality: If a parquet file has no column of images.
        BadInput: If a file cannot be read, or is a single image.
    """
    if all(path.suffix.lower() == ".parquet" for path in paths):
        return ImageSource(ParquetReader(paths, root), uri, limit=limit)
    if all(".tar" in path.suffixes or path.suffix == ".tgz" for path in paths):
        return ImageSource(TarReader(paths, root), uri, limit=limit)
    if is_picture(uri):
        raise BadInput(f"{uri} is a single image; open the folder it is in: {root}")
    return None


def open_folder(root: Path, names: Sequence[str], uri: str, *, limit: float = 0.5) -> ImageSource | None:
    """Open the pictures of a folder, with their targets; else its parquet files, else its tar shards.

    What a file's name does not tell its first bytes do.
    """
    pictures = pictures_among(names, lambda name: read_head(root / name))
    if any(name.startswith(PICTURES) for name in names):
        from vergence.data.image.annotations import annotated_folder  # loads torchvision

        if (annotated := annotated_folder(root, names, pictures, uri, limit=limit)) is not None:
            return annotated
    if pictures:
        return ImageSource(FolderReader(root, pictures, notes=left_out(names, pictures)), uri, limit=limit)
    for suffix in (".parquet", ".tar"):
        if shards := [name for name in names if name.endswith(suffix)]:
            source = open_files([root / name for name in shards], root, uri, limit=limit)
            if source is not None:
                source.notes = [*source.notes, *left_out(names, shards)]
            return source
    return None
