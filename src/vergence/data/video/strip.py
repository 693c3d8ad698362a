"""Strips: a few small frames side by side, as a store keeps of each window."""

from __future__ import annotations

import io
import threading

import numpy as np
from PIL import Image

from vergence.data.video.video import shrunk

_FRAMES, _SIDE = 3, 64  # of a strip; pixels of the shorter side
_ROOM = 64 * 2**20  # bytes of strips that are kept


class Strips:
    """Small frames of clips that were decoded once anyway, so that pictures of them cost nothing.

    Attributes:
        frames: Of each.
        side: Their shorter side in pixels.
    """

    frames, side = _FRAMES, _SIDE

    def __init__(self) -> None:
        self._files: dict[int, bytes] = {}
        self._room = _ROOM
        self._lock = threading.Lock()

    def get(self, row: int) -> np.ndarray | None:
        """Return the frames ``(3, h, w, 3)`` of a window that was put there."""
        file = self._files.get(row)
        if file is None:
            return None
        picture = np.asarray(Image.open(io.BytesIO(file)))
        return picture.reshape(self.frames, -1, *picture.shape[1:])

    def put(self, row: int, clip: np.ndarray) -> None:
        """Keep some frames of a clip ``(T, H, W, 3)``."""
        if row in self._files:
            return
        side = min(clip.shape[1:3])
        most = side // max(1, round(side / self.side))
        some = shrunk(clip[_spread(len(clip), self.frames)], most)
        file = io.BytesIO()  # one above the other, without loss where there is little to lose
        small = max(some.shape[1:3]) <= 64
        Image.fromarray(some.reshape(-1, *some.shape[2:])).save(file, "PNG" if small else "JPEG", quality=90)
        with self._lock:
            if row not in self._files and len(file.getvalue()) <= self._room:
                self._room -= len(file.getvalue())
                self._files[row] = file.getvalue()


def thumbnail(sample: object, side: int) -> bytes | None:
    """Return a clip ``(T, H, W, 3)`` uint8 as a small file: three frames side by side, or None of others.

    Frames are as high as fits in ``side`` pixels by half as many.
    """
    if not isinstance(sample, np.ndarray) or sample.dtype != np.uint8 or sample.shape[3:] != (3,):
        return None
    frames = []
    for frame in sample[_spread(len(sample), _FRAMES)]:
        image = Image.fromarray(frame)
        image.thumbnail((side, side * 2 // 3), Image.Resampling.LANCZOS)
        frames.append(np.asarray(image))
    file, image = io.BytesIO(), Image.fromarray(np.concatenate(frames, 1))
    if max(image.size) <= 96:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=87)
    return file.getvalue()


def _spread(length: int, count: int) -> np.ndarray:
    return ((np.arange(count) + 0.5) * length / count).astype(int)
