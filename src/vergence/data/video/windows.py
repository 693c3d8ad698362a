"""Windows: the clips of equal length that a video is read in, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.paths import printable
from vergence.data.video.video import Video

SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Which part of which video each sample is.

    Args:
        video: ``(n,)`` int64.
        start: ``(n,)`` float64 seconds from the beginning of the video.
        seconds: How long each lasts.
        short: Names of the videos that do not last as long, of which there is none.
    """

    video: np.ndarray
    start: np.ndarray
    seconds: float
    short: tuple[str, ...] = ()

    @classmethod
    def of(cls, videos: Sequence[Video], *, seconds: float = SECONDS, stride: float | None = None) -> Windows:
        """Lay windows over videos, as many as fit whole.

        Args:
            videos: In their order.
            seconds: How long each lasts; half a frame may be missing.
            stride: Seconds from the start of one to that of the next; None lays them end to end.

        Raises:
            BadInput: If one of them is no time.
        """
        stride = seconds if stride is None else stride
        if not (0 < seconds < 1e9 and 0 < stride < 1e9):
            raise BadInput(f"Windows of a video need seconds and stride above 0; got {seconds} and {stride}.")
        spare = np.array([video.duration - seconds + video.gap / 2 for video in videos], np.float64)
        count = np.where(spare >= 0, np.floor(spare / stride + 1e-9) + 1, 0).astype(np.int64)
        video = np.repeat(np.arange(len(videos)), count)
        place = np.arange(len(video)) - np.repeat(np.cumsum(count) - count, count)
        short = tuple(videos[i].name for i in np.flatnonzero(count == 0).tolist())
        return cls(video, place * stride, seconds, short)

    @property
    def end(self) -> np.ndarray:
        return self.start + self.seconds

    def moments(self, rows: np.ndarray, frames: int) -> np.ndarray:
        """Return the times ``(len(rows), frames)`` in the middles of equal parts of some windows."""
        return self.start[rows, None] + (np.arange(frames) + 0.5) * (self.seconds / frames)

    def names(self, videos: Sequence[Video]) -> list[str]:
        """Name each as a media fragment: a player opens ``dance.mp4#t=4,6`` at four seconds."""
        stems = [printable(video.name) for video in videos]
        spans = zip(self.video.tolist(), self.start.tolist(), self.end.tolist(), strict=True)
        return [f"{stems[v]}#t={_short(start)},{_short(end)}" for v, start, end in spans]


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
