"""Joins several image sources into one, to learn from all of them alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.columns import coded
from vergence.data.image.decode import Raw
from vergence.data.image.reader import ImageReader
from vergence.data.image.source import ImageSource
from vergence.data.source import LabelName, Source

_PIECE = 1024  # pictures that count as read together where a source does not say


class _Joined(ImageReader):
    def __init__(
        self,
        sources: Sequence[ImageSource],
        labels: np.ndarray | None,
        classes: list[str] | None,
        label_name: LabelName,
    ) -> None:
        self.sources, self.labels, self.classes, self.label_name = sources, labels, classes, label_name
        self.names = [f"{i}/{name}" for i, source in enumerate(sources) for name in source.names]
        self.notes = [f"{source.uri}: {note}" for source in sources for note in source.notes]
        self.stable_names = all(source.stable_names for source in sources)
        self.of = np.repeat(np.arange(len(sources)), [len(source) for source in sources])
        self.starts = np.cumsum([0, *(len(source) for source in sources)])
        if any(source.reader.blocks is not None for source in sources):
            pieces, first = [], 0
            for source in sources:
                own = source.reader.blocks
                block = np.arange(len(source)) // _PIECE if own is None else own[source.rows]
                pieces.append(first + block)
                first += int(block.max(initial=-1)) + 1
            self.blocks = np.concatenate(pieces)
            self.together = min(
                source.reader.together for source in sources if source.reader.blocks is not None
            )

    def read(self, i: int) -> Raw:
        source, place = self._at(i)
        return source.reader.read(int(source.rows[place]))

    def content(self, i: int) -> bytes:
        source, place = self._at(i)
        return source.content(place)

    def _at(self, i: int) -> tuple[ImageSource, int]:
        which = int(self.of[i])
        return self.sources[which], i - int(self.starts[which])


def join(sources: Sequence[Source]) -> ImageSource:
    """Return all pictures of several sources with their own labels; a class is known by its name.

    Raises:
        BadInput: If one holds no images.
    """
    images = _images(sources)
    words = [None if s.labels is None else [_word(s, label) for label in s.labels.tolist()] for s in images]
    if all(own is None for own in words):
        return _together(images, None, None)
    every = [word for s, own in zip(images, words, strict=True) for word in own or [None] * len(s)]
    labelled = {source.label_name for source in images if source.labels is not None}
    return _together(images, *coded(every), "folder" if labelled == {"folder"} else "class")


def _word(source: ImageSource, label: int) -> str | int | None:
    """Return a label by its name, where it has one."""
    if label < 0:
        return None
    return source.classes[label] if source.classes and label < len(source.classes) else label


def joined(sources: Sequence[Source], names: Sequence[str]) -> ImageSource:
    """Return all pictures of several sources, labelled by the source that they come from.

    Args:
        sources: Of images.
        names: One a source; they become the classes.

    Raises:
        BadInput: If one holds no images.
    """
    images = _images(sources)
    of = np.repeat(np.arange(len(images)), [len(source) for source in images])
    return _together(images, of, list(names))


def _images(sources: Sequence[Source]) -> list[ImageSource]:
    images = []
    for source in sources:
        if not isinstance(source, ImageSource):
            raise BadInput(f"{source.uri} holds no images; images can be joined with images only.")
        images.append(source)
    return images


def _together(
    images: Sequence[ImageSource],
    labels: np.ndarray | None,
    classes: list[str] | None,
    label_name: LabelName = "class",
) -> ImageSource:
    limit = max(source.skipped.limit for source in images)
    options = {k: v for source in images for k, v in source.view_options.items()}
    uri = " + ".join(source.uri for source in images)
    reader = _Joined(images, labels, classes, label_name)
    return ImageSource(reader, uri, limit=limit, view_options=options)
