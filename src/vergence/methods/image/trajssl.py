"""Pose-Aware Self-Supervised Learning with Viewpoint Trajectory Regularization, arXiv:2403.14973."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vergence import losses
from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.image.clips import Clips
from vergence.data.image.source import ImageSource
from vergence.engine.distributed import gather
from vergence.losses.precision import in_float32
from vergence.nets import mlp, width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View


class TrajSSL(Method):
    """Make two views of a picture agree, and views along a camera's path lie on a straight line.

    VICReg on two views of the centre of three adjacent pictures, and beside it a term that asks the step from
    left to centre to point where that from centre to right does. What changes evenly as a camera moves, its
    pose, so is worth keeping; what is different in every picture is not.

    Wang, Chen, Yu 2024, arXiv:2403.14973. The middle of a network tells the pose better than its end: read
    ``encoder.layers(images, [2])``.

    Differs from the paper, of which no code could be had: the weight of the trajectory is ours; all three
    pictures are seen through one draw of crop, mirror and colours, so that only the camera moves between; the
    first and last picture of a clip take their neighbour as the centre; the recipe is VICReg's.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        hidden: Width of the projector's three layers; None takes 4 D.
        trajectory: Weight of the trajectory's term, λ, at least 0; 0 leaves VICReg.
        step: Pictures from left to centre and from centre to right, 1 or more.
        invariance: Weight of the difference between the two views.
        variance: Weight of the hinge on each feature's standard deviation.
        covariance: Weight of the covariances between features.
    """

    recipe = Recipe(
        optimizer="lars", lr=1.6, lr_scaling="linear", batch=2048, epochs=1000, weight_decay=1e-6, warmup=10
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int | None = None,
        trajectory: float = 10.0,
        step: int = 1,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__(encoder)
        if trajectory < 0 or step < 1:
            raise BadInput(
                f"TrajSSL needs trajectory >= 0 and a step of 1 or more; got {trajectory} and {step}."
            )
        width = width_of(encoder)
        hidden = hidden or 4 * width
        self.projector = mlp(width, hidden, hidden, hidden, last_bias=False)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        self.trajectory, self.step = trajectory, step
        self.crop = Augment(image_size(encoder))

    def setup(self, source: ImageSource) -> None:  # type: ignore[override]
        self.clips = Clips(source, "TrajSSL", least=1 + 2 * self.step)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> tuple[View, View, View, View]:
        """Return left, centre and right through one draw of the crop, and the centre through another."""
        spec = {"size": self.crop.size}
        left, centre, right = (
            self.clips.read(rows, batch, spec) for rows in self.clips.triplets(batch.index, self.step)
        )
        device = batch.pixels.device
        seed = int(torch.randint(2**62, ()))
        three = (self.crop(each, torch.Generator(device).manual_seed(seed)) for each in (left, centre, right))
        return *three, self.crop(centre)  # type: ignore[return-value]

    def loss(self, views: tuple[View, View, View, View]) -> dict[str, Tensor]:
        left, centre, right, again = (self.projector(self.encode(view)) for view in views)
        bent = bend(left, centre, right)
        self.watch("bend", bent)
        return {
            **losses.vicreg(gather(centre), gather(again), **self.weights),
            "trajectory": self.trajectory * bent,
        }


@in_float32
def bend(left: Tensor, centre: Tensor, right: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Return how far paths of three points are from straight: 1 - cos of the angle between their two steps.

    Args:
        left: ``(B, D)``.
        centre: ``(B, D)``.
        right: ``(B, D)``.
        eps: Least product of the two steps' lengths; a path that stands still counts as a right angle, 1.

    Returns:
        Scalar in [0, 2], a mean over the B paths; 0 for straight lines, 2 where the way goes back.
    """
    first, second = centre - left, right - centre
    lengths = (first.square().sum(1) * second.square().sum(1) + eps**2).sqrt()
    return (1 - (first * second).sum(1) / lengths).mean()
