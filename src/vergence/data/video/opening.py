"""Opens videos: files, folders of them, folders of frames, arrays and generated clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch

from vergence.core.errors import BadInput, need, unknown
from vergence.data.columns import coded, plain_label
from vergence.data.image.decode import DecodeError
from vergence.data.image.folder import folder_labels
from vergence.data.image.formats import pictures_among
from vergence.data.image.reader import numbered, read_head
from vergence.data.loading import cores
from vergence.data.paths import expanded, files, printable, split_query
from vergence.data.source import Skipped
from vergence.data.video.file import FileVideo
from vergence.data.video.formats import is_video
from vergence.data.video.source import VideoSource
from vergence.data.video.video import ArrayVideo, FrameFolder, Video, in_order
from vergence.data.video.windows import SECONDS, Windows

OPTIONS = ("seconds", "stride", "fps")
FPS = 25.0


def open_named(uri: str, *, limit: float = 0.5) -> VideoSource:
    """Open ``video:PATH?seconds=2&stride=1``, ``frames:DIR?fps=25`` or ``video:scenes:video?…``.

    ``video:DIR?fps=25`` is a folder of frames too: files say their rate themselves.

    Raises:
        BadInput: If an option is unknown or no number, or nothing can be opened there.
    """
    scheme, _, rest = uri.partition(":")
    if rest.partition("?")[0].partition(":")[0] == "scenes":
        from vergence.data.video.scenes import open_clips  # compiles

        return open_clips(uri, limit=limit)
    path, query = split_query(rest)
    given = numbers(dict(parse_qsl(query, keep_blank_values=True)))
    root = Path(path).expanduser()
    if scheme == "frames" or "fps" in given:
        return _frames(root, uri, given, limit)
    if root.is_dir():
        source = open_folder(root, files(root), uri, limit=limit, **given)
        if source is None:
            raise BadInput(f"Folder {path} holds no videos; frames of videos open as frames:{path}?fps=25.")
        return source
    paths = [root] if root.is_file() else expanded(str(root))
    if not paths:
        raise BadInput(f"Nothing found at {path}, to be opened as videos.")
    return open_files(
        paths, paths[0].parent if len(paths) == 1 else _common(paths), uri, limit=limit, **given
    )


def open_files(
    paths: list[Path],
    root: Path,
    uri: str,
    *,
    limit: float = 0.5,
    seconds: float = SECONDS,
    stride: float | None = None,
) -> VideoSource:
    """Open video files.

    Raises:
        BadInput: If more than ``limit`` of them cannot be read, or all are shorter than a window.
        MissingExtra: If PyAV is not installed.
    """
    names = [path.relative_to(root).as_posix() for path in paths]
    return _of_files(root, names, uri, limit, seconds, stride)


def open_folder(
    root: Path,
    names: Sequence[str],
    uri: str,
    *,
    limit: float = 0.5,
    seconds: float = SECONDS,
    stride: float | None = None,
) -> VideoSource | None:
    """Open the videos of a folder; the folders inside may serve as labels, as those of images do."""
    videos = [name for name in names if is_video(name)]
    return _of_files(root, videos, uri, limit, seconds, stride) if videos else None


def open_object(
    data: Any,
    *,
    limit: float = 0.5,
    labels: Sequence[Any] | np.ndarray | torch.Tensor | None = None,
    fps: float | None = None,
) -> VideoSource | None:
    """Take clips that are in memory, each as one window.

    Args:
        data: An array or a tensor ``(N, T, H, W, 3)`` or ``(N, T, 3, H, W)``, uint8 or float in [0, 1].
        limit: See ``open_files``.
        labels: One a clip, numbers or words, None where unknown.
        fps: Frames a second; None takes 25.

    Raises:
        BadInput: If it holds clips that cannot be read as they are, or there are not as many labels.
    """
    if not isinstance(data, np.ndarray | torch.Tensor) or data.ndim != 5:
        return None
    pixels = np.asarray(data.detach().cpu() if isinstance(data, torch.Tensor) else data)
    if pixels.shape[-1] != 3 and pixels.shape[2] == 3:
        pixels = pixels.transpose(0, 1, 3, 4, 2)
    if pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise BadInput(f"Clips in memory are (N, T, H, W, 3) or (N, T, 3, H, W); got {pixels.shape}.")
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
            raise BadInput(f"Clips in memory are uint8, or float in [0, 1]; got {pixels.dtype}.")
        pixels = np.round(pixels * 255).astype(np.uint8)
    rate = FPS if fps is None else _positive("fps", fps)
    names = numbered("memory", len(pixels))
    videos = [ArrayVideo(clip, fps=rate, name=name) for clip, name in zip(pixels, names, strict=True)]
    windows = Windows.of(videos, seconds=pixels.shape[1] / rate)
    if labels is not None and len(labels) != len(videos):
        raise BadInput(f"Each clip has one label; got {len(labels):,} labels for {len(videos):,} clips.")
    known, classes = (None, None) if labels is None else coded([plain_label(label) for label in labels])
    return VideoSource(videos, windows, "memory:clips", labels=known, classes=classes, limit=limit)


def open_video(path: str | Path, *, fps: float = FPS) -> Video:
    """Open one video, a file or a folder of frames, to read its frames by time.

    Args:
        path: Of the file or folder.
        fps: Frames a second, of a folder.

    Raises:
        BadInput: If there is none, or it cannot be read.
        MissingExtra: If it is a file, and PyAV is not installed.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        names = [name for name in files(path) if "/" not in name]
        pictures = in_order(pictures_among(names, lambda name: read_head(path / name)))
        if not pictures:
            raise BadInput(f"Folder {path} holds no frames of a video.")
        return FrameFolder(path, pictures, fps=_positive("fps", fps), name=printable(path.name))
    if not path.is_file():
        raise BadInput(f"Nothing found at {path}; needs a video, or a folder of its frames.")
    try:
        return FileVideo(path, name=printable(path.name))
    except (DecodeError, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from None


def numbers(given: Mapping[str, str]) -> dict[str, float]:
    """Return options of a uri as numbers.

    Raises:
        BadInput: If one is unknown, or no number above 0.
    """
    for name in given:
        if name not in OPTIONS:
            raise unknown("option of videos", name, OPTIONS)
    return {name: _positive(name, value) for name, value in given.items()}


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1e9:
        raise BadInput(f"{name} of videos is a number above 0; got {value!r:.40}.")
    return number


def _common(paths: Sequence[Path]) -> Path:
    parents = [path.parent for path in paths]
    return next(p for p in (parents[0], *parents[0].parents) if all(p in (q, *q.parents) for q in parents))


def _of_files(
    root: Path, names: Sequence[str], uri: str, limit: float, seconds: float, stride: float | None
) -> VideoSource:
    need("av", extra="video")
    skipped = Skipped(limit)

    def read(name: str) -> FileVideo | None:
        try:
            return FileVideo(root / name, name=printable(name))
        except (DecodeError, OSError) as error:
            skipped.add(printable(name), str(error))
            return None

    with ThreadPoolExecutor(cores(), thread_name_prefix="vergence-index") as pool:
        videos = [video for video in pool.map(read, names) if video is not None]
    skipped.check(len(names), uri)
    source = _source(videos, uri, seconds, stride, limit, skipped.reasons)
    source.root = str(root)
    return source


def _frames(root: Path, uri: str, given: Mapping[str, float], limit: float) -> VideoSource:
    """Open every folder below ``root`` that holds pictures as one video."""
    if not root.is_dir():
        raise BadInput(f"frames: needs a folder of frames, or of such folders; {root} is none.")
    names = files(root)
    folders: dict[str, list[str]] = {}
    for name in pictures_among(names, lambda name: read_head(root / name)):
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    if not folders:
        raise BadInput(f"Folder {root} holds no pictures that could be frames.")
    videos = [
        FrameFolder(root, in_order(paths), fps=given.get("fps", FPS), name=printable(folder or root.name))
        for folder, paths in sorted(folders.items())
    ]
    source = _source(videos, uri, given.get("seconds", SECONDS), given.get("stride"), limit, {})
    source.root = str(root)
    return source


def _source(
    videos: Sequence[Video],
    uri: str,
    seconds: float,
    stride: float | None,
    limit: float,
    skipped: Mapping[str, str],
) -> VideoSource:
    windows = Windows.of(videos, seconds=seconds, stride=stride)
    if not len(windows.video):
        longest = max(video.duration for video in videos)
        raise BadInput(
            f"No video of {uri} lasts {seconds:g} s, as long as a window; the longest has {longest:.2f} s: "
            "take shorter windows, --seconds."
        )
    notes = []
    if windows.short:
        few = len(windows.short)
        notes.append(
            f"{few:,} of {len(videos):,} videos, such as {windows.short[0]}, left out: shorter than a window "
            f"of {seconds:g} s"
        )
    labels, classes, label_name = folder_labels([video.name for video in videos])
    return VideoSource(
        videos,
        windows,
        uri,
        labels=labels,
        classes=classes,
        label_name=label_name,
        limit=limit,
        notes=notes,
        skipped=skipped,
        stable_names=True,
    )
