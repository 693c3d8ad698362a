"""Image readers: where encoded pictures lie, the little that an image source asks of a format."""

from __future__ import annotations

import builtins
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from vergence.data.image.decode import DecodeError, Raw
from vergence.data.image.formats import HEAD
from vergence.data.paths import printable
from vergence.data.source import LabelName

_END = 4096  # bytes of a picture, at either end, by which it is known again
LARGEST = 2**30  # bytes of one encoded picture; without compression, the largest that is decoded has less


class ImageReader(ABC):
    """Pictures in a stable order.

    Attributes:
        names: One a picture, printable.
        labels: ``(n,)`` int64, -1 where unknown, or None.
        classes: Names of the labels, or None.
        label_name: See ``Source``.
        blocks: ``(n,)`` int64, the piece that each picture is read with, where not all pieces fit
            in memory at a time; None where one picture costs as much as the next.
        together: How many pieces do fit.
        stable_names: Whether a name stands for the same picture still when others are added to the data.
        notes: What was found but left out, in words.
    """

    names: Sequence[str]
    labels: np.ndarray | None
    classes: list[str] | None
    label_name: LabelName = "class"
    blocks: np.ndarray | None = None
    together: int = 1
    stable_names: bool = False
    notes: Sequence[str] = ()

    @abstractmethod
    def read(self, i: int) -> Raw:
        """Return picture ``i``, encoded or decoded; several threads may ask at once.

        Raises:
            DecodeError: If it is known to be broken.
            OSError: If its file cannot be read.
        """

    def content(self, i: int) -> bytes:
        """Return what ``Source.content`` does; raises what ``read`` does."""
        return b""


class PixelReader(ImageReader):
    """Pictures that a library gave us decoded.

    Args:
        pixels: ``(n, H, W, 3)`` uint8.
        labels: See ``ImageReader``.
        classes: See ``ImageReader``.
        stem: Start of their names.
    """

    def __init__(
        self, pixels: np.ndarray, labels: np.ndarray | None, classes: list[str] | None, stem: str
    ) -> None:
        self.pixels, self.labels, self.classes = pixels, labels, classes
        self.names = numbered(stem, len(pixels))

    def read(self, i: int) -> np.ndarray:
        return self.pixels[i]

    def content(self, i: int) -> bytes:
        return self.pixels[i].tobytes()


def read_part(path: str | os.PathLike[str], offset: int = 0, length: int | None = None) -> bytes:
    """Return ``length`` bytes of a file from ``offset`` on, or all.

    Raises:
        DecodeError: If they are more than a picture may have, fewer are there, or the file is none.
        OSError: If the file cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise DecodeError("a pipe, a folder or a device, not a file")
    with builtins.open(path, "rb") as file:
        available = os.fstat(file.fileno()).st_size - offset
        size = available if length is None else length
        if size > available:
            raise DecodeError("the file ends in the middle of it")
        if size > LARGEST:
            raise DecodeError(f"{size:,} bytes are more than a picture may have ({LARGEST:,})")
        file.seek(offset)
        return file.read(size)


def read_ends(path: str | os.PathLike[str], offset: int = 0, length: int | None = None) -> bytes:
    """Return the length of a file, or of a part of one, with its first and last 4 KiB.

    Raises:
        OSError: If the file cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with builtins.open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size - offset if length is None else length
        ends = [f"{size}:".encode()]
        for place in (offset, offset + max(0, size - _END)):
            file.seek(place)
            ends.append(file.read(min(size, _END)))
    return b"".join(ends)


def read_head(path: str | os.PathLike[str], offset: int = 0, length: int = HEAD) -> bytes:
    """Return the first bytes of a picture at ``offset``, which tell its format; none of what is no file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with builtins.open(path, "rb") as file:
            file.seek(offset)
            return file.read(min(length, HEAD))
    except OSError:
        return b""


def numbered(stem: str, n: int) -> list[str]:
    """Name samples that have no names of their own.

    >>> numbered("digits", 2)
    ['digits#0', 'digits#1']
    """
    stem = printable(stem)
    return [f"{stem}#{i}" for i in range(n)]
