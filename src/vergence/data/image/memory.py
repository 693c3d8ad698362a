"""Images that are in memory already: arrays, lists of pictures, data sets of torch and of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from vergence.core.errors import BadInput, unknown
from vergence.data.columns import coded, plain_label
from vergence.data.image.decode import DecodeError, Raw
from vergence.data.image.folder import FolderReader
from vergence.data.image.named import ItemReader, hub_source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource

if TYPE_CHECKING:
    from vergence.data.targets import Values

URI = "memory:images"


def open_object(
    data: Any,
    *,
    limit: float = 0.5,
    labels: Sequence[Any] | np.ndarray | torch.Tensor | None = None,
    targets: Mapping[str, Any] | None = None,
) -> ImageSource | None:
    """Take images as they are: nothing is copied but what has to be brought to uint8.

    Args:
        data: An array or a tensor ``(N, H, W, 3)``, ``(N, 3, H, W)`` or, grey, ``(N, H, W)``, uint8 or float
            in [0, 1]; a list of PIL images or arrays ``(H, W, 3)``; a map-style data set of torch, each
            item a picture, or a tuple of one and its label; or one of Hugging Face with a column of images.
            The labels of a data set without ``targets`` or ``labels`` are read by one pass over its items.
        limit: Share of unreadable pictures that is put up with, in [0, 1].
        labels: One an image, numbers or words, None where unknown; None leaves those that the data have.
        targets: By name numbers that no view changes, such as ``group`` (the clip) and ``pose``: arrays
            ``(N, ...)`` or lists.

    Raises:
        BadInput: If it holds images that cannot be read as they are, or there are not as many labels or
            targets.
    """
    source = _opened(data, limit)
    if source is not None and targets:
        source = ImageSource(
            source.reader,
            source.uri,
            limit=limit,
            pixels=None if source.caches.decoded is None else source.caches.decoded.pixels,
            targets={name: _values(name, values, len(source)) for name, values in targets.items()},
        )
    if source is None or labels is None:
        return source
    if len(labels) != len(source):
        raise BadInput(f"Each image has one label; got {len(labels):,} labels for {len(source):,} images.")
    if (values := _plain(labels)) is None:
        raise BadInput("Labels of images are whole numbers or words, None where unknown.")
    source.reader.labels, source.reader.classes = coded(values)
    source.classes = source.reader.classes
    source.choose_rows(source.rows)
    return source


def _values(name: str, values: Any, count: int) -> Values:
    """Return numbers, one an image, as a target."""
    from vergence.data.targets import KINDS, Values  # loads torchvision

    if KINDS.get(name) is not Values or name == "labels":
        raise unknown("target of images in memory", name, [n for n, k in KINDS.items() if k is Values][1:])
    try:
        array = np.asarray(values)
        numbers = torch.from_numpy(array.astype(np.int64 if array.dtype.kind in "biu" else np.float32))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name} of images is numbers, one an image; {error}.") from None
    if not numbers.ndim or len(numbers) != count:
        raise BadInput(f"{name} has one entry an image; got {tuple(numbers.shape)} for {count:,} images.")
    return Values(numbers)


def _opened(data: Any, limit: float) -> ImageSource | None:
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        data = list(data)
    if isinstance(data, np.ndarray | torch.Tensor) and data.ndim in (3, 4):
        pixels = _uint8(np.asarray(data.detach().cpu() if isinstance(data, torch.Tensor) else data))
        return ImageSource(PixelReader(pixels, None, None, "memory"), URI, limit=limit, pixels=pixels)
    if isinstance(data, list | tuple) and data and all(_is_picture(item) for item in data):
        return ImageSource(ItemReader([_raw(item) for item in data], None, None, "memory"), URI, limit=limit)
    if isinstance(data, Image.Image):
        raise BadInput("One image is no data to learn from; give a list of them: [image, ...].")
    if type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "features"):
        return hub_source(data, URI, "memory", limit=limit)
    if isinstance(data, IterableDataset):
        raise BadInput("A data set needs a length, to be read in any order; an IterableDataset has none.")
    if isinstance(data, Dataset) and hasattr(data, "__len__"):
        return _of_items(data, limit)
    return None


def _of_items(data: Any, limit: float) -> ImageSource | None:
    """Take a map-style data set, unless its items are of another modality."""
    first = data[0] if len(data) else None
    if isinstance(first, Mapping):
        raise BadInput(
            f"Items of a data set of images are pictures, or tuples of one and its label; those of "
            f"{type(data).__name__} are dictionaries of {', '.join(map(str, list(first)[:5]))}."
        )
    if not _is_picture(_picture_of(first)):
        return None
    labels = _labels(data)
    named, words = coded(labels) if labels is not None else (None, None)
    return ImageSource(_Items(data, named, words or _classes(data), "memory"), URI, limit=limit)


def one_image(image: Any) -> ImageSource:
    """Return a source of one image.

    Args:
        image: Its path, a PIL image, or an array or tensor ``(H, W, 3)`` or ``(3, H, W)``.

    Raises:
        BadInput: If there is no such file, or it is no image.
    """
    if isinstance(image, str | Path):
        path = Path(image)
        if not path.is_file():
            raise BadInput(f"There is no image file {image}.")
        return ImageSource(FolderReader(path.parent, [path.name]), str(path.parent))
    if not _is_picture(image):
        raise BadInput(
            f"An image is a path, a PIL image, or an array (H, W, 3); got {type(image).__name__}"
            + (f" of shape {tuple(image.shape)}." if hasattr(image, "shape") else ".")
        )
    return ImageSource(ItemReader([_raw(image)], None, None, "memory"), URI)


class _Items(ItemReader):
    """A data set's items, whose pictures may be tensors."""

    def read(self, i: int) -> Raw:
        try:
            return _raw(super().read(i))
        except BadInput as error:
            raise DecodeError(str(error)) from None


