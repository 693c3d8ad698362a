"""Maps of the plane between a view and its source: affine, homography, thin-plate spline.

Points, pixels, masks and flows move by the same map. Pixel convention: the origin is the outer corner of
the first pixel, whose centre is (0.5, 0.5). A map goes from the view to the source, which is what
resampling asks for; ``to_view`` is its inverse.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from vergence.views.pixels.geometry import affine_matrix, uniform

_NEWTON = 20  # steps that invert a spline
_BESIDE = 1e6  # pixels: where the line at infinity puts a point


class PlaneMap(ABC):
    """One map a sample, from points of the view to points of the source, in pixels."""

    keeps_lines = True  # whether a straight line stays one

    @abstractmethod
    def to_source(self, xy: Tensor) -> Tensor:
        """Return where points ``(B, N, 2)`` of the views lie in the sources."""

    @abstractmethod
    def to_view(self, xy: Tensor) -> Tensor:
        """Return where points ``(B, N, 2)`` of the sources lie in the views."""

    @abstractmethod
    def pick(self, rows: Tensor) -> Self:
        """Return the maps of samples ``rows (N,)``; a row may come twice."""

    def grid(self, size: int, like: Tensor) -> Tensor:
        """Return where the centres of a view's pixels lie in the source, ``(B, size, size, 2)``."""
        at = torch.arange(size, device=like.device, dtype=like.dtype) + 0.5
        centres = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)
        return self.to_source(centres).view(-1, size, size, 2)


class Affine(PlaneMap):
    """``x -> A x + t``.

    Args:
        matrix: ``(B, 2, 3)`` from view to source pixels, ``(x, y, 1) -> (x, y)``.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def to_source(self, xy: Tensor) -> Tensor:
        return xy @ self.matrix[:, :, :2].mT + self.matrix[:, None, :, 2]

    def to_view(self, xy: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix[:, :, :2], (xy - self.matrix[:, None, :, 2]).mT).mT

    def pick(self, rows: Tensor) -> Self:
        return type(self)(self.matrix[rows])


def from_view_to_view(xy: Tensor, matrix: Tensor, other: Tensor) -> Tensor:
    """Return where points ``(B, N, 2)`` of one view lie in another of the same source, in pixels.

    Args:
        xy: Of the view.
        matrix: ``(B, 2, 3)`` from the view to the source.
        other: ``(B, 2, 3)`` from the other view to the source.
    """
    return Affine(other).to_view(Affine(matrix).to_source(xy))


class Homography(PlaneMap):
    """``x -> H x`` in homogeneous coordinates.

    Args:
        matrix: ``(B, 3, 3)`` from view to source pixels, ``(x, y, 1) -> (u, v, w)``.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def to_source(self, xy: Tensor) -> Tensor:
        return _projected(self.matrix, xy)

    def to_view(self, xy: Tensor) -> Tensor:
        return _projected(torch.linalg.inv(self.matrix), xy)

    def pick(self, rows: Tensor) -> Self:
        return type(self)(self.matrix[rows])


class ThinPlate(PlaneMap):
    """The smoothest map that takes control points of the view to given points of the source.

    ``x -> A x + t + sum_k w_k U(|x - c_k|)`` with ``U(r) = r^2 log r^2``: Bookstein, "Principal warps:
    thin-plate splines and the decomposition of deformations", TPAMI 1989.

    Args:
        control: ``(B, K, 2)`` points of the view, not all on one line.
        target: ``(B, K, 2)`` where they lie in the source.
    """

    keeps_lines = False

    def __init__(self, control: Tensor, target: Tensor) -> None:
        self.control, self.target = control, target
        b, k, _ = control.shape
        affine = torch.cat([control.new_ones(b, k, 1), control], 2)
        zero = control.new_zeros(b, 3, 3)
        system = torch.cat(
            [torch.cat([_bend(control, control), affine], 2), torch.cat([affine.mT, zero], 2)], 1
        )
        right = torch.cat([target, control.new_zeros(b, 3, 2)], 1)
        self.weights = torch.linalg.solve(system.double(), right.double()).to(control.dtype)  # (B, K + 3, 2)

    def to_source(self, xy: Tensor) -> Tensor:
        xy = xy.expand(len(self.control), -1, -1)
        basis = torch.cat([_bend(xy, self.control), torch.ones_like(xy[..., :1]), xy], 2)
        return basis @ self.weights

    def to_view(self, xy: Tensor) -> Tensor:
        """Invert by Newton's method from the affine part; exact where the spline does not fold."""
        linear = self.weights[:, -2:].mT
        start = (xy - self.weights[:, None, -3]).mT
        at = torch.linalg.solve(linear, start).mT
        for _ in range(_NEWTON):
            step = torch.linalg.solve(self._slope(at), (xy - self.to_source(at))[..., None])[..., 0]
            at = at + step
        return at

    def pick(self, rows: Tensor) -> Self:
        return type(self)(self.control[rows], self.target[rows])

    def _slope(self, xy: Tensor) -> Tensor:
        """Return the map's Jacobian at points, ``(B, N, 2, 2)``."""
        apart = xy[:, :, None] - self.control[:, None]  # (B, N, K, 2)
        r2 = apart.square().sum(-1, keepdim=True).clamp_min(1e-12)
        rise = 2 * apart * (r2.log() + 1)
        bent = torch.einsum("bnkd,bkc->bncd", rise, self.weights[:, :-3])
        return bent + self.weights[:, None, -2:].mT


