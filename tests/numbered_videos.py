"""Videos whose frames say their own number, written by PyAV."""

from fractions import Fraction

import numpy as np
import pytest

BITS, SIDE = 8, 64


def picture(number, height=SIDE, width=96):
    """Return a frame ``(H, W, 3)``: the bits of its number as black and white columns."""
    bits = (number >> np.arange(BITS)) & 1
    columns = np.repeat(bits * 255, width // BITS).astype(np.uint8)
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).copy()


def number_of(frame):
    """Return the number that a frame says, whatever was lost in coding."""
    columns = frame.mean((0, 2)).reshape(BITS, -1).mean(1)
    return int(((columns > 127) << np.arange(BITS)).sum())


def write(path, count, *, fps=25, codec="libx264", times=None, options=None, sound=False, mux=None):
    """Write a video of ``count`` frames; ``times`` are theirs in units of 1/1000 s, else they are even."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 96, SIDE, "yuv420p"
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        voice = container.add_stream("aac" if codec == "libx264" else "mp3", rate=16_000) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[number]), Fraction(1, 1000)
            else:
                frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
            quiet.rate = 16_000
            container.mux(voice.encode(quiet))
            container.mux(voice.encode(None))
    return path
