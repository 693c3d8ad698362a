"""Scenes in motion: things move rigidly, arms swing, the camera pans; with flow, tracks, events and sound.

A clip's frames are scenes, one after the other, so that every truth of a still picture is there for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.targets import Flow, Keypoints, Values, points_in
from vergence.data.worlds.scenes import outlines
from vergence.data.worlds.scenes.scene import Options, Scenes, generate
from vergence.data.worlds.scenes.shapes import NAMES, landmarks
from vergence.data.worlds.scenes.truths import View
from vergence.data.worlds.seeded import Draws

ACTIONS = ("still", "left", "right", "up", "down", "clockwise", "anticlockwise")
FLASH = 1.6  # how bright a thing is at its event
_TRAVEL = 0.4  # sides that the nearest thing goes in a clip
_BANDS = 4  # of sound beside one a shape: the ground, by its texture's coarseness


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How things move.

    Args:
        frames: T of a clip, 2 or more.
        pan: Sides that the camera moves at most in a clip.
        flashes: The nearest and the next thing flash, one after the other.
    """

    frames: int = 8
    pan: float = 0.1
    flashes: bool = False

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise BadInput(f"A clip of scenes has 2 frames or more; got frames={self.frames}.")
        if not 0 <= self.pan <= 1:
            raise BadInput(f"pan of scenes is in sides of the picture, in [0, 1]; got {self.pan}.")


@dataclass(frozen=True)
class Clips:
    """B clips of T frames.

    Args:
        scenes: Of all frames, ``(B * T)``, a clip's one after the other; the middle is the still scene.
        frames: T.
        action: ``(B,)`` of ``ACTIONS``, how the nearest thing moves.
        first: ``(B,)`` whether the nearest thing flashes before (1) or after (0) the next; -1 for neither.
    """

    scenes: Scenes
    frames: int
    action: np.ndarray
    first: np.ndarray


def clips(seed: int, rows: np.ndarray, options: Options, motion: Motion) -> Clips:
    """Return clips ``rows`` of that seed's world; each depends on seed, row, options and motion alone."""
    still, draws = generate(seed, rows, options), Draws(seed, rows)
    b, k = still.shape.shape
    t = motion.frames
    every = np.arange(b)
    action = draws.whole("action", below=len(ACTIONS))
    velocity = draws.uniform("velocity", k, 2, low=-0.5 * _TRAVEL, high=0.5 * _TRAVEL)
    turning = draws.uniform("turning", k, low=-1.0, high=1.0)
    ways = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0)])
    velocity[every, still.nearest] = _TRAVEL * ways[action]
    turning[every, still.nearest] = np.array([0, 0, 0, 0, 0, 1.2, -1.2])[action] * np.pi
    pan = draws.uniform("pan", 2, low=-motion.pan, high=motion.pan)
    swing = draws.uniform("swing", k, low=0.3, high=0.8) * (still.arm > 0)
    phase = draws.uniform("swing phase", k, high=2 * np.pi)

    time = np.linspace(-0.5, 0.5, t) * np.ones((b, 1))  # (B, T)
    scenes = still.pick(np.repeat(every, t))
    at = time.reshape(-1, 1)
    frame = np.repeat(every, t)
    centre = scenes.centre + at[..., None] * (velocity + pan[:, None])[frame]
    flash, first = scenes.flash, np.full(b, -1)
    if motion.flashes:
        flash, first = _flashes(draws, still, t)
    scenes = scenes.replace(
        centre=centre,
        angle=scenes.angle + at * turning[frame],
        joint=scenes.joint + swing[frame] * np.sin(2 * np.pi * at + phase[frame]),
        pan=at * pan[frame],
        flash=flash,
    )
    return Clips(scenes, t, action, first)


