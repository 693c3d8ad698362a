"""Targets that lie in files beside pictures: masks as PNG, boundaries as PNG or as BSDS has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vergence.core.errors import BadInput
from vergence.data.image.folder import PICTURES, FolderReader, left_out
from vergence.data.image.source import ImageSource
from vergence.data.image.target_files import BoundaryFiles, Files, MaskFiles
from vergence.data.paths import printable

FOLDERS = {
    "masks": ("masks", "SegmentationClass", "Annotations"),
    "boundaries": ("boundaries", "groundTruth"),
}
SUFFIXES = (".png", ".mat")


def annotated_folder(
    root: Path, names: Sequence[str], pictures: Sequence[str], uri: str, *, limit: float = 0.5
) -> ImageSource | None:
    """Open a folder that holds pictures and, beside them, what is said about them.

    A folder such as ``photos/`` with one such as ``masks/`` beside it, whose files have the same paths
    but for the suffix, holds pictures and their masks. Folders inside ``photos/`` are labels.

    Args:
        root: The folder.
        names: Paths of all files in it.
        pictures: Those of them that are pictures.
        uri: What was opened.
        limit: See ``vergence.open``.

    Returns:
        The pictures with their targets; None where there are only pictures.

    Raises:
        BadInput: If no file of the one folder goes with one of the other.
    """
    folders = {name.split("/", 1)[0] for name in names if "/" in name}
    photos = [folder.rstrip("/") for folder in PICTURES if folder.rstrip("/") in folders]
    annotations = {kind: [f for f in FOLDERS[kind] if f in folders] for kind in FOLDERS}
    if len(photos) != 1 or not any(annotations.values()):
        return None
    (folder,) = photos
    own = _inside(pictures, folder)
    targets: dict[str, Files] = {}
    notes, read = [], [folder]
    for kind, present in annotations.items():
        for other in present[:1]:
            by_stem = {_stem(name): name for name in _inside(names, other) if name.endswith(SUFFIXES)}
            paired = [by_stem.get(_stem(name)) for name in own]
            if not any(paired):
                kinds = " or ".join(SUFFIXES)
                raise BadInput(
                    f"{uri} holds {folder}/ and {other}/, but no {kinds} file of {other}/ has the name of "
                    f"one of {folder}/; open {root / folder} for the pictures alone."
                )
            targets[kind] = READERS[kind](root / other, paired)
            read.append(other)
            notes.append(f"{other}/ holds the {kind} of {folder}/")
    beside = [name for name in pictures if name.split("/", 1)[0] not in read]
    if beside:
        notes.append(f"{len(beside):,} pictures outside {folder}/ left out, such as {printable(beside[0])}")
    notes += left_out(_inside(names, folder), own)
    return ImageSource(FolderReader(root / folder, own, notes=notes), uri, limit=limit, targets=targets)


def _inside(names: Sequence[str], folder: str) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


READERS: dict[str, type[MaskFiles] | type[BoundaryFiles]] = {"masks": MaskFiles, "boundaries": BoundaryFiles}
