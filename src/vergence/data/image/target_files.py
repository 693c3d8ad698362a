"""Targets in files, one a picture, read when a batch asks for them."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.tv_tensors import Mask

from vergence.data.image.decode import DecodeError
from vergence.data.image.reader import read_part
from vergence.data.matlab import read as read_matlab
from vergence.data.paths import printable
from vergence.data.source import Skipped
from vergence.data.targets import VOID, Boundaries, LazyTarget, Masks, owners

_LOOKED = 16  # files that tell how masks are coded
_VOC_VOID = 255


class Files(LazyTarget):
    """One file a picture, read when it is asked for.

    Args:
        root: The folder.
        names: Paths inside it, one a picture; None where a picture has none.
    """

    def __init__(self, root: Path, names: Sequence[str | None]) -> None:
        self.root, self.names = root, names

    @abstractmethod
    def read(self, i: int) -> np.ndarray:
        """Return what is known of picture ``i``: maps ``(..., H, W)``.

        Raises:
            DecodeError: If the file cannot be used.
            OSError: If it cannot be read.
        """

    def maps(self, rows: np.ndarray, sizes: np.ndarray | None, skipped: Skipped) -> list[np.ndarray | None]:
        """Read the maps of some pictures; None for what cannot be used."""
        drawn: list[np.ndarray | None] = []
        for k, i in enumerate(rows.tolist()):
            name, maps = self.names[i], None
            if name is not None:
                try:
                    maps = self.read(i)
                    if sizes is not None and tuple(maps.shape[-2:]) != tuple(sizes[k]):
                        (h, w), (tall, wide) = maps.shape[-2:], sizes[k]
                        raise DecodeError(f"is {h} x {w} pixels, its picture {tall} x {wide}")
                except (DecodeError, OSError) as error:
                    skipped.add(printable(f"{self.root.name}/{name}"), str(error))
                    maps = None
            drawn.append(maps)
        return drawn

    def raw(self, i: int) -> bytes:
        return read_part(os.path.join(self.root, str(self.names[i])))


class MaskFiles(Files):
    """PNG files of one class a pixel: numbers of a palette or of grey.

    255 is unknown, as PASCAL VOC has it; of files of 0 and 255 alone it is class 1.
    """

    def __init__(self, root: Path, names: Sequence[str | None]) -> None:
        super().__init__(root, names)
        self.binary = False
        values: set[int] = set()
        for i in [i for i, name in enumerate(names) if name is not None][:_LOOKED]:
            try:
                values |= set(np.unique(self._numbers(i)).tolist())
            except (DecodeError, OSError):
                continue
        self.binary = values == {0, _VOC_VOID}

    def read(self, i: int) -> np.ndarray:
        numbers = self._numbers(i)
        if self.binary:
            return (numbers > 0).astype(np.int16)
        return np.where(numbers == _VOC_VOID, VOID, numbers).astype(np.int16)

    def load(self, rows: np.ndarray, sizes: np.ndarray | None, skipped: Skipped) -> Masks:
        maps = self.maps(rows, sizes, skipped)
        canvas = np.full((len(maps), *_largest(maps, sizes)), VOID, np.int16)
        for page, one in zip(canvas, maps, strict=True):
            if one is not None:
                page[: one.shape[0], : one.shape[1]] = one
        return Masks(Mask(torch.from_numpy(canvas)))

    def _numbers(self, i: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(self.raw(i))) as image:
                if image.mode not in ("1", "L", "P", "I", "I;16"):
                    raise DecodeError(f"holds colours ({image.mode}), not one class a pixel")
                numbers = np.asarray(image).astype(np.int32)
        except DecodeError:
            raise
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything on broken bytes
            raise DecodeError(str(error) or type(error).__name__) from None
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) > np.iinfo(np.int16).max:
            raise DecodeError("holds classes beyond 32,767")
        return numbers


class BoundaryFiles(Files):
    """Boundary maps: PNG files, bright where a boundary is, or MATLAB files of BSDS with several people's."""

    def read(self, i: int) -> np.ndarray:
        raw = self.raw(i)
        try:
            if str(self.names[i]).endswith(".mat"):
                return read_matlab("boundaries", raw, str(self.names[i]))["maps"].astype(np.float32)
            with Image.open(io.BytesIO(raw)) as image:
                return np.asarray(image.convert("L")).astype(np.float32)[None] / 255
        except Exception as error:  # noqa: BLE001 - so may scipy
            raise DecodeError(str(error) or type(error).__name__) from None

    def load(self, rows: np.ndarray, sizes: np.ndarray | None, skipped: Skipped) -> Boundaries:
        maps = self.maps(rows, sizes, skipped)
        known = [one if one is not None else np.zeros((0, 1, 1), np.float32) for one in maps]
        canvas = np.zeros((sum(map(len, known)), *_largest(maps, sizes)), np.float32)
        for page, layer in zip(canvas, (layer for one in known for layer in one), strict=True):
            page[: layer.shape[0], : layer.shape[1]] = layer
        return Boundaries(owners(known), Mask(torch.from_numpy(canvas)))


def _largest(maps: Sequence[np.ndarray | None], sizes: np.ndarray | None) -> tuple[int, int]:
    """Return the height and width of a canvas for maps, or for the pictures that they are of."""
    if sizes is not None:
        tall, wide = sizes.max(0).tolist()
        return tall, wide
    shapes = np.array([one.shape[-2:] for one in maps if one is not None] or [(1, 1)])
    tall, wide = shapes.max(0).tolist()
    return tall, wide
