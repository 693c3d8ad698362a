"""Coarse waves of pictures (DCT) and of their crops: pictures compared by what they show, without learning.

The 63 slowest waves of a grey picture, at unit length, do not mind brightness, contrast, compression or
size. A mirrored picture has the same waves, those that are odd from left to right negated. A crop is met by
the waves of the same part of the other picture: the cosines are stretched over that part, exactly.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from vergence.data.loading import cores
from vergence.store.table import Store

SIDE = 32  # pixels of a small grey picture
_WAVES = 8  # along each axis
_SIDES = (1.0, 0.9, 0.8)  # of the parts that are compared, as shares of the whole
CROPS = 19  # parts: the whole, and nine places of each smaller side
_FLAT = 0.05  # grey levels; waves that are lower are rounding
_BLOCK = 4096  # pictures that are read at a time

ODD = np.tile((-1.0) ** np.arange(_WAVES), _WAVES)[1:].astype(np.float32)  # times waves: of the mirror image


def grey_pictures(store: Store) -> np.ndarray:
    """Return the small pictures of a store in grey, ``(n, 32, 32)`` float32; NaN for rows without one."""
    pictures = np.empty((len(store), SIDE, SIDE), np.float32)
    with ThreadPoolExecutor(cores()) as pool:
        for rows, files in thumbnails(store):
            for row, picture in zip(rows, pool.map(_grey, files), strict=True):
                pictures[row] = picture
    return pictures


def thumbnails(store: Store) -> Iterator[tuple[range, list[bytes | None]]]:
    """Yield the rows of a store and the files of their small pictures, a block at a time."""
    for start in range(0, len(store), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(store)))
        yield rows, store.take(rows, ["thumbnail"])["thumbnail"].to_pylist()


def _grey(file: bytes | None) -> np.ndarray | float:
    if file is None:
        return np.nan
    try:
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    except Exception:  # noqa: BLE001 - a decoder may raise anything on broken bytes
        return np.nan


def whole(pictures: np.ndarray) -> np.ndarray:
    """Return the waves ``(n, 63)`` of grey pictures ``(n, 32, 32)``, at unit length; a flat one has zeros."""
    return _waves(pictures, _stretched(0, 1), _stretched(0, 1))


def crops(pictures: np.ndarray) -> np.ndarray:
    """Return the waves ``(n, 19, 63)`` of whole pictures and of 18 parts of them."""
    parts = []
    for side in _SIDES:
        starts = sorted({0.0, (1 - side) / 2, 1 - side})
        parts += [
            _waves(pictures, _stretched(top, side), _stretched(left, side))
            for top in starts
            for left in starts
        ]
    return np.stack(parts, 1)


def _waves(pictures: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    slow = (down @ pictures @ across.T).reshape(len(pictures), -1)[:, 1:]
    length = np.linalg.norm(slow, axis=1, keepdims=True)
    return np.where(length < _FLAT, 0, slow / np.maximum(length, _FLAT))


def _stretched(start: float, side: float) -> np.ndarray:
    """Return the integral over each pixel, ``(8, 32)``, of each cosine stretched over a part.

    Args:
        start: Where the part begins, as a share of the axis.
        side: How long it is, likewise.
    """
    edges = np.clip((np.linspace(0, 1, SIDE + 1) - start) / side, 0, 1)
    wave = np.arange(_WAVES)[:, None]
    slope = np.pi * np.maximum(wave, 1)
    integral = np.where(wave == 0, edges, np.sin(slope * edges) / slope)
    return np.diff(integral, axis=1).astype(np.float32)
