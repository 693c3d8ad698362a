"""Targets moved by the geometry that moved the pixels: ``View.matrix``, from the view to the source."""

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
    Parts,
    Points,
    Segments,
    Target,
    corners,
    points_in,
)
from vergence.views.pixels.geometry import warp


def moved_targets(
    targets: Mapping[str, Target], matrix: Tensor, size: int, sizes: Tensor
) -> dict[str, Target]:
    """Return what a batch's targets are in its view.

    Boxes become the upright hull of their moved corners, cut at the view's edge. Keypoints out of view
    lose their visibility. Classes, instances, depth and flow take the value of the pixel in which the
    view's pixel has its centre; boundaries are averaged as colours are. What lies outside of the photo is
    ``VOID``, no instance, no boundary, or NaN.

    Args:
        targets: Of the batch, by name; those without a place go along as they are.
        matrix: ``(B, 2, 3)`` maps from view to source pixels, ``(x, y, 1) -> (x, y)``.
        size: Side of the view in pixels.
        sizes: ``(B, 2)`` height and width of each photo on its canvas.
    """
    return {name: moved(target, matrix.float(), size, sizes) for name, target in targets.items()}


@singledispatch
def moved(target: Target, matrix: Tensor, size: int, sizes: Tensor) -> Target:
    """Return one target in the view; see ``moved_targets``."""
    return target


@moved.register
def _(target: Boxes, matrix: Tensor, size: int, sizes: Tensor) -> Boxes:
    left, top, right, bottom = target.xyxy.as_subclass(Tensor).unbind(1)
    edges = torch.stack([left, top, right, top, right, bottom, left, bottom], 1).view(-1, 4, 2)
    moved_edges = into_view(edges, matrix[target.of])  # (N, 4, 2)
    whole = torch.cat([moved_edges.amin(1), moved_edges.amax(1)], 1)
    cut = whole.clamp(0, size)
    share = area(cut) / area(whole).clamp_min(1e-12)
    return replace(target, xyxy=corners(cut, (size, size)), share=target.share * share.clamp(0, 1))


@moved.register
def _(target: Keypoints, matrix: Tensor, size: int, sizes: Tensor) -> Keypoints:
    xy = into_view(target.xy.as_subclass(Tensor), matrix[target.of])
    inside = ((xy >= 0) & (xy < size)).all(2)
    return replace(target, xy=points_in(xy, (size, size)), visibility=target.visibility * inside)


@moved.register
def _(target: Masks, matrix: Tensor, size: int, sizes: Tensor) -> Masks:
    picked, inside = nearest(target.classes.as_subclass(Tensor)[:, None], matrix, size, sizes)
    return replace(target, classes=Mask(picked[:, 0].masked_fill(~inside, VOID)))


@moved.register
def _(target: Instances, matrix: Tensor, size: int, sizes: Tensor) -> Instances:
    where = placed(target, matrix, sizes)
    picked, inside = nearest(target.masks.as_subclass(Tensor)[:, None], where[0], size, where[1])
    return replace(target, masks=Mask(picked[:, 0] & inside))


@moved.register
def _(target: Boundaries, matrix: Tensor, size: int, sizes: Tensor) -> Boundaries:
    where = placed(target, matrix, sizes)
    maps = warp(target.maps.as_subclass(Tensor)[:, None], where[0], size, sizes=where[1])
    return replace(target, maps=Mask(maps[:, 0]))


@moved.register
def _(target: Depth, matrix: Tensor, size: int, sizes: Tensor) -> Depth:
    picked, inside = nearest(target.values[:, None], matrix, size, sizes)
    return replace(target, values=picked[:, 0].masked_fill(~inside, torch.nan))


@moved.register
def _(target: Maps, matrix: Tensor, size: int, sizes: Tensor) -> Maps:
    picked, inside = nearest(target.values, matrix, size, sizes)
    return replace(target, values=picked.masked_fill(~inside[:, None], torch.nan))


@moved.register
def _(target: Points, matrix: Tensor, size: int, sizes: Tensor) -> Points:
    xy = into_view(target.xy[:, None], matrix[target.of])[:, 0]
    inside = ((xy >= 0) & (xy < size)).all(1)
    return replace(target, xy=xy, kind=target.kind.masked_fill(~inside, -1))


@moved.register
def _(target: Segments, matrix: Tensor, size: int, sizes: Tensor) -> Segments:
    ends = into_view(target.ends, matrix[target.of])
    return replace(target, ends=ends, share=target.share * _share_inside(ends, size))


@moved.register
def _(target: Flow, matrix: Tensor, size: int, sizes: Tensor) -> Flow:
    picked, inside = nearest(target.uv, matrix, size, sizes)
    turned = torch.linalg.inv(matrix[:, :, :2]) @ picked.flatten(2)  # both frames move alike
    return replace(target, uv=turned.view_as(picked).masked_fill(~inside[:, None], torch.nan))


def placed(target: Parts, matrix: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return each part's own matrix ``(N, 2, 3)`` and photo size ``(N, 2)``."""
    return matrix[target.of], sizes[target.of]


def area(xyxy: Tensor) -> Tensor:
    """Return the areas ``(N,)`` of boxes ``(N, 4)``."""
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def into_view(xy: Tensor, matrix: Tensor) -> Tensor:
    """Return where points ``(N, K, 2)`` of the source lie in views whose ``matrix`` is ``(N, 2, 3)``."""
    return torch.linalg.solve(matrix[:, :, :2], (xy - matrix[:, None, :, 2]).mT).mT


def nearest(values: Tensor, matrix: Tensor, size: int, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Sample maps at the centres of a view's pixels, without mixing values.

    Args:
        values: ``(N, C, H, W)``.
        matrix: ``(N, 2, 3)``, from the view to the source.
        size: Side S of the view in pixels.
        sizes: ``(N, 2)`` height and width of what is photo.

    Returns:
        ``(N, C, S, S)`` values and ``(N, S, S)`` bool, whether the photo reaches there.
    """
    n, channels, height, width = values.shape
    at = torch.arange(size, device=values.device) + 0.5
    x = (
        matrix[:, 0, 0, None, None] * at
        + matrix[:, 0, 1, None, None] * at[:, None]
        + matrix[:, 0, 2, None, None]
    )
    y = (
        matrix[:, 1, 0, None, None] * at
        + matrix[:, 1, 1, None, None] * at[:, None]
        + matrix[:, 1, 2, None, None]
    )
    tall, wide = sizes.to(x.dtype).unbind(1)
    inside = (x >= 0) & (x < wide[:, None, None]) & (y >= 0) & (y < tall[:, None, None])
    place = y.floor().long().clamp(0, height - 1) * width + x.floor().long().clamp(0, width - 1)
    picked = values.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, channels, -1))
    return picked.view(n, channels, size, size), inside


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
