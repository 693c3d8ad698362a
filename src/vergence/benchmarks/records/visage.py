"""VISAGE where things cross and twins stay apart: are places or looks enough to know who is who?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.use.visage import Objects, appearance_in_masks, assignment, follow_objects

CLIPS, FRAMES, SIDE = 60, 20, 32
THINGS, LOOKS, RADIUS = 6, 3, 4.5  # of each look there are twins
LIGHT, NOISE, TORN = 0.07, 0.1, 0.3  # deviations of a thing's colour and of a pixel; share of torn pixels
WAVES = 3  # of a place's code


@dataclass(frozen=True)
class Clip:
    """One clip, as a segmenter of frames leaves it.

    Args:
        frames: Objects of each frame, in an order of its own.
        who: ``(T, Q)`` int64, which thing each object is.
        centres: ``(T, Q, 2)``, where its mask lies, in shares of the side.
    """

    frames: list[Objects]
    who: Tensor
    centres: Tensor


def crossing(source: Any, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Generate clips of discs: three of one look each stay on the left, their twins on the right."""
    random = np.random.default_rng(seed)
    clips = [_clip(random) for _ in range(CLIPS)]
    return clips, clips


def _clip(random: np.random.Generator) -> Clip:
    look = np.arange(THINGS) % LOOKS
    colours = random.uniform(0.15, 0.85, (LOOKS, 3))[look]
    right = np.arange(THINGS) >= LOOKS
    low, high = RADIUS, SIDE - RADIUS
    across = np.where(right, SIDE / 2 + 1, low), np.where(right, high, SIDE / 2 - 1)  # of x, of each thing
    lower = np.stack([np.full(THINGS, low), across[0]], 1)  # (Q, 2) of y and x
    upper = np.stack([np.full(THINGS, high), across[1]], 1)
    place = random.uniform(lower, upper)
    speed = random.normal(size=(THINGS, 2)) * (3.0, 1.5)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    depth = random.permutation(THINGS)
    ground = random.uniform(0, 1, 3)
    frames, who, centres = [], [], []
    for _ in range(FRAMES):
        out = (place + speed < lower) | (place + speed > upper)
        speed = np.where(out, -speed, speed)
        place = (place + speed).clip(lower, upper)
        owner = np.full((SIDE, SIDE), -1)
        for thing in depth:
            owner[np.hypot(y - place[thing, 0], x - place[thing, 1]) < RADIUS] = thing
        lit = np.concatenate([colours + LIGHT * random.normal(size=colours.shape), ground[None]])
        pixels = lit[owner] + NOISE * random.normal(size=(SIDE, SIDE, 3))
        order = random.permutation(THINGS)
        seen = (owner == order[:, None, None]) & (random.random((THINGS, SIDE, SIDE)) > TORN)
        masks = torch.from_numpy(seen)
        centre = _centres(masks)
        frames.append(_objects(torch.from_numpy(pixels).float(), masks, centre))
        who.append(torch.from_numpy(order))
        centres.append(centre)
    return Clip(frames, torch.stack(who), torch.stack(centres))


def _centres(masks: Tensor) -> Tensor:
    masks = masks.float()
    area = masks.sum((1, 2)).clamp_min(1)
    place = (torch.arange(SIDE) + 0.5) / SIDE
    down, right = (masks.sum(axis) @ place / area for axis in (2, 1))
    return torch.stack([down, right], 1)


def _objects(pixels: Tensor, masks: Tensor, centre: Tensor) -> Objects:
    """Take places as queries, as those of a segmenter mostly are, and colours about grey as maps."""
    turns = torch.pi * centre[..., None] * torch.arange(1, WAVES + 1)  # (Q, 2, WAVES)
    places = torch.cat([turns.sin(), turns.cos()], 2).flatten(1)
    fine = pixels.permute(2, 0, 1) - 0.5
    return Objects(places, appearance_in_masks([fine, avg_pool2d(fine, 2)], masks.float()))


def by_place(clip: Clip) -> Tensor:
    """Match the mask centres of each frame to those of the frame before, nearest in sum."""
    last, orders = clip.centres[0], [torch.arange(THINGS)]
    for centre in clip.centres[1:]:
        orders.append(assignment(-torch.cdist(last, centre)))
        last = centre[orders[-1]]
    return torch.stack(orders)


@dataclass(frozen=True)
class Followed:
    """An arm: who is who in clips, found by a function."""

    follow: Callable[[Clip], Tensor]

    def __call__(self, task: Task, seed: int) -> Any:
        right, switches = [], []
        for clip in task.data(seed)[1]:
            thing = clip.who.gather(1, self.follow(clip))  # (T, Q): which thing track q shows
            right.append((thing[1:] == thing[0]).double().mean())
            switches.append((thing[1:] != thing[:-1]).double().sum())
        return task.scores(float(torch.stack(right).mean()), float(torch.stack(switches).mean()))


def visage(**settings: Any) -> Followed:
    return Followed(lambda clip: follow_objects(clip.frames, **settings))


TASK = generated(
    crossing,
    Metric("share of objects that are given to the right track"),
    Metric("identity switches a clip", less_is_better=True),
)
ARMS = {
    "paper": visage(),
    "queries alone (w = 0)": visage(weight=0.0),
    "appearance alone (w = 1)": visage(weight=1.0),
    "a memory of one frame": visage(memory=1),
    "nearest centre": Followed(by_place),
}

RECORD = Record(
    key="visage",
    claim="Objects keep their identity where places and looks both count, and several frames are remembered.",
    task=TASK,
    arms=ARMS,
    mechanism=Mechanism(
        f"{CLIPS} clips a seed of {FRAMES} frames of {SIDE} pixels: discs of {LOOKS} colours cross each "
        "other on the left, their twins on the right, each in a light of its own in every frame. Masks are "
        "given, torn at random, and in an order that says nothing. Queries are waves of a mask's place, as "
        "a segmenter's mostly are; maps are the pixels and their means of 2 x 2. Where discs of one side "
        "cross, places swap them. Twins look the same, each on its own side. Light makes single frames "
        "err: one such frame is all that a memory of one has. Nothing is trained. Identity switches are "
        "shown too; a memory of one frame has as few, as it never returns to whom it lost. The light's "
        "strength was chosen on seed 100.",
        task=TASK,
        arms=ARMS,
    ),
    parity=Parity(
        "official",
        "github.com/KimHanjung/VISAGE, the pooling of AppearanceDecoder without its heads, Memorybank with "
        "its weights from the newest to the oldest turned round, and match_from_embds: appearance and memory "
        "of 20 random clips of 9 frames in float32; all 1,260 assignments are the same",
        commit="b7977664281123cd686d54063155ced28cd91b9d",
        max_abs=2.9e-06,
        max_rel=1.2e-06,
    ),
)