def _flashes(draws: Draws, still: Scenes, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``flash (B * T, K)`` of two things at two times, and which came first ``(B,)``."""
    b, k = still.shape.shape
    flash = np.ones((b, frames, k))
    first = np.where(still.count > 1, draws.whole("first", below=2), -1)
    early = draws.whole("early", below=max(1, frames // 2))
    late = np.minimum(early + 1 + draws.whole("late", below=max(1, frames // 2)), frames - 1)
    every = np.arange(b)
    two = still.count > 1
    nearest, following = np.where(first == 1, early, late), np.where(first == 1, late, early)
    flash[every[two], nearest[two], still.nearest[two]] = FLASH
    flash[every[two], following[two], still.nearest[two] - 1] = FLASH
    return flash.reshape(b * frames, k), first


def flow(now: View, after: View) -> Flow:
    """Where each pixel's surface is in the next frame, also where it is hidden then.

    Args:
        now: Frames ``(B)``.
        after: The frames that follow them.
    """
    owner = now.front_part
    part = np.maximum(owner, 0).reshape(len(owner), -1)
    before, then = (np.take_along_axis(v.parts, part[..., None], 1) for v in (now, after))
    at = (np.arange(now.size) + 0.5).astype(np.float64)
    xy = np.stack(np.meshgrid(at, at, indexing="xy"), -1).reshape(1, -1, 2)
    local = xy - before[..., 2:4]
    cos, sin = before[..., 5], before[..., 6]
    u, v = cos * local[..., 0] + sin * local[..., 1], cos * local[..., 1] - sin * local[..., 0]
    cos, sin = then[..., 5], then[..., 6]
    to = then[..., 2:4] + np.stack([cos * u - sin * v, sin * u + cos * v], -1)
    ground = now.size * (after.scenes.pan - now.scenes.pan)[:, None] + xy
    to = np.where((owner.reshape(len(owner), -1) < 0)[..., None], ground, to)
    uv = (to - xy).transpose(0, 2, 1).reshape(-1, 2, now.size, now.size)
    return Flow(torch.from_numpy(uv))


def tracks(moving: Clips, size: int) -> Keypoints:
    """Landmarks of all things through their clips: ``xy (N, T, 2)``, ``of`` the clips."""
    b, t = len(moving.action), moving.frames
    view = View(moving.scenes, size)
    points = outlines.placed(moving.scenes, landmarks())  # (B * T, K, 12, 2)
    known = np.isfinite(points).all(-1) & moving.scenes.present[..., None]
    frame, slot = (axis.ravel() for axis in np.indices(moving.scenes.shape.shape))
    flat = np.nan_to_num(points[frame, slot])
    covered = outlines.hidden(moving.scenes, frame, slot, flat).reshape(known.shape)
    xy = view.in_picture(flat, frame).reshape(points.shape)
    inside = ((xy >= 0) & (xy < size)).all(-1)
    visibility = np.where(known & inside, np.where(covered, 1, 2), 0).astype(np.uint8)
    kept = np.nonzero(known.reshape(b, t, *known.shape[1:])[:, 0])

    def through(values: np.ndarray) -> torch.Tensor:
        by_clip = values.reshape(b, t, *values.shape[1:])
        return torch.from_numpy(by_clip[kept[0], :, kept[1], kept[2]])

    place = points_in(through(xy).float(), (size, size))
    return Keypoints(torch.from_numpy(kept[0].copy()), place, through(visibility))


def sound(moving: Clips) -> Values:
    """``(B, T, 16)`` float32: bands of shapes, as loud as things are large and fast, and of the ground."""
    scenes, t = moving.scenes, moving.frames
    step = np.diff(scenes.centre.reshape(-1, t, *scenes.centre.shape[1:]), axis=1)
    speed = np.sqrt((np.concatenate([step, step[:, -1:]], 1) ** 2).sum(-1)).reshape(scenes.shape.shape)
    loud = np.zeros((len(scenes), len(NAMES) + _BANDS))
    frame, slot = np.nonzero(scenes.present)
    np.add.at(
        loud,
        (frame, scenes.shape[frame, slot]),
        (scenes.radius * (0.1 + speed * t) * scenes.flash)[frame, slot],
    )
    band = np.minimum((scenes.ground_period * 2 * _BANDS / 0.6).astype(int), _BANDS - 1)
    loud[np.arange(len(scenes)), len(NAMES) + band] = 0.05
    return Values(torch.from_numpy(loud.reshape(-1, t, loud.shape[1]).astype(np.float32)))
