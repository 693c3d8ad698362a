"""Pictures as a ``Source``: small sets are decoded once into memory, photos while they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.batch import ImageBatch
from vergence.data.decode import Unreadable, decode
from vergence.data.loading import ahead, batches, cores, order, stand_ins
from vergence.data.memory import Album, Drawer
from vergence.data.shelf import Shelf
from vergence.data.source import Skipped, Source

_AHEAD = 3  # batches that are read before they are asked for


class _Kept:
    """What a source and its subsets hold in common."""

    def __init__(self, shelf: Shelf, uri: str, album: Album | None) -> None:
        self.shelf, self.uri = shelf, uri
        self.album = album
        self.looked = album is not None
        self.drawer = Drawer(None)

    def find_album(self) -> Album | None:
        if not self.looked:
            self.album, self.looked = Album.fitting(self.shelf), True
        return self.album

    def find_drawer(self, size: int | None) -> Drawer:
        if self.drawer.size != size:
            self.drawer = Drawer(size)
        return self.drawer


class ImageSource(Source):
    """Pictures on a shelf.

    Args:
        shelf: Where they lie.
        uri: What was opened.
        limit: Share of unreadable pictures that is put up with, in [0, 1].
        view_options: See ``Source``.
        pixels: ``(n, H, W, 3)`` uint8, where they are decoded already.
    """

    modality = "image"

    def __init__(
        self,
        shelf: Shelf,
        uri: str,
        *,
        limit: float = 0.5,
        view_options: dict[str, Any] | None = None,
        pixels: np.ndarray | None = None,
    ) -> None:
        self.uri, self.shelf, self.classes = uri, shelf, shelf.classes
        self.skipped = Skipped(limit)
        self.view_options = dict(view_options or {})
        self._kept = _Kept(shelf, uri, None if pixels is None else Album(shelf, pixels, ready=True))
        self._choose(np.arange(len(shelf.names)))

    def _choose(self, rows: np.ndarray) -> None:
        self._rows = rows
        names, labels = self.shelf.names, self.shelf.labels
        whole = len(rows) == len(names) and bool((rows == np.arange(len(rows))).all())
        self.names = names if whole else [names[i] for i in rows.tolist()]
        self.labels = None if labels is None else labels[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        return f"<{len(self):,} images, {kinds or 'no'} classes, from {self.uri}>"

    def sample(self, i: int) -> np.ndarray:
        row = int(self._rows[i])
        album = self._kept.album
        if album is not None and album.ready[row] and row not in album.broken:
            return album.pixels[row]
        try:
            return decode(self.shelf.read(row))
        except (Unreadable, OSError) as error:
            raise BadInput(f"{self.names[i]} in {self.uri} cannot be read: {error}.") from None

    def subset(self, rows: Sequence[int] | np.ndarray) -> ImageSource:
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        chosen = np.asarray(rows)
        part._choose(self._rows[chosen if chosen.dtype == bool else chosen.astype(np.int64)])
        return part

    def loader(
        self,
        batch_size: int,
        *,
        size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[ImageBatch]:
        workers = workers or cores()
        n, stride = len(self), batch_size * world
        blocks = None if self.shelf.blocks is None else self.shelf.blocks[self._rows]
        places = order(n, shuffle=shuffle, seed=seed, epoch=epoch, blocks=blocks)
        shares = batches(
            n, batch_size, fill=shuffle, drop_last=drop_last, start=start, rank=rank, world=world
        )
        album = self._album(size, workers)
        drawer = self._kept.find_drawer(size)

        def read(place: int) -> np.ndarray | None:
            i = int(places[place])
            row = int(self._rows[i])
            if album is not None:
                return None if row in album.broken else album.pixels[row]
            if (photo := drawer.get(row)) is None:
                try:
                    photo = decode(self.shelf.read(row), size=size)
                except (Unreadable, OSError) as error:
                    self.skipped.add(self.names[i], str(error))
                    self._check()
                else:
                    drawer.put(row, photo)
            return photo

        def assemble(share: np.ndarray, photos: list[np.ndarray | None]) -> ImageBatch | None:
            share = share.copy()
            for slot in [slot for slot, photo in enumerate(photos) if shuffle and photo is None]:
                for place in stand_ins(int(share[slot]), n, stride):
                    if (photo := read(place)) is not None:
                        share[slot], photos[slot] = place, photo
                        break
            good = [slot for slot, photo in enumerate(photos) if photo is not None]
            return self._batch(places[share[good]], [photos[slot] for slot in good]) if good else None

        def at_once(share: np.ndarray) -> ImageBatch | None:
            if album.broken:
                return assemble(share, [read(place) for place in share.tolist()])
            return self._batch(places[share], album.pixels[self._rows[places[share]]]) if len(share) else None

        if album is not None:
            made = (at_once(share) for share in shares)
        else:
            made = ahead(shares, read, assemble, workers=workers, depth=_AHEAD)
        empty = True
        try:
            for batch in made:
                if batch is not None:
                    empty = False
                    yield batch
        finally:
            made.close()
        if empty and self.skipped.reasons:
            self.skipped.check(len(self.skipped.reasons), self.uri)

    def _batch(self, index: np.ndarray, photos: np.ndarray | list[np.ndarray]) -> ImageBatch:
        pixels, sizes = (photos, None) if isinstance(photos, np.ndarray) else _canvas(photos)
        label = np.full(len(index), -1) if self.labels is None else self.labels[index]
        return ImageBatch(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            index=torch.from_numpy(index.astype(np.int64)),
            label=torch.from_numpy(label.astype(np.int64)),
            sizes=sizes,
        )

    def _album(self, size: int | None, workers: int) -> Album | None:
        """Return the small set's array, this source's part of it decoded; None for photos."""
        album = self._kept.find_album()
        if album is None or (size and min(album.pixels.shape[1:3]) >= 2 * size):
            return None
        if not album.fill(self._rows, workers):
            self._kept.album = None
            return None
        if album.broken:
            for row in sorted(album.broken.keys() & set(self._rows.tolist())):
                self.skipped.add(self.shelf.names[row], album.broken[row])
            self._check()
        return album

    def _check(self) -> None:
        self.skipped.check(len(self.shelf.names), self.uri)


def _canvas(photos: list[np.ndarray]) -> tuple[np.ndarray, torch.Tensor | None]:
    """Lay photos ``(h, w, 3)`` in the upper left corners of one ``(B, H, W, 3)`` canvas."""
    shapes = np.array([photo.shape[:2] for photo in photos])
    if (shapes == shapes[0]).all():
        return np.stack(photos), None
    canvas = np.zeros((len(photos), *shapes.max(0), 3), np.uint8)
    for page, photo in zip(canvas, photos, strict=True):
        page[: photo.shape[0], : photo.shape[1]] = photo
    return canvas, torch.from_numpy(shapes.astype(np.int64))
