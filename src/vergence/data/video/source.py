"""Videos as a ``Source``: each sample is a window of one, decoded when it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.core.features import InputSpec
from vergence.data.columns import coded
from vergence.data.image.cache import ResizedCache
from vergence.data.image.decode import DecodeError, crop_long_side
from vergence.data.loading import batches, cores, order, prefetch, stand_ins
from vergence.data.source import LabelName, RowSource, Skipped, Source
from vergence.data.video.batch import VideoBatch
from vergence.data.video.strip import Strips
from vergence.data.video.video import Video
from vergence.data.video.windows import Windows

if TYPE_CHECKING:
    from vergence.data.targets import Target

FRAMES = 8  # of a clip, where nobody says otherwise
_AHEAD = 3  # batches that are read ahead
_LOOKED = 65  # videos whose sizes are looked at
_A_CLIP = 8  # photos that cost about as much: a batch has fewer clips,
_SMALL_BATCH = 32  # but no fewer than these


class Caches:
    """What a source shares with its subsets: clips of an earlier epoch, and small strips of frames."""

    def __init__(self) -> None:
        self.strips = Strips()
        self._clips = ResizedCache(None)
        self._of: tuple[int | None, int] | None = None
        self._lock = threading.Lock()

    def clips(self, size: int | None, frames: int) -> ResizedCache:
        """Return the clips that were read of that size."""
        with self._lock:
            if self._of != (size, frames):
                self._clips, self._of = ResizedCache(size), (size, frames)
            return self._clips


class VideoSource(RowSource):
    """Windows of videos.

    Args:
        videos: What can be read of them, in a stable order.
        windows: Of these.
        uri: What was opened.
        labels: ``(videos,)`` int64, -1 where unknown, or None.
        classes: Names of the labels, or None.
        label_name: See ``Source``.
        limit: Share of unreadable windows that is put up with, in [0, 1].
        notes: What was found but left out, in words.
        skipped: Videos that could not be read at all, by name, with the reason.
        targets: What else is known, by name: (rows ``(B,)`` of all windows) -> their target.
        stable_names: See ``Source``.

    Attributes:
        windows: All of them; ``rows`` says which these are.
    """

    modality = "video"
    reading_batch = 16

    def __init__(
        self,
        videos: Sequence[Video],
        windows: Windows,
        uri: str,
        *,
        labels: np.ndarray | None = None,
        classes: list[str] | None = None,
        label_name: LabelName = "class",
        limit: float = 0.5,
        notes: Sequence[str] = (),
        skipped: Mapping[str, str] | None = None,
        targets: Mapping[str, Callable[[np.ndarray], Target]] | None = None,
        stable_names: bool = False,
    ) -> None:
        self.videos, self.windows, self.uri = videos, windows, uri
        self.classes, self.label_name, self.stable_names = classes, label_name, stable_names
        self.skipped, self.notes, self.view_options = Skipped(limit), list(notes), {}
        for name, reason in (skipped or {}).items():
            self.skipped.add(name, reason)
        self.skipped.apart = len(self.skipped.reasons)
        self.caches = Caches()
        self._targets = dict(targets or {})
        self._of_video = labels
        self._names = windows.names(videos)
        self.choose_rows(np.arange(len(windows.video)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.names = [self._names[row] for row in rows.tolist()]
        self.labels = None if self._of_video is None else self._of_video[self.windows.video[rows]]

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        words = {"class": "classes", "folder": "folders"}[self.label_name]
        several = len(np.unique(self.windows.video[self.rows]))
        return (
            f"<{len(self):,} windows of {self.windows.seconds:g} s of {several:,} videos, {kinds or 'no'} "
            f"{words}, from {self.uri}>"
        )

    def fitting_batch(self, paper: int, most: int) -> int:
        return super().fitting_batch(paper, min(most, max(_SMALL_BATCH, most // _A_CLIP)))

    def sample(self, i: int) -> np.ndarray:
        """Return frames ``(T, H, W, 3)`` uint8 of window ``i``, at their full size."""
        return self._clip(int(self.rows[i]), FRAMES, None)

    def small_sample(self, i: int) -> np.ndarray:
        row = int(self.rows[i])
        strip = self.caches.strips.get(row)
        return self._clip(row, self.caches.strips.frames, self.caches.strips.side) if strip is None else strip

    def _clip(self, row: int, frames: int, size: int | None) -> np.ndarray:
        try:
            return self.read_window(row, frames, size)
        except (DecodeError, OSError) as error:
            raise BadInput(f"{self._names[row]} in {self.uri} cannot be read: {error}.") from None

    def read_window(self, row: int, frames: int, size: int | None) -> np.ndarray:
        """Return frames ``(frames, H, W, 3)`` of a window; see ``Video.read`` for what is raised."""
        video = self.videos[int(self.windows.video[row])]
        places = video.shown_at(self.windows.moments(np.array([row]), frames)[0])
        return video.read(places, size=size)

    def content(self, i: int) -> bytes:
        try:
            video = self.videos[int(self.windows.video[self.rows[i]])]
            return self.names[i].rpartition("#")[2].encode() + video.content()
        except (DecodeError, OSError):
            return b""

    def store_columns(self, index: np.ndarray) -> dict[str, np.ndarray]:
        rows = self.rows[index]
        return {"start": self.windows.start[rows], "end": self.windows.end[rows]}

    def shorter_sides(self) -> np.ndarray:
        """Return the shorter sides in pixels of some videos, evenly spaced; 0 of what cannot be read."""
        several = np.unique(self.windows.video[self.rows])
        some = several[np.linspace(0, len(several) - 1, min(len(several), _LOOKED)).astype(int)]
        return np.array([side for v in some.tolist() if (side := _shorter_side(self.videos[v]))], np.int64)

    @property
    def targets(self) -> tuple[str, ...]:
        return (*super().targets, "group", *self._targets)

    def target(self, name: str, index: np.ndarray | None = None) -> Target:
        from vergence.data.targets import Values

        rows = self.rows if index is None else self.rows[index]
        if name == "group":  # the video
            return Values(torch.from_numpy(self.windows.video[rows]))
        return self._targets[name](rows) if name in self._targets else super().target(name, index)

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
    ) -> Iterator[VideoBatch]:
        size, frames = size_and_frames(spec)
        places = order(len(self), shuffle=shuffle, seed=seed, epoch=epoch)
        shares = batches(
            len(self), batch_size, fill=shuffle, drop_last=drop_last, start=start, rank=rank, world=world
        )
        reading = _Reading(self, places, size, frames, replace=batch_size * world if shuffle else 0)
        made = prefetch(
            shares, reading.run, reading.batch, workers=workers or cores(), depth=_AHEAD, split=reading.runs
        )
        try:
            yield from (batch for batch in made if batch is not None)
        finally:
            made.close()


def size_and_frames(spec: InputSpec | None) -> tuple[int | None, int]:
    """Return the shorter side in pixels that an ``input_spec`` asks for, or None, and frames a clip.

    ``read`` of it, where there is one, is how many frames a loader delivers, more than the ``frames`` that
    the encoder sees: views choose among them.

    Raises:
        BadInput: If it asks for what videos do not have.
    """
    for name in spec or {}:
        if name not in ("size", "frames", "read"):
            raise BadInput(
                f"Videos have a size and frames; an encoder that asks for {name} reads something else."
            )
    known = spec or {}
    return known.get("size"), known.get("read") or known.get("frames") or FRAMES


class _Reading:
    """One epoch of a source.

    Args:
        source: What is read.
        places: ``(n,)``, the source's rows in the order of the epoch.
        size: See ``size_and_frames``.
        frames: A clip.
        replace: Samples a global batch, to find stand-ins for unreadable ones; 0 leaves those out.
    """

    def __init__(
        self, source: VideoSource, places: np.ndarray, size: int | None, frames: int, *, replace: int
    ) -> None:
        self.source, self.places, self.size, self.frames = source, places, size, frames
        self.replace = replace
        self.rows = source.rows[places]
        self.kept = source.caches.clips(size, frames) if replace else None  # read once, they are not kept

    def runs(self, share: np.ndarray) -> list[np.ndarray]:
        """Split a batch where another video begins: one thread reads a run without seeking."""
        windows, rows = self.source.windows, self.rows[share]
        follows = (np.diff(windows.video[rows]) == 0) & (np.diff(windows.start[rows]) >= 0)
        return np.split(share, np.flatnonzero(~follows) + 1)

    def run(self, share: np.ndarray) -> list[np.ndarray | None]:
        return [self.clip(place) for place in share.tolist()]

    def clip(self, place: int) -> np.ndarray | None:
        """Return one clip ``(T, H, W, 3)``, or None where it cannot be read."""
        row, source = int(self.rows[place]), self.source
        clip = None if self.kept is None else self.kept.get(row)
        if clip is None:
            try:
                clip = _long_side_cut(source.read_window(row, self.frames, self.size))
            except (DecodeError, OSError) as error:
                source.skipped.add(source.names[int(self.places[place])], str(error))
                source.skipped.check(len(source), source.uri)
            else:
                if self.kept is not None:
                    self.kept.put(row, clip)
                elif self.size is None or self.size >= source.caches.strips.side:
                    source.caches.strips.put(row, clip)
        return clip

    def batch(self, share: np.ndarray, runs: list[list[np.ndarray | None]]) -> VideoBatch | None:
        """Collate clips, with stand-ins for the missing ones; None where nothing is left."""
        clips = [clip for run in runs for clip in run]
        read = [
            self._stand_in(place) if clip is None and self.replace else (place, clip)
            for place, clip in zip(share.tolist(), clips, strict=True)
        ]
        kept = [(place, clip) for place, clip in read if clip is not None]
        if not kept:
            return None
        index = self.places[[place for place, _ in kept]]
        source = self.source
        pixels, sizes = _canvas([clip for _, clip in kept])
        seconds = source.windows.moments(source.rows[index], self.frames)
        return VideoBatch(
            pixels=torch.from_numpy(pixels).permute(0, 1, 4, 2, 3),
            index=torch.from_numpy(index.astype(np.int64)),
            label=torch.from_numpy(source.labels_of(index)),
            seconds=torch.from_numpy(seconds.astype(np.float32)),
            sizes=sizes,
            targets={name: source.target(name, index) for name in source.reads} if source.reads else None,
        )

    def _stand_in(self, place: int) -> tuple[int, np.ndarray | None]:
        for other in stand_ins(place, len(self.places), self.replace):
            if (clip := self.clip(other)) is not None:
                return other, clip
        return place, None


def join(sources: Sequence[Source]) -> VideoSource:
    """Return the windows of several sources with their own labels; a class is known by its name.

    Raises:
        BadInput: If one holds no videos, or their windows differ in length.
    """
    several = [source for source in sources if isinstance(source, VideoSource)]
    if len(several) < len(sources) or len({source.windows.seconds for source in several}) > 1:
        raise BadInput("Videos can be joined with videos only, with windows of the same length.")
    joined = VideoSource(
        [_Renamed(video, f"{i}/{video.name}") for i, source in enumerate(several) for video in source.videos],
        _joined_windows(several),
        " + ".join(source.uri for source in several),
        limit=max(source.skipped.limit for source in several),
        notes=[f"{source.uri}: {note}" for source in several for note in source.notes],
        stable_names=all(source.stable_names for source in several),
    )
    words = [word for source in several for word in _words(source)]
    if any(word is not None for word in words):
        by_window, joined.classes = coded(words)
        joined._of_video = np.full(len(joined.videos), -1)  # noqa: SLF001 - its own
        joined._of_video[joined.windows.video] = by_window  # noqa: SLF001
        labelled = {source.label_name for source in several if source.labels is not None}
        joined.label_name = "folder" if labelled == {"folder"} else "class"
        joined.choose_rows(joined.rows)
    return joined


class _Renamed(Video):
    def __init__(self, video: Video, name: str) -> None:
        self.video, self.name = video, name
        self.seconds, self.duration = video.seconds, video.duration

    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        return self.video.read(places, size=size)

    def content(self) -> bytes:
        return self.video.content()


def _joined_windows(sources: Sequence[VideoSource]) -> Windows:
    first = np.cumsum([0, *(len(source.videos) for source in sources)])
    video = [source.windows.video[source.rows] + first[i] for i, source in enumerate(sources)]
    start = [source.windows.start[source.rows] for source in sources]
    return Windows(np.concatenate(video), np.concatenate(start), sources[0].windows.seconds)


def _words(source: VideoSource) -> list[Any]:
    if source.labels is None:
        return [None] * len(source)
    known = source.classes
    return [None if i < 0 else known[i] if known and i < len(known) else i for i in source.labels.tolist()]


def _shorter_side(video: Video) -> int:
    height, width = getattr(video, "height", 0), getattr(video, "width", 0)
    if height and width:
        return min(height, width)
    try:
        return min(video.read([0]).shape[1:3])
    except (DecodeError, OSError):
        return 0


def _long_side_cut(clip: np.ndarray) -> np.ndarray:
    """Cut what is longer than 3:1 to its middle, as of photos."""
    t, height, width, _ = clip.shape
    cut = crop_long_side(clip.transpose(1, 2, 0, 3).reshape(height, width, 3 * t))
    return (
        clip if cut.shape[:2] == (height, width) else cut.reshape(*cut.shape[:2], t, 3).transpose(2, 0, 1, 3)
    )


def _canvas(clips: list[np.ndarray]) -> tuple[np.ndarray, torch.Tensor | None]:
    """Lay clips ``(T, h, w, 3)`` in the upper left corners of one ``(B, T, H, W, 3)`` canvas."""
    shapes = np.array([clip.shape[1:3] for clip in clips])
    if (shapes == shapes[0]).all():
        return np.stack(clips), None
    canvas = np.zeros((len(clips), len(clips[0]), *shapes.max(0), 3), np.uint8)
    for page, clip in zip(canvas, clips, strict=True):
        page[:, : clip.shape[1], : clip.shape[2]] = clip
    return canvas, torch.from_numpy(shapes.astype(np.int64))
