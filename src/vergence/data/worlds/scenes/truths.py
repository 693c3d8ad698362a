"""Every truth of scenes, each made when it is asked for.

``TRUTHS`` has them by name: functions of a ``View`` of some scenes that return a target. Maps are of the
pixels of the picture, points and boxes in its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torchvision.tv_tensors import Mask

from vergence.data.targets import (
    VOID,
    Boundaries,
    Boxes,
    Captions,
    Depth,
    Instances,
    Keypoints,
    Maps,
    Masks,
    Points,
    Segments,
    Tags,
    Target,
    Values,
    corners,
    points_in,
)
from vergence.data.worlds.scenes import outlines, words
from vergence.data.worlds.scenes.drawing import (
    CAUSES,
    FAR,
    FOLDED,
    SHADOW,
    fill_distances,
    fill_front,
    fill_surface,
    in_threads,
    packed,
    pixel_matrix,
)
from vergence.data.worlds.scenes.scene import COLOURS, STYLES, TEXTURES, Scenes
from vergence.data.worlds.scenes.shapes import NAMES, UPPER, UPPER_OF, landmarks
from vergence.data.worlds.seeded import Draws

RIDGE = 0.8  # pixels a pixel
GROUND_DEPTH = (8.0, 2.0)  # of the ground at the picture's upper edge, and how much nearer at the lower


class View:
    """Scenes as they are seen at one size: what several truths share, made once.

    Args:
        scenes: B of them.
        size: Side of the picture in pixels.
    """

    def __init__(self, scenes: Scenes, size: int) -> None:
        self.scenes, self.size = scenes, size
        self.parts, self.looks, self.whole = packed(scenes, size)

    @cached_property
    def front(self) -> np.ndarray:
        """``(B, S, S)`` int64, the thing whose inside is in front at a pixel's centre, -1 for the ground."""
        part = self.front_part
        owner = self.parts[0, :, 7].astype(np.int64)
        return np.where(part < 0, -1, owner[part])

    @cached_property
    def front_part(self) -> np.ndarray:
        """``(B, S, S)`` int16, the part in front, -1 for the ground."""
        front = np.empty((len(self.scenes), self.size, self.size), np.int16)
        in_threads(fill_front, self.parts, self.whole, front)
        return front

    @cached_property
    def distances(self) -> np.ndarray:
        """``(B, K, S, S)`` float32, each thing's signed distance in pixels, negative inside, seen or not."""
        return self._distances(np.zeros((*self.scenes.shape.shape, 2)))

    @cached_property
    def shadow(self) -> np.ndarray:
        """``(B, S, S)`` float32, signed distance to the outline of all shadows on the ground."""
        return self._distances(self.looks[..., 11:13].copy()).min(1)

    @cached_property
    def edges(self) -> np.ndarray:
        """``(B, 2, S, S)`` float32, signed distances to the edges on a pixel's surface: pattern, crease."""
        edges = np.empty((len(self.scenes), 2, self.size, self.size), np.float32)
        in_threads(fill_surface, self.parts, self.looks, self.whole, self.front_part, edges)
        return edges

    @cached_property
    def modal(self) -> np.ndarray:
        """``(B, K, S, S)`` bool, where each thing is seen."""
        return self.front[:, None] == np.arange(self.scenes.shape.shape[1])[:, None, None]

    @cached_property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Scene and slot of all things of which at least a pixel is seen, ``(N,)`` each."""
        scene, slot = np.nonzero(self.modal.any((2, 3)))
        return scene, slot

    @property
    def to_scene(self) -> np.ndarray:
        """``(B, 3, 3)``, maps from the picture's pixels to those of the scene as it is without its matrix."""
        return pixel_matrix(self.scenes.matrix, self.size)

    def in_picture(self, xy: np.ndarray, scene: np.ndarray) -> np.ndarray:
        """Return the pixels at which points ``(N, ..., 2)`` of the scenes ``(N,)``, in sides, are seen."""
        back = np.linalg.inv(self.scenes.matrix)[scene]
        flat = xy.reshape(len(xy), -1, 2)
        moved = np.einsum("nij,nmj->nmi", back[:, :, :2], flat) + back[:, None, :, 2]
        return (moved[..., :2] / moved[..., 2:] * self.size).reshape(xy.shape)

    def _distances(self, shift: np.ndarray) -> np.ndarray:
        b, k = self.scenes.shape.shape
        distances = np.empty((b, k, self.size, self.size), np.float32)
        in_threads(fill_distances, self.parts, self.whole, shift, distances)
        return distances


