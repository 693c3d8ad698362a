"""Caches of decoded and of resized pictures, so that later epochs do not decode them again."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vergence.data.image.decode import MAX_RATIO, DecodeError, decode, shape
from vergence.data.image.reader import ImageReader

_PROBES = 64
_PIXELS_A_THREAD = 64 * 64  # below, threads wait for Python's lock more than they decode


def budget() -> int:
    """Return how many bytes of pictures may be kept: 2 GiB, or a quarter of a smaller memory."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        physical = 8 * 1024**3
    return min(2 * 1024**3, physical // 4)


class DecodedCache:
    """Pictures of one size in one array, each decoded when it is first asked for.

    Attributes:
        pixels: ``(n, H, W, 3)`` uint8.
        ready: ``(n,)`` bool, which of them are decoded or known to be broken.
        broken: Why a row cannot be read.
    """

    def __init__(self, reader: ImageReader, pixels: np.ndarray, *, ready: bool = False) -> None:
        self.reader, self.pixels = reader, pixels
        self.ready = np.full(len(pixels), ready)
        self.broken: dict[int, str] = {}
        self._lock = threading.Lock()

    @classmethod
    def fitting(cls, reader: ImageReader) -> DecodedCache | None:
        """Return an empty cache where a look at some headers promises one size that fits in memory."""
        n = len(reader.names)
        seen = set()
        for i in np.unique(np.linspace(0, n - 1, min(n, _PROBES)).astype(int)).tolist():
            try:
                seen.add(shape(reader.read(i)))
            except (DecodeError, OSError):
                continue
        seen.discard((0, 0))
        if len(seen) != 1:
            return None
        height, width = seen.pop()
        fits = n * height * width * 3 <= budget() and max(height, width) <= MAX_RATIO * min(height, width)
        return cls(reader, np.empty((n, height, width, 3), np.uint8)) if fits else None

    def fill(self, rows: np.ndarray, workers: int) -> bool:
        """Decode ``rows``; False when one turns out to be of another size."""
        with self._lock:
            missing = rows[~self.ready[rows]]
            if not len(missing):
                return True
            height, width = self.pixels.shape[1:3]
            workers = min(workers, 1 + height * width // _PIXELS_A_THREAD)
            with ThreadPoolExecutor(workers) as pool:
                pieces = np.array_split(missing, min(len(missing), 8 * workers))
                return all(list(pool.map(self._fill, pieces)))

    def _fill(self, rows: np.ndarray) -> bool:
        for i in rows.tolist():
            try:
                picture = decode(self.reader.read(i))
            except (DecodeError, OSError) as error:
                self.broken[i] = str(error)
            else:
                if picture.shape != self.pixels.shape[1:]:
                    return False
                self.pixels[i] = picture
            self.ready[i] = True
        return True


class ResizedCache:
    """Photos as they were shrunk for one size of view, as many as fit; the first ones stay.

    Args:
        size: What they were shrunk towards.
        whole: Whether long ones were left uncut.
    """

    def __init__(self, size: int | None, *, whole: bool = False) -> None:
        self.size, self.whole = size, whole
        self._room = budget()
        self._photos: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, row: int) -> np.ndarray | None:
        return self._photos.get(row)

    def put(self, row: int, photo: np.ndarray) -> None:
        with self._lock:
            if photo.nbytes <= self._room and row not in self._photos:
                self._room -= photo.nbytes
                self._photos[row] = photo
