"""The world ``scenes`` in motion as videos: one generated clip, one window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.image.decode import Raw
from vergence.data.image.reader import numbered
from vergence.data.image.scenes import open_scenes
from vergence.data.image.source import ImageSource
from vergence.data.video.source import VideoSource
from vergence.data.video.video import Video, shrunk
from vergence.data.video.windows import Windows

if TYPE_CHECKING:
    from vergence.data.targets import Target

FPS = 8.0
LABELS = ("shape", "action")
_OF_CLIPS = ("action", "audio", "first", "tracks")


class ClipsOfScenes(VideoSource):
    """Generated clips.

    Attributes:
        stills: Their frames as pictures, T a clip, with every truth of each.
        frames: T.
    """

    stills: ImageSource
    frames: int

    def frame_rows(self, index: np.ndarray) -> np.ndarray:
        """Return the rows ``(B, T)`` of the frames of clips ``index`` among ``stills``."""
        return self.rows[index, None] * self.frames + np.arange(self.frames)


def open_clips(uri: str, *, limit: float = 0.5) -> ClipsOfScenes:
    """Open ``video:scenes:video?count=…`` with the options of ``scenes:video``, and ``label=action``.

    Raises:
        BadInput: If an option is unknown or out of range.
    """
    rest = uri.partition(":")[2]
    name, _, query = rest.partition("?")
    parts = query.split("&") if query else []
    wanted = [part.partition("=")[2] for part in parts if part.startswith("label=")]
    by = wanted[-1] if wanted else LABELS[0]
    if by not in LABELS:
        raise BadInput(f"Clips of scenes are labelled by {' or '.join(LABELS)}; got label={by}.")
    if any(part.startswith(("seconds=", "stride=", "fps=")) for part in parts):
        raise BadInput(f"A clip of scenes is one window of {FPS:g} frames a second; say frames=… in {rest}.")
    kept = "&".join(part for part in parts if not part.startswith("label="))
    name = "scenes:video" if name == "scenes" else name
    if name != "scenes:video":
        raise BadInput(f"{name} holds no videos; scenes:video does.")
    stills = open_scenes(f"{name}?{kept}" if kept else name, limit=limit)
    group = _values(stills, "group").numpy()
    frames = int((group == group[0]).sum())
    videos = [
        _Clip(stills, i, frames, name) for i, name in enumerate(numbered("scenes", len(group) // frames))
    ]
    first = np.arange(len(videos)) * frames
    if by == "action":
        from vergence.data.worlds.scenes.motion import ACTIONS

        labels, classes = _values(stills, "action", first).numpy(), list(ACTIONS)
    else:
        assert stills.labels is not None
        labels, classes = stills.labels[first], stills.classes or []
    source = ClipsOfScenes(
        videos,
        Windows.of(videos, seconds=frames / FPS),
        uri,
        labels=labels,
        classes=classes,
        limit=limit,
        targets={name: _of_clip(stills, name, frames) for name in _OF_CLIPS if name in stills.targets},
    )
    source.stills, source.frames = stills, frames
    return source


class _Clip(Video):
    """A clip whose frames are drawn when they are asked for."""

    def __init__(self, stills: ImageSource, number: int, frames: int, name: str) -> None:
        self.stills, self.first, self.name = stills, number * frames, name
        self.seconds, self.duration = np.arange(frames) / FPS, frames / FPS

    def read(self, places: np.ndarray | Sequence[int], *, size: int | None = None) -> np.ndarray:
        frames: list[Raw] = [self.stills.reader.read(self.first + int(i)) for i in places]
        return shrunk(np.stack([np.asarray(frame) for frame in frames]), size)


def _values(stills: ImageSource, name: str, index: np.ndarray | None = None) -> Tensor:
    values: Any = stills.target(name, index)
    return values.values


def _of_clip(stills: ImageSource, name: str, frames: int) -> Callable[[np.ndarray], Target]:
    """Return what gives a target of clips: that of their first frames, or the sound of all frames of each."""

    def made(rows: np.ndarray) -> Target:
        from vergence.data.targets import Values

        if name == "audio":
            each = rows[:, None] * frames + np.arange(frames)
            return Values(_values(stills, name, each.reshape(-1)).unflatten(0, each.shape))
        return stills.target(name, rows * frames)

    return made