def labels(view: View) -> Values:
    """The shape of the nearest thing ``(B,)``, as label noise left it."""
    return Values(torch.from_numpy(view.scenes.label), NAMES)


def boxes(view: View) -> Boxes:
    """The extents of what is seen of each thing, with its shape as label."""
    scene, slot = view.seen
    masks = view.modal[scene, slot]
    columns, rows = masks.any(1), masks.any(2)
    first = [columns.argmax(1), rows.argmax(1)]
    last = [view.size - columns[:, ::-1].argmax(1), view.size - rows[:, ::-1].argmax(1)]
    xyxy = torch.from_numpy(np.stack([*first, *last], 1).astype(np.float32))
    label = torch.from_numpy(view.scenes.shape[scene, slot])
    return Boxes(
        torch.from_numpy(scene), corners(xyxy, (view.size, view.size)), label, torch.ones(len(scene))
    )


def masks(view: View) -> Masks:
    """Shapes by pixel, 1 to 12 in the order of the classes, 0 for the ground."""
    shape = np.concatenate([view.scenes.shape + 1, np.zeros((len(view.scenes), 1), np.int64)], 1)
    classes = np.take_along_axis(shape, view.front.reshape(len(shape), -1), 1).reshape(view.front.shape)
    return Masks(Mask(torch.from_numpy(classes.astype(np.int16))))


def instances(view: View) -> Instances:
    """What is seen of each thing."""
    scene, slot = view.seen
    return _instances(view, view.modal[scene, slot], scene, slot)


def amodal(view: View) -> Instances:
    """The whole of each thing of which something is seen, also where others cover it."""
    scene, slot = view.seen
    return _instances(view, view.distances[scene, slot] < 0, scene, slot)


def _instances(view: View, masks: np.ndarray, scene: np.ndarray, slot: np.ndarray) -> Instances:
    label = torch.from_numpy(view.scenes.shape[scene, slot])
    return Instances(torch.from_numpy(scene), Mask(torch.from_numpy(masks)), label)


def depth(view: View) -> Depth:
    """Distance from the eye; the ground is farther than all things and comes nearer downwards."""
    far, slope = GROUND_DEPTH
    rows = (np.arange(view.size) + 0.5) / view.size
    ground = np.broadcast_to((far - slope * rows)[None, :, None], view.front.shape)
    things = np.take_along_axis(
        view.scenes.depth, np.maximum(view.front, 0).reshape(len(view.scenes), -1), 1
    ).reshape(view.front.shape)
    return Depth(torch.from_numpy(np.where(view.front < 0, ground, things).astype(np.float32)))


def order(view: View) -> Values:
    """``(B, K)``, things by their rank from far to near, -1 for empty slots."""
    k = view.scenes.shape.shape[1]
    return Values(torch.from_numpy(np.where(view.scenes.present, np.arange(k), -1)))


def distance(view: View) -> Maps:
    """Distance in pixels of each pixel's centre to the line of each cause that can be seen there.

    An outline is seen where no nearer thing covers it, a shadow's on the ground, a pattern's edge and a
    crease on their own surface; far away (1e6) where a pixel has none.
    """
    covered = view.front[:, None] > np.arange(view.scenes.shape.shape[1])[:, None, None]
    outline = np.where(covered, FAR, np.abs(view.distances)).min(1)
    shadow = np.where(view.front < 0, np.abs(view.shadow), FAR)
    lines = [outline, shadow, np.abs(view.edges[:, 0]), np.abs(view.edges[:, 1])]
    return Maps(torch.from_numpy(np.stack(lines, 1).astype(np.float32)), CAUSES)


