"""Embed a video of hours: the peak of memory, and how long it takes beside decoding and the encoder alone.

    python -m vergence.benchmarks.stress.long_video --hours 2

A minute of a moving mosaic, 640 x 360, 25 frames a second, H.264 with B-frames, is written once and repeated
without being coded again.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import need
from vergence.data import open as open_source
from vergence.engine.encoders import encoder
from vergence.train import embed

_FPS, _WIDE, _TALL = 25, 640, 360
_CODING = {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:keyint=250"}


def write_minute(path: Path) -> Path:
    """Write one minute."""
    av = need("av", extra="video")
    picture = np.random.default_rng(0).integers(0, 255, (_TALL // 8, _WIDE // 8, 3), np.uint8)
    picture = picture.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options=_CODING)
        stream.width, stream.height, stream.pix_fmt = _WIDE, _TALL, "yuv420p"
        for number in range(60 * _FPS):
            moved = np.roll(picture, (number, 2 * number), (0, 1))
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def repeat(minute: Path, path: Path, times: int) -> Path:
    """Write a video several times one after the other, its packets as they are."""
    av = need("av", extra="video")
    with av.open(str(path), "w") as out:
        target = None
        for turn in range(times):
            with av.open(str(minute)) as container:
                stream = container.streams.video[0]
                target = target or out.add_stream_from_template(stream)
                shift = round(turn * 60 / stream.time_base)
                for packet in container.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = target
                        out.mux(packet)
    return path


def decode_alone(path: Path) -> float:
    """Return the seconds in which PyAV decodes all frames on one core."""
    av, began = need("av", extra="video"), time.monotonic()
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for _ in container.decode(video=0):
            pass
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    hours = parser.parse_args().hours
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = repeat(write_minute(root / "minute.mp4"), root / "long.mp4", max(1, round(hours * 60)))
        alone = decode_alone(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        source = open_source(path)
        indexed = time.monotonic() - began
        net: Any = encoder("c3d-small", source, size=64, frames=8)
        store = embed(net, source, root / "long.lance")
        whole = time.monotonic() - began
        batch, began = next(source.loader(16, spec=net.reading_spec)), time.monotonic()
        net.eval()(batch)
        forward = (time.monotonic() - began) * len(source) / len(batch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = {
            "hours": hours,
            "windows": len(store),
            "decoding alone": round(alone, 1),
            "encoder alone": round(forward, 1),
            "index": round(indexed, 2),
            "embedding": round(whole, 1),
            "share": round(whole / (alone + forward), 2),
            "MiB before": before // 1024,
            "MiB at most": peak // 1024,
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
