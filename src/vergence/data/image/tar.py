"""Image reader of webdataset shards: plain tar files, read in place by byte offset."""

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.data.columns import coded
from vergence.data.image.folder import folder_labels, is_picture
from vergence.data.image.reader import ImageReader, read_part

_BROKEN = (ValueError, OverflowError, MemoryError, RecursionError)  # of numbers that make no sense


class TarReader(ImageReader):
    """Samples of one or more shards, in the order of their first file.

    Files of one sample share their path up to the first dot of the name: ``a/17.jpg`` is labelled
    by ``a/17.cls``, a number or a word. Without any such file, folders inside the shards are the
    labels, as in a folder of pictures.

    Args:
        paths: The shards, in order; not compressed.
        root: What their names are relative to.
    """

    def __init__(self, paths: list[Path], root: Path) -> None:
        self._paths = paths
        self.names: list[str] = []
        self._at: list[tuple[int, int, int]] = []  # shard, offset, length
        inside: list[str] = []
        labels: list[int | str | None] = []
        for shard, path in enumerate(paths):
            for name, offset, length, label in _samples(path):
                self.names.append(f"{path.relative_to(root).as_posix()}/{name}")
                self._at.append((shard, offset, length))
                inside.append(name)
                labels.append(label)
        if not self.names:
            raise BadInput(f"No images in {paths[0]}{' and the other shards' if len(paths) > 1 else ''}.")
        self.labels, self.classes = coded(labels)
        if self.labels is None:
            self.labels, self.classes = folder_labels(inside)

    def read(self, i: int) -> bytes:
        shard, offset, length = self._at[i]
        return read_part(self._paths[shard], offset, length)


def _samples(path: Path) -> list[tuple[str, int, int, int | str | None]]:
    """Return each sample's picture, where it starts, how long it is, and its label."""
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int | str | None] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in _members(shard):
                if not member.isreg():
                    continue
                folder, _, file = member.name.removeprefix("./").rpartition("/")
                stem, _, field = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if field == "cls" and (stream := shard.extractfile(member)):
                    labels[key] = _label(stream.read(256))
                # "17.jpg" is the picture, "17.seg.png" only where there is nothing plainer
                elif is_picture(file) and (key not in pictures or "." not in field):
                    name = f"{folder}/{file}" if folder else file
                    pictures[key] = (name, member.offset_data, member.size)
    except (tarfile.TarError, OSError, *_BROKEN) as error:
        hint = (
            "compressed; unpack it to a plain .tar" if path.suffix != ".tar" else str(error) or "it is broken"
        )
        raise BadInput(f"{path} is not a tar file that can be read in place: {hint}.") from None
    return [(*picture, labels.get(key)) for key, picture in pictures.items()]


def _members(shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members up to the end, or to where the file is broken."""
    with contextlib.suppress(tarfile.TarError, *_BROKEN):
        while (member := shard.next()) is not None:
            yield member


def _label(raw: bytes) -> int | str | None:
    text = raw.decode("utf-8", "replace").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text or None
