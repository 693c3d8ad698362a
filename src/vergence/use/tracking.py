"""Tracking: masks or points of one frame carried through a video by the tokens of any image encoder.

Labels are propagated as ``vergence.use.labelprop`` says (arXiv:2203.05553); a point is a bump of labels,
found again at its heaviest place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, pad

from vergence.core import BadInput, Features
from vergence.core.specs import BRING_WEIGHTS
from vergence.data.video.opening import FPS, open_video
from vergence.data.video.video import ArrayVideo, Video
from vergence.engine.encoders import load, with_weights
from vergence.engine.run import Run
from vergence.nets.facets import tokens
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.video_encoder import FrameEncoder
from vergence.use.labelprop import at_cells, at_pixels, propagate_labels

ENCODER = "vergence:conv-tiny"
STRIDE = 8  # pixels from cell to cell, at most
LINES = 240
LOST = 0.3  # share of a bump's first height below which its point is not seen
_BUMP = 0.75  # width of a bump, in cells
_WINDOW = 2  # cells around the heaviest one that say where a point is
_WHOLE = 32  # pixels, of which patches and cells are whole parts
_NO_MASK = np.zeros((0, 0), np.uint8)
_NO_POINTS = (np.zeros((0, 2), np.float32), np.zeros(0, bool))


@dataclass(frozen=True)
class Tracks:
    """What was followed, from the frame at which it was shown on.

    Args:
        masks: ``(T, H, W)`` uint8, 0 for the ground, at the first mask's own size; ``(T, 0, 0)`` without one.
        points: ``(T, N, 2)`` float32, x and y in pixels of the video, (0, 0) the outer corner.
        visible: ``(T, N)`` bool: whether the encoder still finds the point.
        seconds: ``(T,)`` float64, when each frame is shown.
    """

    masks: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True)
class Tracked:
    """One frame of ``Tracks``, with the frame itself, ``(H, W, 3)`` uint8."""

    frame: np.ndarray
    seconds: float
    mask: np.ndarray
    points: np.ndarray
    visible: np.ndarray


def track(
    video: Any,
    *,
    masks: Any = None,
    points: Any = None,
    encoder: str | Path | Run | nn.Module = ENCODER,
    at: float = 0.0,
    lines: int = LINES,
    k: int = 10,
    radius: int = 8,
    memory: int = 7,
    temperature: float = 0.07,
    watch: Callable[[int, Tracked], None] | None = None,
) -> Tracks:
    """Carry masks or points through a video with any image encoder, nothing learned.

    Args:
        video: A video file, a folder of frames, an array ``(T, H, W, 3)`` uint8, or a list of pictures, which
            are taken for 25 a second.
        masks: Of the frame at ``at``: ``(H, W)`` whole numbers, 0 for the ground and up to 255 things, or the
            path of a grey or palette PNG; the video's size, or its shape at another.
        points: Of that frame: ``(N, 2)``, x and y in pixels.
        encoder: "vergence:conv-tiny", "timm:NAME", a run or its folder, or an image encoder with tokens.
        at: Seconds from which on the video is followed.
        lines: Frames whose shorter side has more are shrunk to it; results come at full size.
        k: Cells that a label is mixed from.
        radius: How far a thing may go from frame to frame of the memory, in cells of 8 pixels.
        memory: Frames beside the first that are looked at.
        temperature: Of the softmax over cosines.
        watch: Called with the number and the result of each frame as it is done.

    Raises:
        BadInput: If there is nothing to follow, a mask is none or of another shape, a point or ``at`` lies
            outside, or the encoder has no tokens on a grid.

    >>> tracks = track("dog.mp4", points=[(320, 180)])  # doctest: +SKIP
    >>> tracks.points.shape, tracks.visible.mean()  # doctest: +SKIP
    ((120, 1, 2), 0.98)
    """
    done = []
    for i, one in enumerate(
        follow(
            video, masks=masks, points=points, encoder=encoder, at=at, lines=lines, k=k, radius=radius,
            memory=memory, temperature=temperature,
        )
    ):  # fmt: skip
        done.append(one)
        if watch is not None:
            watch(i, one)
        done[-1] = Tracked(np.zeros(0, np.uint8), one.seconds, one.mask, one.points, one.visible)
    return Tracks(
        np.stack([one.mask for one in done]),
        np.stack([one.points for one in done]),
        np.stack([one.visible for one in done]),
        np.array([one.seconds for one in done]),
    )


def follow(
    video: Any,
    *,
    masks: Any = None,
    points: Any = None,
    encoder: str | Path | Run | nn.Module = ENCODER,
    at: float = 0.0,
    lines: int = LINES,
    k: int = 10,
    radius: int = 8,
    memory: int = 7,
    temperature: float = 0.07,
) -> Iterator[Tracked]:
    """Yield what ``track`` collects, frame by frame: no more than the memory's frames are held."""
    if (masks is None) == (points is None):
        raise BadInput("track follows either masks or points of the first frame; give one of the two.")
    opened = _video(video)
    if not 0 <= at < opened.duration:
        raise BadInput(f"The video has {opened.duration:.2f} seconds; it cannot be followed from {at:g}.")
    frames = opened.frames(at)
    seconds, frame = next(frames)
    eye = _Eye(_network(encoder), frame, lines)
    start = eye(frame)
    followed = (
        _Masks(first_mask(masks, *frame.shape[:2]), start, eye)
        if points is None
        else _Points(first_points(points, *frame.shape[:2]), start, eye)
    )
    images = _Kept(frames)
    carried = propagate_labels(
        chain([_cells(start)], (_cells(eye(image)) for image in images)),
        followed.labels, k=k, radius=radius, memory=memory, temperature=temperature,
    )  # fmt: skip
    next(carried)
    yield Tracked(frame, seconds, *followed.first)
    for labels in carried:
        seconds, frame = images.last
        yield Tracked(frame, seconds, *followed.seen(labels))


