"""Videos to damage: small ones of each container, and real clips where there are any."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vergence.benchmarks.stress.hostile import Kind, Refused
from vergence.core.errors import need
from vergence.data.image.decode import DecodeError
from vergence.data.video.file import DECODERS, FileVideo

_FRAMES, _LARGEST = 40, 700_000  # of a small video; bytes of a real clip that is damaged
_REAL = ("clips", "videos")


def written(name: str, codec: str, **options: str) -> Callable[[Path], list[bytes]]:
    """Return what writes a small video of moving bars as the file ``name``."""

    def make(folder: Path) -> list[bytes]:
        av = need("av", extra="video")
        path = folder / f"seed-{name}"
        mux = {"movflags": "faststart"} if name.endswith(".mp4") else {}
        with av.open(str(path), "w", options=mux) as container:
            stream = container.add_stream(codec, rate=25, options={"g": "12", **options})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(_FRAMES):
                wave = np.sin((np.arange(64) + 3 * number) / 5)[None, :, None] * np.ones((48, 1, 3))
                frame = av.VideoFrame.from_ndarray((127 + 120 * wave).astype(np.uint8), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return [path.read_bytes()]

    return make


def real(folder: Path) -> list[bytes]:
    """Return the small clips of the data root, or a generated one."""
    root = Path(os.environ.get("VERGENCE_DATA", "shared/data"))
    paths = [path for part in _REAL for path in sorted((root / part).glob("*.[am][vpk][i4v]"))]
    small = [path.read_bytes() for path in paths if path.stat().st_size < _LARGEST]
    return small or written("real.mp4", "libx264")(folder)


def read_video(folder: Path, raw: bytes) -> None:
    """Read some frames of a video, forwards and back; times must ascend from 0."""
    path = folder / "case.video"
    path.write_bytes(raw)
    try:
        video = FileVideo(path)
        assert video.seconds[0] == 0 and (np.diff(video.seconds) > 0).all()
        assert np.isfinite(video.duration) and video.duration >= video.seconds[-1]
        last, refused = len(video) - 1, 0
        for place in (0, last // 2, last, last // 3):
            try:
                frame = video.read([place], size=32)[0]
            except DecodeError as error:
                if not str(error):  # a reason is owed
                    raise AssertionError("refused without a reason") from error
                refused += 1
            else:
                assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    except DecodeError as error:
        if not str(error):
            raise AssertionError("refused without a reason") from error
        raise Refused from None
    finally:
        DECODERS.clear()
    if refused == 4:
        raise Refused


_IMPORTS = ("vergence.data.video.file",)
FILES = [
    Kind("mp4", written("a.mp4", "libx264", bf="3", preset="ultrafast"), read_video, imports=_IMPORTS),
    Kind("matroska", written("a.mkv", "libx264", bf="3", preset="ultrafast"), read_video, imports=_IMPORTS),
    Kind("avi", written("a.avi", "mpeg4", bf="2"), read_video, imports=_IMPORTS),
    Kind("webm", written("a.webm", "libvpx", deadline="realtime"), read_video, imports=_IMPORTS),
    Kind("real-videos", real, read_video, imports=_IMPORTS),
]
