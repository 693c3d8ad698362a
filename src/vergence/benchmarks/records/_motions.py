"""Clips of generated pixels, for records of methods that learn from motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from vergence.core import Features
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.video.source import VideoSource
from vergence.engine import embed
from vergence.evaluate.score import Score, mean_score
from vergence.nets.video_encoder import Clips, VideoEncoder

AS_THEY_ARE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}


class TwoFrames(VideoEncoder):
    """Two convolutions, the first over two frames, and the mean over time and space.

    Args:
        size: Side in pixels.
        frames: T.
        read: See ``VideoEncoder``.
        width: Channels of the first; the second has twice as many.
        cells: Parts of each side whose means stand side by side; 1 is the mean over all.
    """

    def __init__(
        self, *, size: int, frames: int, read: int | None = None, width: int = 24, cells: int = 1
    ) -> None:
        super().__init__(size=size, frames=frames, read=read)
        self.out_dim, self.cells = 2 * width * cells**2, cells
        self.layers = nn.Sequential(
            nn.Conv3d(3, width, (2, 5, 5), padding=(0, 2, 2), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, 2 * width, (1, 3, 3), stride=(1, 2, 2), bias=False),
            nn.BatchNorm3d(2 * width),
            nn.ReLU(),
        )

    def forward(self, clips: Clips) -> Features:
        frame = self.layers(self.volume(clips)).mean(2)
        return Features(adaptive_avg_pool2d(frame, self.cells).flatten(1))


def clips(pixels: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> VideoSource:
    """Return clips ``(N, T, H, W, 3)`` in [0, 1], each one window, of which views take the whole frame."""
    byte = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    source = open_source(byte, labels=[classes[label] for label in labels], fps=8.0)
    assert isinstance(source, VideoSource)
    source.view_options, source.precision = dict(AS_THEY_ARE), "fp32"
    return source


def drifting(
    random: np.random.Generator, step: np.ndarray, side: int, *, contrast: tuple[float, float]
) -> np.ndarray:
    """Return grey clips ``(n, T, side, side)`` about 0 of random smooth textures that drift.

    Args:
        random: Draws them.
        step: ``(n, T - 1, 2)`` pixels (y, x) from each frame to the next.
        side: In pixels; a texture that leaves on one side comes back on the other.
        contrast: Least and largest deviation of a texture.
    """
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    far = np.hypot(fy, fx)
    spectrum = np.fft.rfft2(random.normal(size=(len(step), side, side))) * ((far > 0) & (far < 0.2))
    path = np.concatenate([np.zeros((len(step), 1, 2)), step.cumsum(1)], 1)[..., None, None]
    turn = np.exp(-2j * np.pi * (path[:, :, 0] * fy + path[:, :, 1] * fx))  # moves by parts of a pixel
    texture = np.fft.irfft2(spectrum[:, None] * turn, s=(side, side))
    size = random.uniform(*contrast, (len(step), 1, 1, 1))
    return size * texture / texture.std((1, 2, 3), keepdims=True)


def ridge(encoder: nn.Module, train: Source, test: Source, *, penalty: float = 1e-2) -> Score:
    """Return the accuracy of linear least squares to the classes, with a penalty, on standardised vectors.

    Args:
        encoder: What is judged.
        train: Clips with labels that teach.
        test: Clips that judge.
        penalty: Of the squared weights, in units of the mean squared length of the vectors.
    """
    (x, y), (z, judged) = (
        (e.vectors.astype(float), e.labels) for e in (embed(encoder, s) for s in (train, test))
    )
    assert y is not None and judged is not None
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    target = np.eye(int(y.max()) + 1)[y]
    products = x @ x.T  # as many rows as clips, however long the vectors are
    weight = penalty * np.trace(products) / len(x) * np.eye(len(x))
    answers = z @ x.T @ np.linalg.solve(products + weight, target - target.mean(0)) + target.mean(0)
    return mean_score(answers.argmax(1) == judged)
