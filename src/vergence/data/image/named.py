"""Named image sets: the embedded digits, torchvision's sets, the Hugging Face hub's."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput, WrongModality, need, unknown
from vergence.data.columns import coded
from vergence.data.image.decode import DecodeError, Raw
from vergence.data.image.labels import NoLabels, label_column, labels_of
from vergence.data.image.reader import ImageReader, PixelReader, numbered, read_part
from vergence.data.image.source import ImageSource

# A mirrored digit is another sign, ink has no colour, and hands differ in slant, place and size.
DIGIT_VIEWS: dict[str, Any] = {
    "scale": (0.5, 1.0),
    "flip": 0.0,
    "jitter_p": 0.0,
    "grey": 0.0,
    "affine": {"degrees": 10.0, "translate": (0.1, 0.1), "scale": (0.9, 1.1), "shear": 10.0},
}
_SPLITS = ("train", "val", "valid", "test", "train+unlabeled", "unlabeled", "extra", "trainval")


class ItemReader(ImageReader):
    """A library's data set that gives out one decoded picture at a time.

    Args:
        items: ``items[i]`` is the picture, or a tuple that begins with it.
        labels: See ``ImageReader``.
        classes: See ``ImageReader``.
        stem: Start of the pictures' names.
    """

    def __init__(self, items: Any, labels: np.ndarray | None, classes: list[str] | None, stem: str) -> None:
        self._items, self.labels, self.classes = items, labels, classes
        self.names = numbered(stem, len(items))

    def read(self, i: int) -> Raw:
        try:
            item = self._items[i]
        except Exception as error:  # noqa: BLE001 - whatever the library meets inside a broken file
            raise DecodeError(str(error) or type(error).__name__) from None
        return item[0] if isinstance(item, tuple) else item


class HubReader(ImageReader):
    """A data set of the hub whose pictures are left encoded.

    Args:
        table: Its rows.
        column: Of the pictures.
        labels: See ``ImageReader``.
        classes: See ``ImageReader``.
        stem: Start of the pictures' names.
    """

    def __init__(
        self, table: Any, column: str, labels: np.ndarray | None, classes: list[str] | None, stem: str
    ) -> None:
        self._pictures, self._column = table.select_columns([column]), column
        self.labels, self.classes = labels, classes
        self.names = numbered(stem, len(table))

    def read(self, i: int) -> bytes:
        cell = self._pictures[i][self._column] or {}
        if cell.get("bytes"):
            return cell["bytes"]
        if not cell.get("path"):
            raise DecodeError("the cell is empty")
        return read_part(cell["path"])

    def content(self, i: int) -> bytes:
        return self.read(i)


def digits(*, limit: float = 0.5) -> ImageSource:
    """Open scikit-learn's 1,797 scanned digits, 8 x 8, as RGB; ink from 0 to 16 becomes 0 to 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    reader = PixelReader(pixels, data.target.astype(np.int64), [str(c) for c in data.target_names], "digits")
    return ImageSource(reader, "digits", limit=limit, view_options=DIGIT_VIEWS, pixels=pixels)


def torchvision(uri: str, *, limit: float = 0.5) -> ImageSource:
    """Open ``torchvision:NAME[:root][:split]``, downloading it once where torchvision offers that.

    ``root`` defaults to ``~/.cache/vergence/torchvision``, the split to train. CIFAR comes pickled
    by its authors: torchvision loads it only if its checksums are theirs.
    """
    from torchvision import datasets

    _, name, *rest = uri.split(":")
    kinds = {k: v for k in datasets.__all__ if inspect.isclass(v := getattr(datasets, k))}
    if name not in kinds:
        raise unknown("torchvision data set", name, kinds)
    split = rest.pop() if rest and rest[-1] in _SPLITS else None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(":".join(rest)).expanduser() if rest else cache / "vergence" / "torchvision"
    data = _built(kinds[name], name, root, split)
    targets = next(
        (t for a in ("targets", "labels", "_labels") if (t := getattr(data, a, None)) is not None), None
    )
    labels = None if targets is None else np.asarray(targets)
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        labels = None
    labels = None if labels is None else labels.astype(np.int64)
    classes = getattr(data, "classes", None)
    classes = [str(c) for c in classes] if labels is not None and isinstance(classes, list | tuple) else None
    pixels = _rgb(getattr(data, "data", None))
    if pixels is None:
        return ImageSource(ItemReader(data, labels, classes, name), uri, limit=limit)
    return ImageSource(PixelReader(pixels, labels, classes, name), uri, limit=limit, pixels=pixels)


