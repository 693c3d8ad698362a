"""Joins several image sources into one, to learn from all of them alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.image.decode import Raw
from vergence.data.image.reader import ImageReader
from vergence.data.image.source import ImageSource
from vergence.data.source import Source

_PIECE = 1024  # pictures that count as read together where a source does not say


class _Joined(ImageReader):
    def __init__(self, sources: Sequence[ImageSource], classes: list[str]) -> None:
        self.sources, self.classes = sources, classes
        self.names = [f"{i}/{name}" for i, source in enumerate(sources) for name in source.names]
        self.of = np.repeat(np.arange(len(sources)), [len(source) for source in sources])
        self.labels = self.of
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
        which = int(self.of[i])
        source = self.sources[which]
        return source.reader.read(int(source.rows[i - self.starts[which]]))


def joined(sources: Sequence[Source], names: Sequence[str]) -> ImageSource:
    """Return all pictures of several sources, labelled by the source that they come from.

    Args:
        sources: Of images.
        names: One a source; they become the classes.

    Raises:
        BadInput: If one holds no images.
    """
    images = []
    for source in sources:
        if not isinstance(source, ImageSource):
            raise BadInput(f"{source.uri} holds no images; images can be joined with images only.")
        images.append(source)
    limit = max(source.skipped.limit for source in images)
    options = {k: v for source in images for k, v in source.view_options.items()}
    return ImageSource(
        _Joined(images, list(names)), " + ".join(s.uri for s in images), limit=limit, view_options=options
    )
