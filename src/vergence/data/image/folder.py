"""Image folders; the folders inside are the labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vergence.data.image.reader import ImageReader, read_part

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".ico"),
)
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
PICTURES = ("photos/", "images/", "imgs/", "JPEGImages/")  # beside which targets may lie


class FolderReader(ImageReader):
    """Pictures as files, ordered by path.

    The first folder on a picture's path is its label; where all of those are splits (``train``,
    ``val``, ``test``), the second is. Pictures beside the folders have no label; a single folder
    labels nothing.

    Args:
        root: The folder.
        names: Paths of the pictures inside it.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names
        self.labels, self.classes = folder_labels(names)

    def read(self, i: int) -> bytes:
        return read_part(os.path.join(self.root, self.names[i]))


def is_picture(name: str) -> bool:
    """Say whether a file's name ends like a picture's."""
    return name.lower().endswith(SUFFIXES)


def folder_labels(names: list[str]) -> tuple[np.ndarray | None, list[str] | None]:
    """Return the labels and class names that the folders on the paths of pictures give."""
    folders = [name.split("/")[:-1] for name in names]
    if all(path and path[0].lower() in SPLITS for path in folders):
        folders = [path[1:] for path in folders]
    classes = sorted({path[0] for path in folders if path})
    if len(classes) < 2:
        return None, None
    place = {name: i for i, name in enumerate(classes)}
    return np.array([place[path[0]] if path else -1 for path in folders], dtype=np.int64), classes
