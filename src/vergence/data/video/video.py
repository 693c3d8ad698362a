"""One video: frames at known times, whatever holds them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vergence.data.image.decode import DecodeError, decode
from vergence.data.image.reader import read_ends, read_part


class Video(ABC):
    """Frames, each shown from its own time until that of the next.

    Attributes:
        name: Printable; of a file its path.
        seconds: ``(n,)`` float64, ascending: when each frame is shown, the first at 0.
        duration: Seconds from the first frame to the end of the last.
    """

    name: str
    seconds: np.ndarray
    duration: float

    def __len__(self) -> int:
        return len(self.seconds)

    @cached_property
    def gap(self) -> float:
        """The usual time from a frame to the next, in seconds: the median."""
        if len(self.seconds) < 2:
            return self.duration
        return float(np.median(np.diff(self.seconds)))

    def shown_at(self, seconds: np.ndarray | float) -> np.ndarray:
        """Return which frame is shown at each time, from 0; beyond the ends the first and the last."""
        place = np.searchsorted(self.seconds, np.asarray(seconds, np.float64), side="right") - 1
        return place.clip(0, len(self.seconds) - 1)

    @abstractmethod
    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        """Return frames ``(k, H, W, 3)`` uint8 as they are displayed; the same place gives the same frame.

        Several threads may ask at once.

        Args:
            places: ``(k,)``, counted from 0; any order, fastest when ascending.
            size: Shrink by a whole factor, antialiased, as long as the shorter side keeps this many pixels.

        Raises:
            DecodeError: If one of them cannot be decoded.
            OSError: If the file cannot be read.
        """

    def frames(
        self, start: float = 0.0, end: float | None = None, *, size: int | None = None
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the frames shown from ``start`` until ``end`` seconds with their times, one at a time.

        The first is the one that is shown at ``start``. See ``read``.
        """
        last = len(self) - 1 if end is None else int(np.searchsorted(self.seconds, end, side="left")) - 1
        for place in range(int(self.shown_at(start)), last + 1):
            yield float(self.seconds[place]), self.read([place], size=size)[0]

    def content(self) -> bytes:
        """Return bytes that are others when the video has changed; none where that cannot be told."""
        return b""


class ArrayVideo(Video):
    """Frames that lie in memory.

    Args:
        pixels: ``(n, H, W, 3)`` uint8.
        fps: Frames a second.
        name: See ``Video``.
    """

    def __init__(self, pixels: np.ndarray, *, fps: float, name: str) -> None:
        self.pixels, self.name = pixels, name
        self.seconds, self.duration = np.arange(len(pixels)) / fps, len(pixels) / fps

    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        return shrunk(self.pixels[np.asarray(places, np.int64)], size)

    def content(self) -> bytes:
        return self.pixels.tobytes()


class FrameFolder(Video):
    """Pictures of one folder as frames, in the order of the numbers in their names.

    Args:
        root: Of the data set.
        paths: Of the pictures below it, sorted as ``in_order`` does.
        fps: Frames a second.
        name: See ``Video``.
    """

    def __init__(self, root: Path, paths: Sequence[str], *, fps: float, name: str) -> None:
        self.root, self.paths, self.name = root, paths, name
        self.seconds, self.duration = np.arange(len(paths)) / fps, len(paths) / fps

    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        frames = [decode(read_part(self.root / self.paths[int(i)]), size=size) for i in places]
        if len(shapes := {frame.shape for frame in frames}) > 1:
            raise DecodeError(f"frames of several sizes, such as {_sizes(shapes)}")
        return np.stack(frames)

    def content(self) -> bytes:
        return read_ends(self.root / self.paths[len(self.paths) // 2])


def in_order(names: Sequence[str]) -> list[str]:
    """Sort names by the numbers in them.

    >>> in_order(["a/10.jpg", "a/9.jpg"])
    ['a/9.jpg', 'a/10.jpg']
    """

    def key(name: str) -> list[Any]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(names, key=key)


def shrunk(frames: np.ndarray, size: int | None) -> np.ndarray:
    """Shrink ``(n, H, W, 3)`` by a whole factor as long as the shorter side keeps ``size`` pixels."""
    factor = shrink_factor(frames.shape[1], frames.shape[2], size)
    if factor == 1:
        return frames
    return np.stack([np.asarray(Image.fromarray(frame).reduce(factor)) for frame in frames])


def shrink_factor(height: int, width: int, size: int | None) -> int:
    """Return by how much ``shrunk`` divides both sides.

    >>> shrink_factor(360, 640, 112), shrink_factor(100, 90, 112)
    (3, 1)
    """
    return 1 if size is None else max(1, min(height, width) // size)


def _sizes(shapes: set[Any]) -> str:
    return " and ".join(f"{height} x {width}" for height, width, _ in sorted(shapes)[:2])