def first_mask(masks: Any, height: int, width: int) -> np.ndarray:
    """Return a mask ``(h, w)`` uint8 that is given as an array or as a file.

    Raises:
        BadInput: If it is no mask, empty, or of another shape than frames ``(height, width)``.
    """
    name = "The mask"
    if isinstance(masks, str | Path):
        name = str(masks)
        try:
            with Image.open(masks) as picture:
                masks = np.asarray(picture)
        except (OSError, UnidentifiedImageError):
            raise BadInput(f"{name} cannot be read as a picture; masks are grey or palette PNGs.") from None
    mask = np.asarray(masks.detach().cpu() if isinstance(masks, Tensor) else masks)
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        kind = "a colour picture" if mask.ndim == 3 else f"{mask.dtype} of shape {mask.shape}"
        raise BadInput(
            f"{name} is {kind}; a mask has one number a pixel, 0 for the ground (a grey or palette PNG)."
        )
    if mask.min() < 0 or mask.max() > 255:
        raise BadInput(f"{name} has numbers from {mask.min()} to {mask.max()}; things are 1 to 255.")
    if not mask.any():
        raise BadInput(f"{name} is empty: every pixel is 0, so there is nothing to follow.")
    h, w = mask.shape
    if abs(h * width - w * height) > max(width, height):
        raise BadInput(
            f"{name} has {w} x {h} pixels, which is not the shape of frames of {width} x {height}."
        )
    return mask.astype(np.uint8)


def first_points(points: Any, height: int, width: int) -> np.ndarray:
    """Return points ``(N, 2)`` float32.

    Raises:
        BadInput: If they are none, or one lies outside a frame ``(height, width)``.
    """
    try:
        given = np.atleast_2d(np.asarray(points, np.float32))
    except (TypeError, ValueError):
        given = np.zeros(0, np.float32)
    if given.ndim != 2 or given.shape[1] != 2 or not len(given):
        raise BadInput("Points are pairs of x and y in pixels, such as 320,180.")
    for x, y in given.tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise BadInput(f"Point {x:g},{y:g} lies outside the frame, which has {width} x {height} pixels.")
    return given