def sampled(
    maps: Tensor, plane: PlaneMap, size: int, *, sizes: Tensor | None = None, mode: str = "bilinear"
) -> tuple[Tensor, Tensor]:
    """Resample maps under a map of the plane.

    Args:
        maps: ``(B, C, H, W)`` float.
        plane: From view to source.
        size: Side of the view in pixels.
        sizes: ``(B, 2)`` height and width of the photo on its canvas; None where it fills it.
        mode: "bilinear", or "nearest": the pixel in which a view's pixel has its centre.

    Returns:
        ``(B, C, size, size)``, 0 outside of the photo, and whether a pixel's centre lies in the photo,
        ``(B, size, size)`` bool.
    """
    height, width = maps.shape[2:]
    xy = plane.grid(size, maps)
    whole = maps.new_tensor([[height, width]]) if sizes is None else sizes.to(maps)
    inside = in_photo(xy, whole)
    grid = xy / xy.new_tensor([width, height]) * 2 - 1
    out = F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=False)
    return out * inside[:, None], inside


def in_photo(xy: Tensor, sizes: Tensor) -> Tensor:
    """Say which points ``(B, S, S, 2)`` lie in photos of ``sizes (B, 2)``, height and width."""
    return ((xy >= 0) & (xy < sizes.to(xy).flip(1)[:, None, None])).all(3)


def random_homographies(
    sizes: Tensor,
    *,
    perspective: float = 0.1,
    scale: tuple[float, float] = (0.8, 1.2),
    angle: float = 0.3,
    translate: float = 0.1,
    generator: torch.Generator | None = None,
) -> Homography:
    """Draw homographies about the pictures' centres.

    Args:
        sizes: ``(B, 2)`` height and width in pixels.
        perspective: Largest shift of a corner by the projective part, in sides.
        scale: Least and largest magnification.
        angle: Largest turn in radians.
        translate: Largest shift in sides.
        generator: Of the device of ``sizes``.
    """
    b, like = len(sizes), sizes.float()
    wide_tall = like.flip(1)

    def drawn(*shape: int) -> Tensor:
        return uniform(b * math.prod(shape), -1.0, 1.0, like, generator).view(b, *shape)

    square = like.new_tensor([(0, 0), (1, 0), (1, 1), (0, 1)])
    corners = square * wide_tall[:, None]
    bent = homography_between(corners, corners + perspective * drawn(4, 2) * wide_tall[:, None])
    moved = affine_matrix(
        sizes,
        angle=angle * drawn(1)[:, 0],
        translate=translate * drawn(2) * wide_tall,
        scale=scale[0] + (scale[1] - scale[0]) * (drawn(1)[:, 0] + 1) / 2,
    )
    return Homography(bent @ moved)


def random_thin_plates(
    sizes: Tensor, *, points: int = 4, deviation: float = 0.04, generator: torch.Generator | None = None
) -> ThinPlate:
    """Draw splines whose control points, a grid over the picture, are shifted at random.

    Args:
        sizes: ``(B, 2)`` height and width in pixels.
        points: Control points along a side.
        deviation: Largest shift in sides.
        generator: Of the device of ``sizes``.
    """
    b, like = len(sizes), sizes.float()
    at = torch.linspace(0, 1, points, device=like.device)
    control = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2) * like.flip(1)[:, None]
    shift = uniform(control.numel(), -deviation, deviation, like, generator).view(b, -1, 2)
    return ThinPlate(control, control + shift * like.flip(1)[:, None])


def homography_between(points: Tensor, to: Tensor) -> Tensor:
    """Return maps ``(B, 3, 3)`` that take four points ``(B, 4, 2)`` to four others, no three on a line."""
    x, y = points.unbind(2)
    u, v = to.unbind(2)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = torch.cat(
        [
            torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 2),
            torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 2),
        ],
        1,
    )
    eight = torch.linalg.solve(rows.double(), torch.cat([u, v], 1).double()).to(points.dtype)
    return torch.cat([eight, torch.ones_like(eight[:, :1])], 1).view(-1, 3, 3)


def _projected(matrix: Tensor, xy: Tensor) -> Tensor:
    moved = xy @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    depth = moved[..., 2:]
    return torch.where(depth > 1e-9, moved[..., :2] / depth.clamp_min(1e-9), _BESIDE)


def _bend(xy: Tensor, control: Tensor) -> Tensor:
    """Return ``r^2 log r^2`` for all pairs, ``(B, N, K)``."""
    r2 = (xy[:, :, None] - control[:, None]).square().sum(-1)
    return r2 * r2.clamp_min(1e-12).log()
