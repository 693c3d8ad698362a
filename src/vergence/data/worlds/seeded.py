"""Random numbers by their place: seed, sample and name, whatever is drawn beside them or before."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Draws:
    """Uniform numbers of some samples; each name is a stream of its own.

    Sample ``i`` of a seed has the same numbers alone and in any batch. The mixing function is that of
    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

    Args:
        seed: Of the world.
        rows: ``(B,)`` int64, the samples.
    """

    def __init__(self, seed: int, rows: np.ndarray) -> None:
        self.seed, self.rows = seed, np.asarray(rows, np.int64)

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Return ``(B, *shape)`` float64 in [low, high)."""
        with np.errstate(over="ignore"):
            stream = _mixed(np.uint64(self.seed) * _GOLDEN + np.uint64(zlib.crc32(name.encode())))
            state = _mixed(self.rows.astype(np.uint64) * _GOLDEN + stream)
            places = np.arange(int(np.prod(shape)), dtype=np.uint64) * _GOLDEN
            bits = _mixed(state[:, None] + places)
        unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(len(self.rows), *shape)

    def whole(self, name: str, *shape: int, below: int | np.ndarray) -> np.ndarray:
        """Return ``(B, *shape)`` int64 in [0, below)."""
        return (self.uniform(name, *shape) * below).astype(np.int64)


def _mixed(bits: Any) -> Any:
    """Return 64 bits, a number or an array of them, mixed."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
