"""What was tracked, as files: masks as palette PNGs, points as csv, and a video that shows both."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vergence.use.tracking import Tracked

PALETTE = (
    *((0, 0, 0), (230, 75, 53), (0, 160, 135), (60, 84, 136), (243, 155, 127), (145, 209, 194)),
    *((132, 145, 180), (255, 200, 60), (126, 97, 72), (176, 156, 133)),
)
STRENGTH = 0.55  # of a thing's colour over the frame
TICKS = 90_000  # a second, of the video's clock


class TrackFiles:
    """Writes each frame as it comes: ``masks/00000.png``, ``points.csv``, ``overlay.mp4``.

    Args:
        folder: Made where it is not there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.count, self.stack = Path(folder), 0, ExitStack()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.table: Any = None
        self.overlay: _Overlay | None = None

    def __enter__(self) -> TrackFiles:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stack.close()

    def add(self, one: Tracked) -> None:
        if one.mask.size:
            (self.folder / "masks").mkdir(exist_ok=True)
            picture = Image.fromarray(one.mask, mode="P")
            picture.putpalette(_palette().tobytes())
            picture.save(self.folder / "masks" / f"{self.count:05}.png")
        else:
            self._write_points(one)
        if self.overlay is None:
            self.overlay = self.stack.enter_context(_Overlay(self.folder / "overlay.mp4", one.frame))
        self.overlay.add(drawn(one), one.seconds)
        self.count += 1

    def _write_points(self, one: Tracked) -> None:
        if self.table is None:
            file = self.stack.enter_context((self.folder / "points.csv").open("w", newline=""))
            self.table = csv.writer(file)
            self.table.writerow(("frame", "seconds", "point", "x", "y", "visible"))
        for i, ((x, y), seen) in enumerate(zip(one.points.tolist(), one.visible.tolist(), strict=True)):
            self.table.writerow((self.count, f"{one.seconds:.3f}", i, f"{x:.2f}", f"{y:.2f}", int(seen)))


def drawn(one: Tracked) -> np.ndarray:
    """Return the frame ``(H, W, 3)`` uint8 with its things coloured, or its points marked."""
    if not one.mask.size:
        picture = Image.fromarray(one.frame)
        draw, radius = ImageDraw.Draw(picture), max(2, round(min(one.frame.shape[:2]) / 80))
        for i, ((x, y), seen) in enumerate(zip(one.points.tolist(), one.visible.tolist(), strict=True)):
            colour = tuple(_palette()[1 + i % 255].tolist())
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=colour if seen else None, outline="white" if seen else colour)
        return np.asarray(picture)
    height, width = one.frame.shape[:2]
    mask = one.mask
    if mask.shape != (height, width):
        mask = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    colour = _palette()[mask].astype(np.float32)
    strength = np.where(mask > 0, STRENGTH, 0.0)[..., None].astype(np.float32)
    return (one.frame * (1 - strength) + colour * strength).round().astype(np.uint8)


class _Overlay:
    """A video that is written frame by frame; every frame is shown as long as in the one it is of."""

    def __init__(self, path: Path, frame: np.ndarray) -> None:
        import av

        self.container = av.open(str(path), "w")
        self.stream: Any = self.container.add_stream("libx264" if _has_x264() else "mpeg4", rate=25)
        self.height, self.width = (side + side % 2 for side in frame.shape[:2])
        self.stream.height, self.stream.width, self.stream.pix_fmt = self.height, self.width, "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, TICKS)
        self.begin: float | None = None

    def __enter__(self) -> _Overlay:
        return self

    def __exit__(self, *raised: object) -> None:
        for packet in self.stream.encode():
            self.container.mux(packet)
        self.container.close()

    def add(self, pixels: np.ndarray, seconds: float) -> None:
        import av

        self.begin = seconds if self.begin is None else self.begin
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, self.height - height), (0, self.width - width), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base = round((seconds - self.begin) * TICKS), Fraction(1, TICKS)
        for packet in self.stream.encode(frame):
            self.container.mux(packet)


def _has_x264() -> bool:
    from av.codec import codecs_available

    return "libx264" in codecs_available


def _palette() -> np.ndarray:
    """Return 256 colours: the first ones chosen, those after them again and again."""
    rest = 255 // (len(PALETTE) - 1) + 1
    return np.array((PALETTE[0], *(PALETTE[1:] * rest))[:256], np.uint8)
