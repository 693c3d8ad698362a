"""Learning Correspondence from the Cycle-Consistency of Time (TimeCycle), arXiv:1903.07593."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, normalize

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data.video.batch import VideoBatch
from vergence.losses.precision import in_float32
from vergence.methods.video.views import image_encoder
from vergence.nets import width_of
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.clips import temporal_crop
from vergence.views.pixels.augment import Augment

SHARE = 1 / 3  # side of a patch over that of a frame
CELLS, MOST = 9, 10  # cells a side in which change is looked for; places that a patch is drawn from
POINTS = 20  # a side of the grid that two boxes are compared by


@dataclass(frozen=True)
class PatchLater:
    """A patch of the last frame, and the frames before.

    Args:
        past: ``(B, T, 3, S, S)``, the earliest first.
        target: ``(B, 3, S, S)``, the frame after these.
        patch: ``(B, 3, S / 3, S / 3)``, cut from it.
        box: ``(B, 2, 3)``: maps ``(x, y, 1)`` of the patch in [-1, 1] to the frame's.
    """

    past: Tensor
    target: Tensor
    patch: Tensor
    box: Tensor


class Tracker(nn.Module):
    """Says where in a frame a patch is: affinities of their cells -> a box ``(B, 2, 3)`` of fixed size.

    Args:
        grid: Cells a side of the frame; the patch has a third.
        kernel: Side of both convolutions.
        widths: Their channels.
    """

    def __init__(self, grid: int, *, kernel: int = 4, widths: tuple[int, int] = (128, 64)) -> None:
        super().__init__()
        self.grid, self.side = grid, grid // 3
        left = self.side - 2 * (kernel - 1)
        if grid % 3 or left < 1:
            raise BadInput(
                f"TimeCycle needs frames of 3 n cells a side, n of {2 * kernel - 1} or more; got {grid}. "
                "Choose another size, an encoder of finer stride, or a smaller kernel."
            )
        self.first = nn.Conv2d(grid**2, widths[0], kernel, bias=False)
        self.second = nn.Conv2d(widths[0], widths[1], kernel, bias=False)
        self.where = nn.Linear(widths[1] * left**2, 3)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.where.weight, std=0.01)
        nn.init.zeros_(self.where.bias)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, affinity: Tensor) -> Tensor:
        """``(B, G², N)`` affinities, which add up to 1 over the frame's cells -> boxes ``(B, 2, 3)``."""
        x = affinity.unflatten(2, (self.side, self.side))
        x = self.act(self.second(self.act(self.first(x)))).flatten(1)
        with torch.autocast(x.device.type, enabled=False):  # half a pixel counts
            return box_at(self.where(x.float()))


