"""Image folders; the folders inside may be taken for labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vergence.data.image.formats import UNREAD, VIDEOS, suffix_of
from vergence.data.image.reader import ImageReader, read_ends, read_part
from vergence.data.paths import printable
from vergence.data.source import LabelName

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_ARCHIVES = frozenset((".tar", ".tgz", ".gz", ".zst", ".zip", ".parquet"))
PICTURES = ("photos/", "images/", "imgs/", "JPEGImages/")  # beside which targets may lie


class FolderReader(ImageReader):
    """Pictures as files, ordered by path.

    The first folder on a picture's path is its label, and called "folder": only the owner knows whether it
    is a class. Where all of those are splits (``train``, ``val``, ``test``), somebody made a labelled set:
    the second folder is the label, and called "class". Pictures beside the folders have no label; a single
    folder labels nothing.

    Args:
        root: The folder.
        paths: Of the pictures inside it.
        notes: See ``ImageReader``.
    """

    stable_names = True

    def __init__(self, root: Path, paths: Sequence[str], *, notes: Sequence[str] = ()) -> None:
        self.root, self.paths, self.notes = root, paths, notes
        self.names = [printable(path) for path in paths]
        self.labels, self.classes, self.label_name = folder_labels(self.names)

    def read(self, i: int) -> bytes:
        return read_part(os.path.join(self.root, self.paths[i]))

    def content(self, i: int) -> bytes:
        return read_ends(os.path.join(self.root, self.paths[i]))


def left_out(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """Say which files of a folder are pictures, or may hold some, and are not read beside those that are."""
    kinds = Counter(suffix_of(name) for name in set(names).difference(pictures))
    unread = {kind: n for kind, n in kinds.items() if kind in UNREAD}
    archives = {kind: n for kind, n in kinds.items() if kind in _ARCHIVES}
    notes = [f"{n:,} x {kind} left out: a format that is not read" for kind, n in sorted(unread.items())]
    videos = {kind: n for kind, n in kinds.items() if kind in VIDEOS}
    notes += [
        f"{n:,} x {kind} left out beside the pictures: --modality video reads them"
        for kind, n in sorted(videos.items())
    ]
    return notes + [
        f"{n:,} x {kind} beside the pictures not looked into: open it by its path"
        for kind, n in sorted(archives.items())
    ]


def folder_labels(names: Sequence[str]) -> tuple[np.ndarray | None, list[str] | None, LabelName]:
    """Return the labels that the folders on the paths of pictures give, their names, and what they are."""
    folders = [name.split("/")[:-1] for name in names]
    label_name: LabelName = "folder"
    if all(path and path[0].lower() in SPLITS for path in folders):
        folders, label_name = [path[1:] for path in folders], "class"
    classes = sorted({path[0] for path in folders if path})
    if len(classes) < 2:
        return None, None, "class"
    place = {name: i for i, name in enumerate(classes)}
    return np.array([place[path[0]] if path else -1 for path in folders], dtype=np.int64), classes, label_name
