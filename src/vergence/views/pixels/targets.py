"""Targets moved by the geometry that moved the pixels: a map of the plane, from the view to the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch

import torch
from torch import Tensor
from torchvision.tv_tensors import Mask

from vergence.data.targets import (
    VOID,
    Boundaries,
    Boxes,
    Depth,
    Flow,
    Instances,
    Keypoints,
    Maps,
    Masks,
    Points,
    Segments,
    Target,
    corners,
    points_in,
)
from vergence.views.pixels.geometry import warp
from vergence.views.pixels.planar import Affine, PlaneMap, in_photo, sampled


def moved_targets(
    targets: Mapping[str, Target], matrix: Tensor | PlaneMap, size: int, sizes: Tensor
) -> dict[str, Target]:
    """Return what a batch's targets are in its view.

    Boxes become the upright hull of their moved corners, cut at the view's edge. Keypoints out of view
    lose their visibility. Classes, instances, depth and flow take the value of the pixel in which the
    view's pixel has its centre; boundaries are averaged as colours are. What lies outside of the photo is
    ``VOID``, no instance, no boundary, or NaN.

    Args:
        targets: Of the batch, by name; those without a place go along as they are.
        matrix: From view to source pixels: ``(B, 2, 3)``, ``(x, y, 1) -> (x, y)``, or any map of the plane.
        size: Side of the view in pixels.
        sizes: ``(B, 2)`` height and width of each photo on its canvas.
    """
    plane = matrix if isinstance(matrix, PlaneMap) else Affine(matrix.float())
    return {name: moved(target, plane, size, sizes) for name, target in targets.items()}


@singledispatch
def moved(target: Target, plane: PlaneMap, size: int, sizes: Tensor) -> Target:
    """Return one target in the view; see ``moved_targets``."""
    return target


@moved.register
def _(target: Boxes, plane: PlaneMap, size: int, sizes: Tensor) -> Boxes:
    left, top, right, bottom = target.xyxy.as_subclass(Tensor).unbind(1)
    edges = torch.stack([left, top, right, top, right, bottom, left, bottom], 1).view(-1, 4, 2)
    if not plane.keeps_lines:
        edges = _along(edges)
    moved_edges = plane.pick(target.of).to_view(edges)
    whole = torch.cat([moved_edges.amin(1), moved_edges.amax(1)], 1)
    cut = whole.clamp(0, size)
    share = area(cut) / area(whole).clamp_min(1e-12)
    return replace(target, xyxy=corners(cut, (size, size)), share=target.share * share.clamp(0, 1))


@moved.register
def _(target: Keypoints, plane: PlaneMap, size: int, sizes: Tensor) -> Keypoints:
    xy = plane.pick(target.of).to_view(target.xy.as_subclass(Tensor))
    inside = ((xy >= 0) & (xy < size)).all(2)
    return replace(target, xy=points_in(xy, (size, size)), visibility=target.visibility * inside)


@moved.register
def _(target: Masks, plane: PlaneMap, size: int, sizes: Tensor) -> Masks:
    picked, inside = nearest(target.classes.as_subclass(Tensor)[:, None], plane, size, sizes)
    return replace(target, classes=Mask(picked[:, 0].masked_fill(~inside, VOID)))


@moved.register
def _(target: Instances, plane: PlaneMap, size: int, sizes: Tensor) -> Instances:
    own, sizes = plane.pick(target.of), sizes[target.of]
    picked, inside = nearest(target.masks.as_subclass(Tensor)[:, None], own, size, sizes)
    return replace(target, masks=Mask(picked[:, 0] & inside))


@moved.register
def _(target: Boundaries, plane: PlaneMap, size: int, sizes: Tensor) -> Boundaries:
    own, sizes = plane.pick(target.of), sizes[target.of]
    layers = target.maps.as_subclass(Tensor)[:, None]
    if isinstance(own, Affine):
        maps = warp(layers, own.matrix, size, sizes=sizes)
    else:
        maps, _ = sampled(layers, own, size, sizes=sizes)
    return replace(target, maps=Mask(maps[:, 0]))


@moved.register
def _(target: Depth, plane: PlaneMap, size: int, sizes: Tensor) -> Depth:
    picked, inside = nearest(target.values[:, None], plane, size, sizes)
    return replace(target, values=picked[:, 0].masked_fill(~inside, torch.nan))


@moved.register
def _(target: Maps, plane: PlaneMap, size: int, sizes: Tensor) -> Maps:
    picked, inside = nearest(target.values, plane, size, sizes)
    return replace(target, values=picked.masked_fill(~inside[:, None], torch.nan))


@moved.register
def _(target: Points, plane: PlaneMap, size: int, sizes: Tensor) -> Points:
    xy = plane.pick(target.of).to_view(target.xy[:, None])[:, 0]
    inside = ((xy >= 0) & (xy < size)).all(1)
    return replace(target, xy=xy, kind=target.kind.masked_fill(~inside, -1))


@moved.register
def _(target: Segments, plane: PlaneMap, size: int, sizes: Tensor) -> Segments:
    ends = plane.pick(target.of).to_view(target.ends)
    return replace(target, ends=ends, share=target.share * _share_inside(ends, size))


@moved.register
def _(target: Flow, plane: PlaneMap, size: int, sizes: Tensor) -> Flow:
    picked, inside = nearest(target.uv, plane, size, sizes)
    grid = plane.grid(size, target.uv)
    after = plane.to_view((grid + picked.permute(0, 2, 3, 1)).flatten(1, 2))  # both frames move alike
    now = plane.to_view(grid.flatten(1, 2))
    uv = (after - now).mT.reshape(picked.shape)
    return replace(target, uv=uv.masked_fill(~inside[:, None], torch.nan))


def area(xyxy: Tensor) -> Tensor:
    """Return the areas ``(N,)`` of boxes ``(N, 4)``."""
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def _along(edges: Tensor, steps: int = 16) -> Tensor:
    """Return points ``(N, 4 * steps, 2)`` on the sides between corners ``(N, 4, 2)``."""
    part = (torch.arange(steps, device=edges.device) / steps)[:, None]
    sides = (edges.roll(-1, 1) - edges)[:, :, None]
    return (edges[:, :, None] + part * sides).flatten(1, 2)


def nearest(values: Tensor, plane: PlaneMap, size: int, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Sample maps at the centres of a view's pixels, without mixing values.

    Args:
        values: ``(N, C, H, W)``.
        plane: N maps from the view to the source.
        size: Side S of the view in pixels.
        sizes: ``(N, 2)`` height and width of what is photo.

    Returns:
        ``(N, C, S, S)`` values and ``(N, S, S)`` bool, whether the photo reaches there.
    """
    n, channels, height, width = values.shape
    xy = plane.grid(size, sizes.float())
    x, y = xy.unbind(3)
    place = y.floor().long().clamp(0, height - 1) * width + x.floor().long().clamp(0, width - 1)
    picked = values.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, channels, -1))
    return picked.view(n, channels, size, size), in_photo(xy, sizes)


def _share_inside(ends: Tensor, size: int) -> Tensor:
    """Return the share ``(N,)`` of lines ``(N, 2, 2)`` that lies in the view, by Liang and Barsky's cuts."""
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    still = along.abs() < 1e-9
    step = torch.where(still, torch.ones_like(along), along)
    cuts = torch.stack([-start / step, (size - start) / step]).sort(0).values  # (2, N, 2)
    outside = (still & ((start < 0) | (start > size))).any(1)
    first = cuts[0].masked_fill(still, 0.0).amax(1).clamp_min(0)
    last = cuts[1].masked_fill(still, 1.0).amin(1).clamp_max(1)
    return (last - first).clamp_min(0).masked_fill(outside, 0.0)