def _picture_of(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) and item else item


def _is_picture(item: Any) -> bool:
    return isinstance(item, Image.Image) or (isinstance(item, np.ndarray | torch.Tensor) and item.ndim == 3)


def _raw(item: Any) -> Raw:
    """Return a PIL image as it is, and an array or tensor as ``(H, W, 3)`` uint8."""
    if isinstance(item, Image.Image):
        return item
    return _uint8(np.asarray(item.detach().cpu() if isinstance(item, torch.Tensor) else item)[None])[0]


def _uint8(images: np.ndarray) -> np.ndarray:
    """Return images as ``(N, H, W, 3)`` uint8."""
    if images.ndim == 3:
        images = images[..., None]
    elif images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.shape[3] not in (1, 3) or 0 in images.shape:
        raise BadInput(f"Images in memory are (N, H, W, 3), (N, 3, H, W) or (N, H, W); got {images.shape}.")
    if images.dtype.kind == "f":
        low, high = float(images.min()), float(images.max())
        if not 0 <= low <= high <= 1:
            raise BadInput(f"Images as floats are in [0, 1]; these reach from {low:g} to {high:g}.")
        images = np.round(images * 255).astype(np.uint8)
    if images.dtype != np.uint8:
        hint = (
            " Divide by their largest value, such as 65535 of 16 bits." if images.dtype.kind in "ui" else ""
        )
        raise BadInput(f"Images in memory are uint8, or float in [0, 1]; got {images.dtype}.{hint}")
    return np.ascontiguousarray(np.broadcast_to(images, (*images.shape[:3], 3)))


def _labels(data: Any) -> list[Any] | None:
    """Return one label an item, None where it has none; None where no item has."""
    if isinstance(data, Subset):
        labels = _labels(data.dataset) if hasattr(data.dataset, "targets") else None
        if labels is not None:
            return [labels[i] for i in data.indices]
    for name in ("targets", "labels"):
        if (held := getattr(data, name, None)) is not None and len(held) == len(data):
            return _plain(held)
    if isinstance(data, TensorDataset):
        return _plain(data.tensors[1]) if len(data.tensors) > 1 and data.tensors[1].ndim == 1 else None
    if not isinstance(data[0], tuple | list) or len(data[0]) < 2 or not _plain([data[0][1]]):
        return None
    return _plain([data[i][1] for i in range(len(data))])


def _plain(labels: Sequence[Any] | np.ndarray | torch.Tensor) -> list[int | str | None] | None:
    """Return labels as Python has them, or None if one of them is no label."""
    values = [plain_label(label) for label in labels]
    return values if all(isinstance(value, int | str | None) for value in values) else None


def _classes(data: Any) -> list[str] | None:
    names = getattr(data.dataset if isinstance(data, Subset) else data, "classes", None)
    return [str(name) for name in names] if isinstance(names, list | tuple) else None