def _built(kind: type, name: str, root: Path, split: str | None) -> Any:
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = {"root": str(root)} if "root" in takes else {}
    if split and "split" in takes:
        options["split"] = split
    elif split in ("train", "test") and "train" in takes:
        options["train"] = split == "train"
    elif split:
        raise BadInput(f"torchvision's {name} has no split '{split}'.")
    try:
        try:
            return kind(**options)
        except (RuntimeError, FileNotFoundError):
            if "download" not in takes:
                raise
            root.mkdir(parents=True, exist_ok=True)
            return kind(**options, download=True)
    except Exception as error:  # noqa: BLE001 - torchvision raises all kinds; none of them is ours to pass on
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(
            f"torchvision's {name} is neither in {root} nor to be had now ({reason}); "
            f"name the folder that holds it: torchvision:{name}:FOLDER"
        ) from None


def _rgb(data: Any) -> np.ndarray | None:
    """Return ``(n, H, W, 3)`` uint8 of a data set that is held as one array, else None."""
    pixels = np.asarray(data) if data is not None and hasattr(data, "shape") else None
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        return None
    if pixels.ndim == 3:
        return np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.shape[1] == 3 and pixels.shape[3] != 3:
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return pixels if pixels.shape[3] == 3 else None


def hub(uri: str, *, limit: float = 0.5) -> ImageSource:
    """Open ``hf:name[:configuration][:split]``; the split defaults to train, else to the first one."""
    datasets = need("datasets", extra="hf")
    _, name, *rest = uri.split(":")
    split = rest.pop() if rest else None
    try:
        table = datasets.load_dataset(name, *rest, split=split)
    except Exception as error:  # noqa: BLE001 - offline, private, misspelt: the library has a class for each
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(
            f"{uri} cannot be had from the Hugging Face hub: {reason[:300]}. Check the name and the network, "
            f"or open downloaded parquet files by their path."
        ) from None
    if split is None:
        table = table["train"] if "train" in table else next(iter(table.values()))
    return hub_source(table, uri, name, limit=limit)


def hub_source(table: Any, uri: str, stem: str, *, limit: float = 0.5) -> ImageSource:
    """Return the pictures of a ``datasets.Dataset``, left encoded.

    Raises:
        WrongModality: If it has no column of images.
    """
    datasets = need("datasets", extra="hf")
    column = next((k for k, v in table.features.items() if isinstance(v, datasets.Image)), None)
    if column is None:
        raise WrongModality(f"{uri} has no column of images; found {', '.join(table.features)}.")
    notes = [
        f"column '{column}' is read; {len(table):,} pictures of {name} left out"
        for name, kind in table.features.items()
        if isinstance(kind, datasets.Image) and name != column
    ]
    labels, classes = _hub_labels(table, notes)
    table = table.cast_column(column, datasets.Image(decode=False))
    reader = HubReader(table, column, labels, classes, stem)
    reader.notes = notes
    return ImageSource(reader, uri, limit=limit)


def _hub_labels(table: Any, notes: list[str]) -> tuple[np.ndarray | None, list[str] | None]:
    """Return the labels and classes of a ``datasets.Dataset``; what is no label for all its name is noted."""
    marked = (name for name, kind in table.features.items() if hasattr(kind, "names"))
    label = next(marked, None) or label_column(table.features)
    if label is None:
        return None, None
    try:
        values, classes = labels_of(pa.chunked_array([pa.array(list(table[label]))]))
    except NoLabels as why:
        notes.append(f"column '{label}' left out: {why}")
        return None, None
    labels, words = coded(values)
    return labels, words or classes or getattr(table.features[label], "names", None)