def contours(view: View) -> Maps:
    """1 where the line of a cause is at most half a pixel from a pixel's centre."""
    return Maps((distance(view).values <= 0.5).float(), CAUSES)


def boundaries(view: View) -> Boundaries:
    """Outlines: the contours that depth causes."""
    maps = contours(view).values[:, 0]
    return Boundaries(torch.arange(len(maps)), Mask(maps))


def light(view: View) -> Maps:
    """Factors on the surface's colour: of the light that falls there, and of the shadow on the ground."""
    x = (np.arange(view.size) + 0.5) / view.size - 0.5
    slope = view.scenes.gradient[:, :, None] * x
    whole = 1 + slope[:, 0, None, :] + slope[:, 1, :, None]
    share = np.clip(0.5 - view.shadow, 0, 1)
    shadow = np.where(view.front < 0, 1 - (1 - SHADOW) * share, 1.0)
    crease = np.where(view.edges[:, 1] < FAR / 2, np.clip(0.5 - view.edges[:, 1], 0, 1), 0.0)
    values = np.stack([whole * (1 - (1 - FOLDED) * crease), shadow], 1)
    return Maps(torch.from_numpy(values.astype(np.float32)), ("light", "shadow"))


def skeleton(view: View) -> Maps:
    """The medial axes of things where they are seen: distances to the outline on them, 0 elsewhere.

    On the axis the nearest point of the outline changes, so that the distance has a ridge there: it rises by
    less than ``RIDGE`` a pixel.
    """
    distances = view.distances
    rise = np.zeros(distances.shape, np.float32)
    rise[:, :, 1:-1] += (0.5 * (distances[:, :, 2:] - distances[:, :, :-2])) ** 2
    rise[..., 1:-1] += (0.5 * (distances[..., 2:] - distances[..., :-2])) ** 2
    axis = (rise < RIDGE**2) & (distances < -1) & view.modal
    axis[:, :, [0, -1]] = axis[..., [0, -1]] = False
    return Maps(torch.from_numpy((-distances * axis).max(1, keepdims=True)), ("radius",))


def keypoints(view: View) -> Keypoints:
    """Corners or compass points of each thing that is seen, the same for all of a shape."""
    scene, slot = view.seen
    points = outlines.placed(view.scenes, landmarks())[scene, slot]  # (N, 12, 2) in sides
    known = np.isfinite(points).all(-1)
    points = np.nan_to_num(points)
    xy = view.in_picture(points, scene)
    inside = ((xy >= 0) & (xy < view.size)).all(-1) & known
    covered = outlines.hidden(view.scenes, scene, slot, points)
    visibility = torch.from_numpy(np.where(inside, np.where(covered, 1, 2), 0).astype(np.uint8))
    place = torch.from_numpy(np.where(known[..., None], xy, 0.0).astype(np.float32))
    return Keypoints(
        torch.from_numpy(scene),
        points_in(place, (view.size, view.size)),
        visibility,
        tuple(f"point {i}" for i in range(xy.shape[1])),
    )


def segments(view: View) -> Segments:
    """The straight sides of things, with the share of each that is seen in the picture."""
    scene, ends, share = outlines.straight_sides(view.scenes)
    ends = view.in_picture(ends, scene)
    return Segments(
        torch.from_numpy(scene),
        torch.from_numpy(ends.astype(np.float32)),
        torch.from_numpy(share.astype(np.float32)),
    )


def junctions(view: View) -> Points:
    """Corners of things (kind 0) and places where one outline ends at another (kind 1) that are seen."""
    scene, xy, kind = outlines.junctions(view.scenes)
    xy = view.in_picture(xy, scene)
    inside = ((xy >= 0) & (xy < view.size)).all(1)
    return Points(
        torch.from_numpy(scene[inside]),
        torch.from_numpy(xy[inside].astype(np.float32)),
        torch.from_numpy(kind[inside]),
    )


