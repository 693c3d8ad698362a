"""Image reader of webdataset shards: plain tar files, read in place by byte offset."""

from __future__ import annotations

import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vergence.core.errors import BadInput
from vergence.data.columns import coded
from vergence.data.image.folder import folder_labels
from vergence.data.image.formats import UNREAD, pictures_among, suffix_of
from vergence.data.image.reader import ImageReader, read_ends, read_head, read_part
from vergence.data.paths import printable

_AFTER_END = 64  # MiB that are looked at behind the last file
_BROKEN = (ValueError, OverflowError, MemoryError, RecursionError)  # of numbers that make no sense


class TarReader(ImageReader):
    """Pictures of one or more shards, in the order of their members.

    Files whose names are alike up to the first dot are one sample, as webdataset has it: ``a/17.jpg`` is its
    picture, labelled by ``a/17.cls``, a number or a word; a second picture, such as ``a/17.seg.png``, is left
    out. Where none of them is plain, the dots belong to the names: ``IMG.2024.1.jpg`` and ``IMG.2024.2.jpg``
    are two pictures. Without any label file, folders inside the shards are the labels, as in a folder of
    pictures.

    Args:
        paths: The shards, in order; not compressed.
        root: What their names are relative to.
    """

    stable_names = True

    def __init__(self, paths: list[Path], root: Path) -> None:
        self._paths = paths
        self.names: list[str] = []
        self._at: list[tuple[int, int, int]] = []  # shard, offset, length
        inside: list[str] = []
        labels: list[int | str | None] = []
        left_out: Counter[str] = Counter()
        examples: dict[str, str] = {}
        self.notes = []
        for number, path in enumerate(paths):
            shard, file = _read_shard(path), printable(path.relative_to(root).as_posix())
            for name in shard.pictures:
                self.names.append(f"{file}/{printable(name)}")
                self._at.append((number, *shard.files[name]))
                inside.append(printable(name))
                labels.append(shard.label_of(name))
            for reason, names in shard.left_out.items():
                left_out[reason] += len(names)
                examples.setdefault(reason, f"{file}/{printable(names[0])}")
            if shard.broken:
                self.notes.append(f"{file} {shard.broken}")
        self.notes += [f"{n:,} {what} left out, such as {examples[what]}" for what, n in left_out.items()]
        if not self.names:
            raise BadInput(f"No images in {paths[0]}{' and the other shards' if len(paths) > 1 else ''}.")
        self.labels, self.classes = coded(labels)
        if self.labels is None:
            self.labels, self.classes, self.label_name = folder_labels(inside)

    def read(self, i: int) -> bytes:
        shard, offset, length = self._at[i]
        return read_part(self._paths[shard], offset, length)

    def content(self, i: int) -> bytes:
        shard, offset, length = self._at[i]
        return read_ends(self._paths[shard], offset, length)


@dataclass
class _Shard:
    """What a tar file holds.

    Attributes:
        files: Where each file starts, and how long it is.
        labels: Of what has a label file, by its path without the suffix.
        pictures: Which of the files are samples.
        left_out: Those that are pictures and no samples, by what they are.
        broken: From where on it cannot be read, in words.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, int | str | None] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    broken: str = ""

    def label_of(self, name: str) -> int | str | None:
        """Return the label of a picture, from the file that shares most of its name."""
        folder, _, parts = _split(name)
        stems = (f"{folder}{'.'.join(parts[:n])}" for n in range(max(1, len(parts) - 1), 0, -1))
        return next((self.labels[stem] for stem in stems if stem in self.labels), None)


def _read_shard(path: Path) -> _Shard:
    shard = _Shard()
    try:
        with tarfile.open(path, "r:") as archive:
            _list_members(archive, shard)
            shard.broken = shard.broken or _after_end(archive, path)
    except (tarfile.TarError, OSError, *_BROKEN) as error:
        hint = (
            "compressed; unpack it to a plain .tar" if path.suffix != ".tar" else str(error) or "it is broken"
        )
        raise BadInput(f"{path} is not a tar file that can be read in place: {hint}.") from None
    pictures = pictures_among(list(shard.files), lambda name: read_head(path, *shard.files[name]))
    shard.left_out["files in formats that are not read"] = [
        name for name in shard.files if suffix_of(name) in UNREAD
    ]
    _choose(shard, pictures)
    shard.left_out = {what: names for what, names in shard.left_out.items() if names}
    return shard


def _list_members(archive: tarfile.TarFile, shard: _Shard) -> None:
    """Note where the files lie, up to the end of the archive, or to where it is broken."""
    while True:
        try:
            member = archive.next()
        except (tarfile.TarError, *_BROKEN):
            shard.broken = f"is broken: what follows its first {len(shard.files):,} files is not read"
            return
        if member is None:
            return
        name = member.name.removeprefix("./")
        if any(part.startswith((".", "__MACOSX")) and part != ".." for part in name.split("/")):
            continue  # hidden, as in folders
        if member.islnk() and member.linkname.removeprefix("./") in shard.files:
            shard.files[name] = shard.files[member.linkname.removeprefix("./")]
        elif member.islnk() or member.issym():
            shard.left_out["links"] += pictures_among([name], lambda _: b"")
        elif member.isreg():
            _, _, parts = _split(name)
            if parts[-1].lower() == "cls" and (stream := archive.extractfile(member)):
                shard.labels[name[:-4]] = _label(stream.read(256))
            elif name in shard.files:  # a later file of the same name replaces it
                shard.left_out["older files of the same name"] += pictures_among([name], lambda _: b"")
            shard.files[name] = (member.offset_data, member.size)


def _after_end(archive: tarfile.TarFile, path: Path) -> str:
    """Say what a tar file holds behind the place where its list of members ends, "" where that is nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(archive.offset)
        for _ in range(_AFTER_END):
            block = file.read(2**20)
            if block.strip(b"\0"):
                return f"is broken, or several archives in one: {size - archive.offset:,} bytes are not read"
    return ""


def _choose(shard: _Shard, pictures: Iterable[str]) -> None:
    """Tell the pictures that are samples from second pictures of a sample."""
    samples = defaultdict(list)
    for name in pictures:
        folder, stem, _ = _split(name)
        samples[folder + stem].append(name)
    second: set[str] = set()
    for names in samples.values():
        plain = [name for name in names if len(_split(name)[2]) <= 2]
        if plain:
            second.update(name for name in names if name != plain[0])
    shard.pictures = [name for name in pictures if name not in second]
    shard.left_out["second pictures of a sample"] = [name for name in pictures if name in second]


def _split(name: str) -> tuple[str, str, Sequence[str]]:
    """Return a path's folder, the file's name up to its first dot, and all parts between dots.

    >>> _split("a/17.seg.png")
    ('a/', '17', ['17', 'seg', 'png'])
    """
    file = PurePosixPath(name).name
    parts = file.split(".")
    return name[: len(name) - len(file)], parts[0], parts


def _label(raw: bytes) -> int | str | None:
    text = raw.decode("utf-8", "replace").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text or None
