"""A few small clips in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np

from vergence.data.video.source import VideoSource
from vergence.data.video.video import ArrayVideo
from vergence.data.video.windows import Windows

_FPS = 8.0


def example(kind: str = "") -> VideoSource:
    """Return 256 clips of 8 frames, 16 x 16: grey waves in noise that travel one of four ways.

    No single frame says which of two ways: the motion alone does.
    """
    rng, n, t, side = np.random.default_rng(0), 256, 8, 16
    label = np.arange(n) % 4
    y, x = np.mgrid[:side, :side] / side
    cycles = 2 * np.pi * rng.uniform(1.5, 2.5, (n, 1, 1, 1))
    across = (label < 2)[:, None, None, None]
    place = np.where(across, x, y)
    way = np.where(label % 2 == 0, 1, -1)[:, None, None, None]
    speed, start = 2 * np.pi * rng.uniform(0.06, 0.12, (n, 1, 1, 1)), rng.uniform(0, 2 * np.pi, (n, 1, 1, 1))
    phase = cycles * place - way * speed * np.arange(t)[:, None, None] + start  # (n, T, H, W)
    share = (np.sin(phase)[..., None] + 1) / 2
    dark, bright = rng.uniform(0, 60, (n, 1, 1, 1, 1)), rng.uniform(195, 255, (n, 1, 1, 1, 1))
    grey = bright * share + dark * (1 - share) + rng.normal(0, 110, share.shape)
    pixels = np.repeat(grey.clip(0, 255).astype(np.uint8), 3, -1)
    videos = [ArrayVideo(clip, fps=_FPS, name=f"clip {i}") for i, clip in enumerate(pixels)]
    windows = Windows.of(videos, seconds=t / _FPS)
    source = VideoSource(
        videos, windows, "memory:waves", labels=label, classes=["right", "left", "down", "up"]
    )
    source.view_options, source.precision = {"flip": 0.0}, "fp32"  # a mirror turns right into left
    return source