def attributes(view: View) -> Tags:
    """Shapes, colours and textures of the things that there are."""
    scenes = view.scenes
    names = (*NAMES, *COLOURS, *TEXTURES)
    values = np.zeros((len(scenes), len(names)), bool)
    scene, slot = np.nonzero(scenes.present)
    starts = (0, len(NAMES), len(NAMES) + len(COLOURS))
    for start, kind in zip(starts, (scenes.shape, scenes.colour, scenes.texture), strict=True):
        values[scene, start + kind[scene, slot]] = True
    return Tags(torch.from_numpy(values), torch.ones(values.shape, dtype=torch.bool), names)


def captions(view: View) -> Captions:
    """A sentence about the nearest things, and a paragraph about all."""
    return Captions(tuple(words.captions(view.scenes)))


def taxonomy(view: View) -> Values:
    """``(B, 3)``: round, regular or notched; the shape; the shape with its texture: of the nearest thing."""
    scenes, every = view.scenes, np.arange(len(view.scenes))
    shape = scenes.shape[every, scenes.nearest]
    fine = shape * len(TEXTURES) + scenes.texture[every, scenes.nearest]
    return Values(torch.from_numpy(np.stack([UPPER_OF[shape], shape, fine], 1)), UPPER)


def identities(view: View) -> Values:
    """``(B, K)`` number of the individual in each slot, -1 where it is empty or every look is new."""
    return Values(torch.from_numpy(np.where(view.scenes.present, view.scenes.identity, -1)))


def domain(view: View) -> Values:
    """``(B,)`` style."""
    return Values(torch.from_numpy(view.scenes.style), STYLES)


TRUTHS: dict[str, Callable[[View], Target]] = {
    f.__name__: f
    for f in (
        *(labels, boxes, masks, instances, amodal, depth, order, distance, contours, boundaries, light),
        *(skeleton, keypoints, segments, junctions, attributes, captions, taxonomy, identities, domain),
    )
}


def tags(view: View, seed: int, rows: np.ndarray, unknown: float) -> Tags:
    """Attributes of which nobody noted the share ``unknown``."""
    whole = attributes(view)
    known = Draws(seed, rows).uniform("known", whole.values.shape[1]) >= unknown
    return Tags(whole.values & torch.from_numpy(known), torch.from_numpy(known), whole.names)


def displaced(target: Target, view: View, seed: int, rows: np.ndarray, deviation: float) -> Target:
    """Boxes, keypoints and masks as an annotator with an unsteady hand would draw them.

    Args:
        target: Of ``view``.
        view: Whose it is.
        seed: Of the world.
        rows: ``(B,)`` of the scenes.
        deviation: In sides; one shift a scene.
    """
    draws = Draws(seed, rows)
    length = np.sqrt(-2 * np.log1p(-draws.uniform("shift length")))
    turn = draws.uniform("shift turn", high=2 * np.pi)
    shift = deviation * view.size * length[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    if isinstance(target, Boxes):
        moved = target.xyxy.as_subclass(torch.Tensor) + torch.from_numpy(np.tile(shift, 2)).float()[target.of]
        return Boxes(
            target.of, corners(moved.clamp(0, view.size), (view.size, view.size)), target.label, target.share
        )
    if isinstance(target, Keypoints):
        moved = target.xy.as_subclass(torch.Tensor) + torch.from_numpy(shift).float()[target.of, None]
        return Keypoints(target.of, points_in(moved, (view.size, view.size)), target.visibility, target.names)
    if isinstance(target, Masks):
        whole = np.rint(shift).astype(int)
        moved = torch.full_like(target.classes.as_subclass(torch.Tensor), VOID)
        for old, new, (dx, dy) in zip(
            target.classes.as_subclass(torch.Tensor), moved, whole.tolist(), strict=True
        ):
            n = view.size
            to, of = (
                (slice(max(d, 0), n + min(d, 0)) for d in (dy, dx)),
                (slice(max(-d, 0), n + min(-d, 0)) for d in (dy, dx)),
            )
            new[tuple(to)] = old[tuple(of)]
        return Masks(Mask(moved))
    return target