class TimeCycle(Method):
    """Track a patch back through a clip and forth again by a tracker that learns as it goes.

    The tracker finds the patch in the frame before by the affinities of cells, cuts its features out there
    and goes on from these. Where it comes back to is to be the box that the patch was cut from; the same for
    one leap back to each frame and one forth; and the cells in a box are to be those like the patch's.

    Wang, Jabri, Efros 2019, arXiv:1903.07593. Differs from the paper: the encoder is any convolutional one
    (the paper's is a ResNet-50 to its fourth stage, whose stride is 1), and it alone is kept, not the linear
    layer after it. Differs from the released code: boxes are measured from edge to edge, so that a patch of
    n cells is n cells of the frame (there corners are aligned and the centre's offset is lengthened by
    227 / 210); the tracker reads the affinities of a leap forth in the order of all others (there rows and
    columns are exchanged); frames are spread evenly over a random stretch of the window.

    Args:
        encoder: An image encoder on frames (``FrameEncoder``), for pictures of any size as convolutions are.
            The paper's is "resnet50" of 240 pixels with the option output_stride=8, which gives 30 x 30
            cells; frames are made smaller until they have a multiple of 3.
        dim: Width of cells; affinities are cosines times its root.
        frames: T, before the one that the patch is cut from.
        kernel: Side of the tracker's convolutions.
        widths: Channels of these.
        cycle: Weight of the way through all frames.
        skip: Weight of the leaps.
        inlier: Weight of the likeness of cells in a box.
    """

    recipe = Recipe(
        optimizer="adam", lr=2e-4, betas=(0.5, 0.999), batch=36, epochs=30, schedule="constant", clip=10.0,
        encoder="resnet50",
    )  # fmt: skip
    encoder: VideoEncoder

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        dim: int = 512,
        frames: int = 4,
        kernel: int = 4,
        widths: tuple[int, int] = (128, 64),
        cycle: float = 0.02,
        skip: float = 0.1,
        inlier: float = 1.0,
    ) -> None:
        super().__init__(encoder)
        if frames < 1 or min(cycle, skip, inlier) < 0:
            raise BadInput(
                "TimeCycle needs 1 frame or more and weights of 0 or more; "
                f"got {frames}, {cycle}, {skip} and {inlier}."
            )
        if encoder.read < frames + 2:
            raise BadInput(
                f"TimeCycle needs {frames + 2} frames of a window; the encoder reads {encoder.read}."
            )
        self.frames, self.weights = frames, (cycle, skip, inlier)
        size, grid = fitting_size(image_encoder(encoder, "TimeCycle"), encoder.size)
        self.side = size // 3
        self.project = nn.Conv2d(width_of(encoder), dim, 1, bias=False)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_out", nonlinearity="relu")
        self.tracker = Tracker(grid, kernel=kernel, widths=widths)
        self.temperature = dim**-0.5
        self.crop = Augment(
            size, scale=(0.6, 1.0), ratio=(1.0, 1.0), jitter_p=0.0, grey=0.0, blur=0.0,
            group=frames + 2,
        )  # fmt: skip

    def views(self, batch: VideoBatch) -> PatchLater:
        b, length = batch.pixels.shape[:2]
        needed = self.frames + 2
        least = max(0.5, needed / length)  # no frame comes twice: staying would be the answer
        chosen = temporal_crop(b, length, needed, span=(least, 1.0), device=batch.pixels.device)
        frames = self.crop(batch.take(chosen).images()).pixels.unflatten(0, (b, -1))
        target, after = frames[:, -2], frames[:, -1]  # the very last says where things change
        box = box_at(changing_place((target - after).abs().mean(1)))
        patch = cut_out(target, box, self.side)
        return PatchLater(frames[:, :-2], target, patch, box)

    def loss(self, views: PatchLater) -> dict[str, Tensor]:
        b, t = views.past.shape[:2]
        frames = self.cells(torch.cat([views.past.flatten(0, 1), views.target]))
        past, target = frames[: b * t].unflatten(0, (b, t)), frames[b * t :]
        patch = self.cells(views.patch)
        cycle, skip, inlier = self.weights
        home = [self.round_trip(patch, past[:, t - k :], target) for k in range(1, t + 1)]
        self.watch("centre off by", (home[-1] - views.box)[:, :, 2].norm(dim=1).mean())
        each = past.flatten(0, 1)
        affinity, box = self.track(patch.repeat_interleave(t, 0), each)
        _, back = self.track(self.cut(each, box), target.repeat_interleave(t, 0))
        return {
            "cycle": cycle * torch.stack([grid_distance(back_home, views.box) for back_home in home]).mean(),
            "skip": skip * grid_distance(back, views.box.repeat_interleave(t, 0)),
            "inlier": -inlier * soft_inliers(affinity, box).mean(),
        }

    def cells(self, pixels: Tensor) -> Tensor:
        """Return a map of features of pictures, 0 or more."""
        seen = image_encoder(self.encoder, "TimeCycle")(pixels)
        assert isinstance(seen, Features) and seen.map is not None
        return torch.relu(self.project(seen.map))

    def track(self, patch: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return affinities ``(B, G², N)`` and the box ``(B, 2, 3)`` at which a patch is in a frame."""
        affinity = cell_affinity(patch, frame, self.temperature)
        return affinity, self.tracker(affinity)

    def cut(self, frame: Tensor, box: Tensor) -> Tensor:
        """Cut the features of a patch out of those of a frame."""
        return cut_out(frame, box, self.tracker.side)

    def round_trip(self, patch: Tensor, past: Tensor, target: Tensor) -> Tensor:
        """Track a patch back through frames ``(B, k, D, G, G)``, forth again and into the target."""
        k = past.shape[1]
        for t in [*reversed(range(k)), *range(1, k)]:
            patch = self.cut(past[:, t], self.track(patch, past[:, t])[1])
        return self.track(patch, target)[1]


@in_float32
def cell_affinity(patch: Tensor, frame: Tensor, temperature: float) -> Tensor:
    """Return how alike cells are, ``(B, G², N)``: a softmax over the frame's cells for each of the patch.

    Args:
        patch: ``(B, D, n, n)``.
        frame: ``(B, D, G, G)``.
        temperature: Divides the cosines.
    """
    near, far = normalize(patch.flatten(2), dim=1), normalize(frame.flatten(2), dim=1)
    return (far.mT @ near / temperature).softmax(1)


def box_at(place: Tensor) -> Tensor:
    """Return boxes ``(B, 2, 3)`` of a third of the side: ``(B, 3)`` x and y of the centre, and the turn."""
    x, y, turn = place.unbind(1)
    cos, sin = SHARE * turn.cos(), SHARE * turn.sin()
    return torch.stack([cos, -sin, x, sin, cos, y], 1).view(-1, 2, 3)


@in_float32
def cut_out(x: Tensor, box: Tensor, side: int) -> Tensor:
    """Cut boxes out of maps ``(B, D, h, w)``: ``(B, D, side, side)``, bilinear, 0 beyond the edge."""
    grid = affine_grid(box, [len(x), x.shape[1], side, side], align_corners=False)
    return grid_sample(x, grid, align_corners=False)


@in_float32
def grid_distance(box: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared distance of a grid of points that two boxes map: scalar."""
    line = torch.linspace(-1, 1, POINTS, dtype=box.dtype, device=box.device)
    points = torch.cartesian_prod(line, line).flip(1)
    apart = box - other
    return (points @ apart[:, :, :2].mT + apart[:, None, :, 2]).square().sum(2).mean()


@in_float32
def soft_inliers(affinity: Tensor, box: Tensor) -> Tensor:
    """Return the mean affinity ``(B,)`` of each cell of a patch with where its box says that it is.

    Args:
        affinity: ``(B, G², N)``.
        box: ``(B, 2, 3)``; what lies beyond the frame does not count.
    """
    side, grid = math.isqrt(affinity.shape[2]), math.isqrt(affinity.shape[1])
    place = affine_grid(box, [len(box), 1, side, side], align_corners=False).flatten(1, 2)  # (B, N, 2)
    maps = affinity.mT.unflatten(2, (grid, grid)).flatten(0, 1)[:, None]  # of each cell of the patch
    shown = torch.cat([maps, torch.ones_like(maps)], 1)
    at = grid_sample(shown, place.flatten(0, 1)[:, None, None], align_corners=False)
    mass, inside = at[:, :, 0, 0].unflatten(0, (-1, side**2)).sum(1).unbind(1)
    return mass / (inside + 1e-5 * (grid * side) ** 2)


def changing_place(change: Tensor) -> Tensor:
    """Draw places ``(B, 3)`` of patches, as of ``box_at``, among the ten of 49 in which most changes.

    Args:
        change: ``(B, S, S)``, 0 or more.
    """
    b, size, _ = change.shape
    cell = size // CELLS
    mass = avg_pool2d(change[:, None, : cell * CELLS, : cell * CELLS], 3 * cell, cell).flatten(1)
    best = mass.topk(MOST, dim=1).indices
    chosen = best.gather(1, torch.randint(MOST, (b, 1), device=change.device))[:, 0]
    places = CELLS - 2
    at = torch.stack([chosen % places, chosen // places], 1) / (places - 1)
    jitter = (torch.rand(b, 2, device=change.device) - 0.5) / (places - 1)
    at = (2 * (at + jitter).clamp(0, 1) - 1) * (1 - SHARE)
    turn = (torch.rand(b, 1, device=change.device) - 0.5) * math.pi / 2
    return torch.cat([at, turn], 1)


@torch.no_grad()
def fitting_size(net: ImageEncoder, most: int) -> tuple[int, int]:
    """Return the largest size of frames with three times the cells a side of a third of it, and these.

    Args:
        net: Gives maps.
        most: Pixels.

    Raises:
        BadInput: If there is none of at least half of that.
    """
    was = net.training
    net.eval()
    for size in range(most - most % 3, most // 2, -3):
        try:
            frame, patch = (net(torch.zeros(1, 3, side, side)).grid for side in (size, size // 3))
        except RuntimeError:  # a patch smaller than a cell
            continue
        if frame is None or patch is None:
            raise BadInput("TimeCycle needs an encoder with a map of cells, such as --encoder resnet18.")
        if frame == (3 * patch[0], 3 * patch[0]) and patch[0] == patch[1]:
            net.train(was)
            return size, frame[0]
    raise BadInput(
        "TimeCycle needs three times as many cells a side of a frame as of a third of it, which no size of "
        f"up to {most} pixels has here; choose another encoder, or a larger size."
    )
