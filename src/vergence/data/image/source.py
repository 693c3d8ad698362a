"""Images as a ``Source``: small sets are decoded once into memory, photos while they are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.core.features import InputSpec
from vergence.data.image.batch import ImageBatch
from vergence.data.image.cache import DecodedCache, ResizedCache
from vergence.data.image.decode import DecodeError, crop_long_side, decode, shape
from vergence.data.image.reader import ImageReader
from vergence.data.loading import batches, cores, order, prefetch, stand_ins
from vergence.data.source import RowSource, Skipped

if TYPE_CHECKING:
    from vergence.data.targets import LazyTarget, Target

_AHEAD = 3  # batches that are read ahead
_LOOKED, _PIECES_LOOKED = 65, 9  # pictures that tell how large they are, fewer where each costs a piece


class Caches:
    """Decoded and resized pictures that a source shares with its subsets."""

    def __init__(self, reader: ImageReader, uri: str, decoded: DecodedCache | None) -> None:
        self.reader, self.uri = reader, uri
        self.decoded = decoded
        self.looked = decoded is not None
        self.resized = ResizedCache(None)

    def find_decoded(self) -> DecodedCache | None:
        if not self.looked:
            self.decoded, self.looked = DecodedCache.fitting(self.reader), True
        return self.decoded

    def find_resized(self, size: int | None, whole: bool) -> ResizedCache:
        if (self.resized.size, self.resized.whole) != (size, whole):
            self.resized = ResizedCache(size, whole=whole)
        return self.resized


class ImageSource(RowSource):
    """Pictures on a reader.

    Args:
        reader: Where they lie.
        uri: What was opened.
        limit: Share of unreadable pictures that is put up with, in [0, 1].
        view_options: See ``Source``.
        pixels: ``(n, H, W, 3)`` uint8, where they are decoded already.
        targets: What else is known of the pictures, by name: of all of them at once, or when a batch asks.
    """

    modality = "image"

    def __init__(
        self,
        reader: ImageReader,
        uri: str,
        *,
        limit: float = 0.5,
        view_options: dict[str, Any] | None = None,
        pixels: np.ndarray | None = None,
        targets: Mapping[str, Target | LazyTarget] | None = None,
    ) -> None:
        self._targets = dict(targets or {})
        self.uri, self.reader, self.classes = uri, reader, reader.classes
        self.label_name, self.stable_names = reader.label_name, reader.stable_names
        self.skipped, self.notes = Skipped(limit), list(reader.notes)
        self.view_options = dict(view_options or {})
        self.caches = Caches(
            reader, uri, None if pixels is None else DecodedCache(reader, pixels, ready=True)
        )
        self.choose_rows(np.arange(len(reader.names)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        names, labels = self.reader.names, self.reader.labels
        whole = len(rows) == len(names) and bool((rows == np.arange(len(rows))).all())
        self.names = names if whole else [names[i] for i in rows.tolist()]
        self.labels = None if labels is None else labels[rows]
        self._sides: np.ndarray | None = None

    def shorter_sides(self) -> np.ndarray:
        """Return the shorter sides in pixels of some pictures, evenly spaced, as their headers have them.

        Those that cannot be read are left out; of a set that is decoded already there is but one.
        """
        if self.caches.decoded is not None:
            return np.array([min(self.caches.decoded.pixels.shape[1:3])])
        if self._sides is None:
            looked = _LOOKED if self.reader.blocks is None else _PIECES_LOOKED
            sides = []
            for row in self.rows[np.linspace(0, len(self) - 1, min(len(self), looked)).astype(int)].tolist():
                with contextlib.suppress(DecodeError, OSError):
                    sides.append(min(shape(self.reader.read(row))))
            self._sides = np.array([side for side in sides if side], np.int64)
        return self._sides

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        words = {"class": "classes", "folder": "folders"}[self.label_name]
        return f"<{len(self):,} images, {kinds or 'no'} {words}, from {self.uri}>"

    def sample(self, i: int) -> np.ndarray:
        row = int(self.rows[i])
        decoded = self.caches.decoded
        if decoded is not None and decoded.ready[row] and row not in decoded.broken:
            return decoded.pixels[row].copy()
        try:
            return np.array(decode(self.reader.read(row)))
        except (DecodeError, OSError) as error:
            raise BadInput(f"{self.names[i]} in {self.uri} cannot be read: {error}.") from None

    def content(self, i: int) -> bytes:
        try:
            return self.reader.content(int(self.rows[i]))
        except (DecodeError, OSError):
            return b""

    @property
    def targets(self) -> tuple[str, ...]:
        return (*super().targets, *self._targets)

    def target(self, name: str, index: np.ndarray | None = None) -> Target:
        if name not in self._targets:
            return super().target(name, index)
        return self._target(name, self.rows if index is None else self.rows[index], None)

    def _target(self, name: str, rows: np.ndarray, sizes: np.ndarray | None) -> Target:
        """Return a target of pictures ``rows`` of the reader; ``sizes`` ``(B, 2)`` are compared with."""
        from vergence.data.targets import LazyTarget

        kept = self._targets[name]
        if isinstance(kept, LazyTarget):
            return kept.load(rows, sizes, self.skipped)
        return kept.pick(torch.from_numpy(rows))

    def batch_targets(self, index: np.ndarray, sizes: np.ndarray) -> dict[str, Target]:
        """Return the targets that a batch of these samples carries; ``sizes`` ``(B, 2)`` are its photos'."""
        height, width = sizes.max(0).tolist()
        targets = {name: self._target(name, self.rows[index], sizes) for name in self.reads}
        return {name: target.on_canvas(height, width) for name, target in targets.items()}

    def loader(
        self,
        batch_size: int,
        *,
        spec: InputSpec | None = None,
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
        size, n = size_of(spec), len(self)
        if self.reads:  # pictures as they are, so that what is known of their pixels stays true
            size = None
        places = order(
            n,
            shuffle=shuffle,
            seed=seed,
            epoch=epoch,
            blocks=None if self.reader.blocks is None else self.reader.blocks[self.rows],
            together=self.reader.together,
        )
        shares = batches(
            n, batch_size, fill=shuffle, drop_last=drop_last, start=start, rank=rank, world=world
        )
        decoded = self._decoded(size, workers)
        reading = _Reading(self, places, size, decoded, replace=batch_size * world if shuffle else 0)
        if decoded is not None:
            made = (reading.from_decoded(decoded, share) for share in shares)
        else:
            made = prefetch(shares, reading.photo, reading.batch, workers=workers, depth=_AHEAD)
        try:
            yield from (batch for batch in made if batch is not None)
        finally:
            made.close()

    def _decoded(self, size: int | None, workers: int) -> DecodedCache | None:
        """Return the small set's array, this source's part of it decoded; None for photos."""
        decoded = self.caches.find_decoded()
        if decoded is None or (size and min(decoded.pixels.shape[1:3]) >= 2 * size):
            return None
        if not decoded.fill(self.rows, workers):
            self.caches.decoded = None
            return None
        if decoded.broken:
            for row in sorted(decoded.broken.keys() & set(self.rows.tolist())):
                self.skipped.add(self.reader.names[row], decoded.broken[row])
            self.skipped.check(len(self), self.uri)
        return decoded


def size_of(spec: InputSpec | None) -> int | None:
    """Return the shorter side in pixels that an ``input_spec`` asks images to be shrunk towards, or None.

    Larger pictures are shrunk towards it while decoding, smaller ones are left alone.

    Raises:
        BadInput: If it asks for what images do not have.
    """
    for name in spec or {}:
        if name != "size":
            raise BadInput(f"Images have a size; an encoder that asks for {name} reads something else.")
    return (spec or {}).get("size")


class _Reading:
    """One epoch of a source.

    Args:
        source: What is read.
        places: ``(n,)``, the source's rows in the order of the epoch.
        size: See ``size_of``.
        decoded: The decoded pictures of a small set, or None.
        replace: Samples a global batch, to find stand-ins for unreadable ones; 0 leaves those out.
    """

    def __init__(
        self,
        source: ImageSource,
        places: np.ndarray,
        size: int | None,
        decoded: DecodedCache | None,
        *,
        replace: int,
    ) -> None:
        self.source, self.places, self.size, self.decoded = source, places, size, decoded
        self.replace = replace
        self.rows = source.rows[places]  # on the reader
        self.resized = source.caches.find_resized(size, bool(source.reads))

    def photo(self, place: int) -> np.ndarray | None:
        """Return one photo, or None where it cannot be read."""
        row = int(self.rows[place])
        if self.decoded is not None:
            return None if row in self.decoded.broken else self.decoded.pixels[row]
        if (photo := self.resized.get(row)) is None:
            source = self.source
            try:
                photo = decode(source.reader.read(row), size=self.size)
                photo = photo if source.reads else crop_long_side(photo)
            except (DecodeError, OSError) as error:
                source.skipped.add(source.reader.names[row], str(error))
                source.skipped.check(len(source), source.uri)
            else:
                self.resized.put(row, photo)
        return photo

    def batch(self, share: np.ndarray, photos: list[np.ndarray | None]) -> ImageBatch | None:
        """Collate photos, with stand-ins for the missing ones; None where nothing is left."""
        read = [
            self._stand_in(place) if photo is None and self.replace else (place, photo)
            for place, photo in zip(share.tolist(), photos, strict=True)
        ]
        kept = [(place, photo) for place, photo in read if photo is not None]
        if not kept:
            return None
        pixels, sizes = _canvas([photo for _, photo in kept])
        return self._filled(np.array([place for place, _ in kept]), pixels, sizes)

    def from_decoded(self, decoded: DecodedCache, share: np.ndarray) -> ImageBatch | None:
        """Collate a batch of a small set."""
        if decoded.broken or not len(share):
            return self.batch(share, [self.photo(place) for place in share.tolist()])
        return self._filled(share, decoded.pixels[self.rows[share]], None)

    def _stand_in(self, place: int) -> tuple[int, np.ndarray | None]:
        for other in stand_ins(place, len(self.places), self.replace):
            if (photo := self.photo(other)) is not None:
                return other, photo
        return place, None

    def _filled(self, share: np.ndarray, pixels: np.ndarray, sizes: torch.Tensor | None) -> ImageBatch:
        index = self.places[share]
        source, targets = self.source, None
        if source.reads:
            shapes = np.full((len(index), 2), pixels.shape[1:3]) if sizes is None else sizes.numpy()
            targets = source.batch_targets(index, shapes)
        return ImageBatch(
            targets=targets,
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            index=torch.from_numpy(index.astype(np.int64)),
            label=torch.from_numpy(source.labels_of(index)),
            sizes=sizes,
        )


def _canvas(photos: list[np.ndarray]) -> tuple[np.ndarray, torch.Tensor | None]:
    """Lay photos ``(h, w, 3)`` in the upper left corners of one ``(B, H, W, 3)`` canvas."""
    shapes = np.array([photo.shape[:2] for photo in photos])
    if (shapes == shapes[0]).all():
        return np.stack(photos), None
    canvas = np.zeros((len(photos), *shapes.max(0), 3), np.uint8)
    for page, photo in zip(canvas, photos, strict=True):
        page[: photo.shape[0], : photo.shape[1]] = photo
    return canvas, torch.from_numpy(shapes.astype(np.int64))
