"""A video file: an index of its frames by one pass over its packets, and exact reading from key frames."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import need
from vergence.data.image.decode import DecodeError
from vergence.data.image.reader import read_ends
from vergence.data.loading import cores
from vergence.data.video.formats import DEMUXERS, PIXELS
from vergence.data.video.video import Video, shrink_factor

_TRIED = 24  # frames of an AVI that tell how its times are written
_LATE = 2.5  # usual gaps by which the frame that is shown may be older than the one that was promised


class FileVideo(Video):
    """A file that FFmpeg reads.

    Times are those of its packets, so that a variable frame rate, a wrong header and a file that breaks off
    are all read as they are. A frame is decoded from the key frame before it, or onwards from where a decoder
    stands in between; either way it is the same frame. Memory holds one frame beside those that are asked
    for.

    Args:
        path: Of the file.
        name: See ``Video``.

    Attributes:
        height: In pixels, as displayed.
        width: In pixels, as displayed.

    Raises:
        DecodeError: If it holds no video that can be read.
        OSError: If it cannot be read.
        MissingExtra: If PyAV is not installed.
    """

    def __init__(self, path: str | Path, *, name: str | None = None) -> None:
        self.path, self.name = os.fspath(path), str(path) if name is None else name
        with _Opened(self.path) as opened:
            self.pts, self.keys, ends = _indexed(opened)
            self.base = float(opened.stream.time_base)
            self.height, self.width = opened.displayed
            self.by_dts = _times_are_those_of_decoding(opened)
        self.seconds = (self.pts - self.pts[0]) * self.base
        last = ends if ends > 0 else int(np.median(np.diff(self.pts))) if len(self.pts) > 1 else 0
        rate = opened.rate
        self.duration = float(self.seconds[-1]) + (last * self.base or (1 / rate if rate else 0.04))

    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        wanted, back = np.unique(np.asarray(places, np.int64), return_inverse=True)
        decoder = DECODERS.taken(self, int(wanted[0]))
        try:
            frames = [decoder.frame(self, place, size) for place in wanted.tolist()]
        except BaseException:
            decoder.close()
            raise
        DECODERS.give_back(decoder)
        return np.stack(frames)[back]

    def content(self) -> bytes:
        return read_ends(self.path)

    def key_of(self, place: int) -> int:
        """Return the place of the last key frame at or before a frame; 0 where there is none."""
        key = int(np.searchsorted(self.keys, self.pts[place], side="right")) - 1
        return 0 if key < 0 else int(np.searchsorted(self.pts, self.keys[key]))


class _Opened:
    """A container and its video stream, for reading by this thread."""

    def __init__(self, path: str) -> None:
        av = need("av", extra="video")
        self.path, self.errors = path, av.FFmpegError
        self.reformatter = av.video.reformatter.VideoReformatter()  # one for all frames: it is dear to set up
        options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "max_pixels": str(PIXELS)}
        try:
            # "file:", as a name may look like an address
            self.container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
        except (self.errors, ValueError, UnicodeError) as error:
            raise DecodeError(_reason(path, error)) from None
        try:
            self.stream = self._video()
            self.stream.thread_type, self.stream.codec_context.thread_count = "NONE", 1
            self.displayed = self._displayed()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *raised: object) -> None:
        self.container.close()

    @property
    def rate(self) -> float:
        return float(self.stream.average_rate or 0)

    def _video(self) -> Any:
        """Return the first video stream that is no cover picture."""
        for stream in self.container.streams.video:
            if "attached_pic" not in str(stream.disposition).lower() and stream.time_base:
                if stream.codec_context is None:
                    raise DecodeError("in a format of video that this FFmpeg cannot decode")
                return stream
        raise DecodeError("holds no video")

    def _displayed(self) -> tuple[int, int]:
        """Return height and width with square pixels, before a turn."""
        height, width = self.stream.codec_context.height, self.stream.codec_context.width
        if height < 1 or width < 1:
            raise DecodeError("does not say how large its frames are")
        ratio = float(self.stream.sample_aspect_ratio or 1)
        if 0.1 < ratio < 10 and ratio != 1:
            width = max(1, round(width * ratio))
        if height * width > PIXELS:
            raise DecodeError(f"frames of {width} x {height} pixels are more than {PIXELS:,}")
        return height, width


def _indexed(opened: _Opened) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the times ``(n,)`` of all frames, those of key frames, and how long the last one is shown.

    Times are in units of the stream.
    """
    times, keys, lasts = [], [], {}
    packets = opened.container.demux(opened.stream)
    while True:
        try:
            packet = next(packets, None)
        except opened.errors:  # the file breaks off: what came before counts
            break
        if packet is None:
            break
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is None or not packet.size or packet.is_corrupt:
            continue
        if packet.is_keyframe:
            keys.append(shown)
        if not packet.is_discard:
            times.append(shown)
            lasts[shown] = packet.duration or 0
    if not times:
        raise DecodeError("holds no frame")
    pts = np.unique(np.array(times, np.int64))
    return pts, np.unique(np.array(keys, np.int64)), int(lasts[int(pts[-1])])


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of PyAV, when it is shown, and what may be wrong with it, in words."""

    frame: Any
    time: int
    damage: str


def _times_are_those_of_decoding(opened: _Opened) -> bool:
    """Say whether frames of an AVI are shown in the order of their decoding times, not of the others.

    The format has no place for the latter: packets that hold two frames make the times of others wrong.
    """
    if opened.container.format.name != "avi":
        return False
    shown, decoded = [], []
    try:
        opened.container.seek(0)
        for frame in itertools.islice(opened.container.decode(opened.stream), _TRIED):
            shown.append(frame.pts)
            decoded.append(frame.dts)
    except opened.errors:
        return False
    return not _ascending(shown) and _ascending(decoded)


def _ascending(times: Sequence[int | None]) -> bool:
    known = [time for time in times if time is not None]
    return len(known) == len(times) and all(a < b for a, b in itertools.pairwise(known))


class _Decoder:
    """A file that is being decoded: stands at a frame, goes on from there or from a key frame."""

    def __init__(self, video: FileVideo) -> None:
        self.path, self.pid = video.path, os.getpid()
        self.opened, self.by_dts, self.gap = _Opened(video.path), video.by_dts, video.gap / video.base
        self.shown: _Frame | None = None  # the last frame whose time was not beyond what was asked for
        self.ahead: _Frame | None = None  # the one after it
        self.stream = self._decoded()

    def close(self) -> None:
        self.opened.container.close()

    @property
    def time(self) -> int:
        """When the frame at which it stands is shown, in units of the stream."""
        return -(2**62) if self.shown is None else self.shown.time

    def frame(self, video: FileVideo, place: int, size: int | None) -> np.ndarray:
        """Return frame ``place`` as it is displayed; see ``Video.read``."""
        wanted = int(video.pts[place])
        key = video.key_of(place)
        # each key frame is sought, so that damage before it, after which a file is read out of step, is left
        if not int(video.pts[key]) <= self.time <= wanted:
            self._seek(video, key)
        while self.ahead is None or self.ahead.time <= wanted:
            if self.ahead is not None:
                self.shown = self.ahead
            if (following := next(self.stream, None)) is None:
                self.ahead = None
                break
            self.ahead = following
        shown, at = self.shown, f"{video.seconds[place]:.2f} s"
        if shown is None or (wanted - shown.time) * video.base > _LATE * video.gap:
            raise DecodeError(f"the frame at {at} cannot be decoded")
        if shown.damage:
            raise DecodeError(f"damaged at {at}: {shown.damage}")
        return _pixels(shown.frame, self.opened, size)

    def _seek(self, video: FileVideo, key: int) -> None:
        """Go to a key frame, or to one before it where the file cannot be entered there."""
        target = int(video.pts[key])
        before = int(np.searchsorted(video.keys, target, side="right")) - 1
        for number in range(before, -2, -1):
            try:
                if number < 0:
                    self.opened.container.close()
                    self.opened = _Opened(self.path)
                else:
                    self.opened.container.seek(int(video.keys[number]), stream=self.opened.stream)
            except self.opened.errors:
                continue
            self.shown, self.stream = None, self._decoded()
            self.ahead = next(self.stream, None)
            if self.ahead is not None and self.ahead.time <= target:
                return

    def _decoded(self) -> Iterator[_Frame]:
        """Yield the frames from here on, as they are shown, with what went wrong since a sound key frame."""
        errors, damage, last = self.opened.errors, "", None
        packets = self.opened.container.demux(self.opened.stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except errors as error:
                if isinstance(error, EOFError):
                    return
                damage = damage or str(error)
                continue
            if packet is None:
                return
            for frame in frames:
                first, second = (frame.dts, frame.pts) if self.by_dts else (frame.pts, frame.dts)
                if (time := second if first is None else first) is None and last is not None:
                    time = last + round(self.gap)
                if frame.is_corrupt:
                    damage = damage or "a part of the frame is missing"
                elif frame.key_frame:
                    damage = ""
                if time is not None:
                    last = int(time)
                    yield _Frame(frame, last, damage)


class _Decoders:
    """Decoders that are open and idle, a few of them; one is used by one thread at a time."""

    def __init__(self) -> None:
        self._idle: list[_Decoder] = []
        self._lock = threading.Lock()

    def taken(self, video: FileVideo, place: int) -> _Decoder:
        """Return a decoder of a video, the one that stands nearest before a frame, or a new one."""
        wanted = int(video.pts[place])
        with self._lock:
            own = [d for d in self._idle if d.path == video.path and d.pid == os.getpid()]
            if own:
                before = [decoder for decoder in own if decoder.time <= wanted]
                best = max(before or own, key=lambda decoder: decoder.time)
                self._idle.remove(best)
                return best
        return _Decoder(video)

    def give_back(self, decoder: _Decoder) -> None:
        """Keep a decoder for later; the one that was idle longest is closed."""
        with self._lock:
            self._idle.append(decoder)
            oldest = self._idle.pop(0) if len(self._idle) > 2 * cores() else None
        if oldest is not None:
            oldest.close()

    def clear(self) -> None:
        """Close all."""
        with self._lock:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.close()


DECODERS = _Decoders()


def _pixels(frame: Any, opened: _Opened, size: int | None) -> np.ndarray:
    """Return a frame ``(H, W, 3)`` uint8 as it is displayed: shrunk, with square pixels, turned."""
    height, width = opened.displayed
    factor = shrink_factor(height, width, size)
    height, width = -(-height // factor), -(-width // factor)
    shrunk = "AREA" if factor > 1 else "BICUBIC"
    picture = opened.reformatter.reformat(frame, width, height, "rgb24", interpolation=shrunk).to_ndarray()
    turn = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turn)) if turn else picture


def _reason(path: str, error: Exception) -> str:
    if os.path.isfile(path) and not os.path.getsize(path):
        return "empty"
    said = " ".join(str(error).split())
    return f"not a video in a known format ({said.rpartition('] ')[2].partition(': ')[0]})"