class _Masks:
    """Things that a mask names: their shares of cells, and pixels from these."""

    def __init__(self, mask: np.ndarray, start: Features, eye: _Eye) -> None:
        self.mask, self.start, self.eye = mask, start, eye
        self.things = np.unique(np.append(0, mask))
        shares = [interpolate(_plane(mask == thing), eye.size, mode="area") for thing in self.things]
        self.labels = at_cells(pad(torch.cat(shares, 1), eye.margin, mode="replicate")[0], start)

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.mask, *_NO_POINTS

    def seen(self, labels: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        height, width = self.eye.size
        soft = at_pixels(labels, self.start, self.eye.padded)[:, :height, :width]
        mask, most = np.zeros(self.mask.shape, np.uint8), torch.full(self.mask.shape, -1.0)
        for thing, share in zip(self.things, soft, strict=True):  # one at a time: 255 of them would not fit
            full = interpolate(share[None, None], self.mask.shape, mode="bilinear")[0, 0]
            mask[(full > most).numpy()] = thing
            most = torch.maximum(most, full)
        return mask, *_NO_POINTS


class _Points:
    """Points: a bump over the cells around each, and its heaviest place."""

    def __init__(self, points: np.ndarray, start: Features, eye: _Eye) -> None:
        assert start.grid is not None and start.stride is not None and start.offset is not None
        self.points, self.grid = points, start.grid
        self.scale = np.array([start.stride[1], start.stride[0]], np.float32) / eye.factor
        self.offset = np.array([start.offset[1], start.offset[0]], np.float32) / eye.factor
        cell = torch.from_numpy((points - self.offset) / self.scale)
        rows, columns = (torch.arange(n, dtype=torch.float32) for n in start.grid)
        across = (columns - cell[:, :1]).square()[:, None, :]
        down = (rows - cell[:, 1:]).square()[:, :, None]
        self.labels = (-(across + down) / (2 * _BUMP**2)).exp()
        self.height = self.labels.amax((1, 2))
        self.missed = points - self._heaviest(self.labels)  # what bumps that the edge cuts are wrong by

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _NO_MASK, self.points, np.ones(len(self.points), bool)

    def seen(self, labels: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        visible = labels.amax((1, 2)) >= LOST * self.height
        return _NO_MASK, (self._heaviest(labels) + self.missed).astype(np.float32), visible.numpy()

    def _heaviest(self, labels: Tensor) -> np.ndarray:
        """Return where each map is heaviest, ``(N, 2)`` in pixels: the mean place around its largest cell."""
        place = labels.flatten(1).argmax(1)
        row, column = place // self.grid[1], place % self.grid[1]
        rows, columns = (torch.arange(n) for n in self.grid)
        near = ((rows - row[:, None]).abs() <= _WINDOW)[:, :, None]
        near = near & ((columns - column[:, None]).abs() <= _WINDOW)[:, None, :]
        weight = labels * near
        total = weight.sum((1, 2)).clamp_min(1e-12)
        x, y = (weight.sum(1) * columns).sum(1) / total, (weight.sum(2) * rows).sum(1) / total
        return torch.stack([x, y], 1).numpy() * self.scale + self.offset


class _Kept:
    """Frames that are taken one at a time; the last one and its time are kept."""

    def __init__(self, frames: Iterable[tuple[float, np.ndarray]]) -> None:
        self.frames = frames
        self.last: tuple[float, np.ndarray]

    def __iter__(self) -> Iterator[np.ndarray]:
        for one in self.frames:
            self.last = one
            yield one[1]


def _video(video: Any) -> Video:
    if isinstance(video, Video):
        return video
    if isinstance(video, str | Path):
        return open_video(video)
    frames = video if isinstance(video, np.ndarray) else np.stack([np.asarray(one) for one in video])
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise BadInput(f"Frames in memory are (T, H, W, 3) uint8; got {frames.shape} {frames.dtype}.")
    return ArrayVideo(frames, fps=FPS, name="memory")


def _network(encoder: str | Path | Run | nn.Module) -> ImageEncoder:
    """Return the encoder, which must have tokens."""
    if isinstance(encoder, nn.Module):
        net = encoder
    elif isinstance(encoder, Run):
        net = encoder.encoder
    elif isinstance(encoder, str) and encoder.startswith(BRING_WEIGHTS):
        net = with_weights(encoder)
    else:
        net = load(encoder)
    if isinstance(net, FrameEncoder):  # of a run on videos
        net = net.backbone
    if not isinstance(net, ImageEncoder):
        raise BadInput(f"track needs an image encoder with tokens on a grid; {type(net).__name__} is none.")
    return net.eval()


class _Eye:
    """Makes cells of a frame: about their mean in the frame, of unit length, 8 pixels apart or less.

    They are keys of a transformer's last layer, or the deepest stage of a convolutional network that is
    fine enough.

    Args:
        net: The encoder.
        frame: Any frame, ``(H, W, 3)``.
        lines: Of the shorter side, at most.

    Attributes:
        size: Height and width to which frames are shrunk.
        factor: By which they are.
        margin: What is added to the right and below, so that whole patches fit.
        padded: Height and width with it.
    """

    def __init__(self, net: ImageEncoder, frame: np.ndarray, lines: int) -> None:
        height, width = frame.shape[:2]
        self.net, self.factor = net, min(1.0, lines / min(height, width))
        self.size = round(height * self.factor), round(width * self.factor)
        self.margin = (0, -self.size[1] % _WHOLE, 0, -self.size[0] % _WHOLE)
        self.padded = self.size[0] + self.margin[3], self.size[1] + self.margin[1]
        self.settings = self._fine_enough(frame)

    @torch.no_grad()
    def __call__(self, frame: np.ndarray) -> Features:
        seen = tokens(self.net, self._pixels(frame), **self.settings)
        assert seen.map is not None
        cells = normalize(seen.map - seen.map.mean((2, 3), keepdim=True), dim=1)
        return Features.of_map(seen.pooled, cells, stride=seen.stride, offset=seen.offset)

    def _pixels(self, frame: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        if self.factor < 1:
            pixels = interpolate(pixels, self.size, mode="bilinear", antialias=True).clamp(0, 1)
        return pad(pixels, self.margin, mode="replicate")

    @torch.no_grad()
    def _fine_enough(self, frame: np.ndarray) -> dict[str, Any]:
        """Return which layer and facet is read: the first fine enough, else the finest."""
        choices: list[dict[str, Any]] = [{"facet": "key"}, {"facet": "key", "stride": STRIDE}]
        choices += [{"layer": layer} for layer in reversed(range(self.net.depth))]
        coarse: list[tuple[float, dict[str, Any]]] = []
        for one in choices:
            try:
                seen = tokens(self.net, self._pixels(frame), **one)
            except (BadInput, ValueError):  # no such facet or stride
                continue
            if seen.map is not None and seen.stride is not None and seen.offset is not None:
                if max(seen.stride) <= STRIDE:
                    return one
                coarse.append((max(seen.stride), one))
        if not coarse:
            raise BadInput("track needs an encoder with tokens on a grid, such as vergence:conv-tiny.")
        return min(coarse, key=lambda choice: choice[0])[1]


def _plane(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32))[None, None]


def _cells(features: Features) -> Tensor:
    assert features.map is not None
    return features.map[0]
