"""Self-supervised visual learning from interactions with objects (AASSL), arXiv:2407.06704."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.image.clips import Clips
from vergence.data.image.source import ImageSource
from vergence.engine.distributed import gather
from vergence.losses import nt_xent
from vergence.nets import mlp, width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View

Views = tuple[View, View, Tensor]
MEASURED = 4_096  # pairs whose motions tell mean and deviation
WIDTH = {"camera": 7, "turn": 2}  # numbers of a motion


class AASSL(Method):
    """Find another view of the same thing, and find from two views the motion that lies between them.

    AA-SimCLR: SimCLR through time, whose two views are pictures of one clip, also augmented, and a contrast
    between a code of both features together and a code of the motion, whose negatives are the batch's others.
    To tell a motion the features must keep from where a thing is seen; by the one of a turntable alike for
    all things.

    Aubret, Teulière, Triesch 2024, arXiv:2407.06704. Differs from the paper: hues turn by up to 1/6 of a
    circle, not 1/5; a quaternion has a real part of at least 0, as both signs are the same rotation; mean and
    deviation of a camera's motion are those of 4,096 pairs of the source, not constants of a data set; the
    camera's scale and the photo's format are no part of its motion. There is no form by BYOL or VICReg.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``; the paper's is a ResNet-18.
        dim: Width of the contrasted vectors.
        hidden: Width of the hidden layers of the projector and of the motion's network.
        joint_hidden: Width of the hidden layer over both features.
        temperature: Of the contrast between views, above 0.
        motion_temperature: Of the contrast between pairs and motions, above 0.
        motion_weight: Of the latter, at least 0; 0 leaves SimCLR through time.
        motion: What lies between two views. "camera": the relative rotation as a quaternion and the
            difference of translations. "turn": sine and cosine of the turn about the upright axis, for
            turntables.
    """

    reads = ("pose",)
    recipe = Recipe(
        optimizer="adamw", lr=5e-4, lr_scaling="none", batch=256, epochs=100, weight_decay=1e-6,
        schedule="constant",
    )  # fmt: skip
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int = 256,
        joint_hidden: int = 1024,
        temperature: float = 0.1,
        motion_temperature: float = 0.1,
        motion_weight: float = 1.0,
        motion: Literal["camera", "turn"] = "camera",
    ) -> None:
        super().__init__(encoder)
        if min(temperature, motion_temperature) <= 0 or motion_weight < 0 or motion not in WIDTH:
            raise BadInput(
                "AASSL needs temperatures > 0, motion_weight >= 0 and motion 'camera' or 'turn'; "
                f"got {temperature}, {motion_temperature}, {motion_weight} and {motion!r}."
            )
        width, numbers = width_of(encoder), WIDTH[motion]
        self.projector = mlp(width, hidden, dim)
        self.joint = mlp(2 * width, joint_hidden, dim)
        self.code = mlp(numbers, hidden, dim, last_norm=True, last_affine=False)
        self.crop = Augment(
            image_size(encoder), scale=(0.2, 1.0), flip=0.0, jitter=(0.8, 0.8, 0.8, 1 / 6), blur=0.0
        )
        self.temperature, self.motion_temperature = temperature, motion_temperature
        self.motion_weight, self.motion = motion_weight, motion
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("std", torch.ones(numbers))

    def setup(self, source: ImageSource) -> None:  # type: ignore[override]
        self.clips = Clips(source, "AASSL")
        everyone = source.target("pose", np.arange(len(source))).values  # type: ignore[attr-defined]
        if not everyone.isfinite().all():
            raise BadInput(f"AASSL needs the pose of every picture, and {source.uri} lacks some.")
        same = torch.Generator().manual_seed(0)
        rows = torch.randint(len(source), (MEASURED,), generator=same)
        pairs = rows, self.clips.partners(rows, same)
        motions = self.motion_between(*(everyone[part] for part in pairs))
        if self.motion == "camera":
            deviation = motions.std(0)
            self.mean.copy_(motions.mean(0))
            self.std.copy_(torch.where(deviation > 1e-6, deviation, 1.0))  # what never changes says nothing

    def configure_views(self, options: Mapping[str, Any]) -> None:
        if options.get("flip"):
            raise BadInput("AASSL needs views that are not mirrored: a mirror image reverses its motion.")
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return views of the pictures and of others of their clips, and the motions between, ``(B, A)``."""
        other = self.clips.read(self.clips.partners(batch.index), batch, {"size": self.crop.size})
        poses = (part.targets["pose"].values for part in (batch, other))  # type: ignore[index,union-attr]
        motions = (self.motion_between(*poses) - self.mean) / self.std
        return self.crop(batch), self.crop(other), motions

    def motion_between(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the motions ``(B, A)`` from one pose to the other.

        Args:
            first: ``(B, 3, 4)``, ``[R | t]`` from the thing's coordinates to the camera's, z pointing up; for
                "turn" also ``(B,)`` radians.
            second: Of the same shape.
        """
        planar = first.ndim == 1 and self.motion == "turn"
        if not planar and first.shape[1:] != (3, 4):
            raise BadInput(
                f"AASSL needs poses (n, 3, 4), for motion='turn' also radians (n,); got {tuple(first.shape)}."
            )
        if planar:
            turn = second - first
            return torch.stack([turn.sin(), turn.cos()], 1)
        rotation = first[:, :, :3].mT @ second[:, :, :3]
        if self.motion == "turn":
            turn = torch.atan2(rotation[:, 1, 0] - rotation[:, 0, 1], rotation[:, 0, 0] + rotation[:, 1, 1])
            return torch.stack([turn.sin(), turn.cos()], 1)
        return torch.cat([quaternion(rotation), second[:, :, 3] - first[:, :, 3]], 1)

    def loss(self, views: Views) -> dict[str, Tensor]:
        *pair, motions = views
        first, second = (self.encode(view) for view in pair)
        joint, code = self.joint(torch.cat([first, second], 1)), self.code(motions)
        contrast = between(self.projector(first), self.projector(second), self.temperature)
        return {
            "contrast": contrast,
            "motion": self.motion_weight * between(code, joint, self.motion_temperature),
        }


def between(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of the rows ``(B, D)`` of this process among those of all."""
    return nt_xent(gather(first), gather(second), temperature=temperature, anchors=len(first))


def quaternion(rotation: Tensor) -> Tensor:
    """Return rotations ``(B, 3, 3)`` as unit quaternions ``(B, 4)``, the real part first and at least 0."""
    m = rotation.flatten(1).unbind(1)
    xx, yy, zz = m[0], m[4], m[8]
    w = [1 + xx + yy + zz, m[7] - m[5], m[2] - m[6], m[3] - m[1]]  # 4 q qᵀ, row by row
    x = [w[1], 1 + xx - yy - zz, m[1] + m[3], m[2] + m[6]]
    y = [w[2], x[2], 1 - xx + yy - zz, m[5] + m[7]]
    z = [w[3], x[3], y[3], 1 - xx - yy + zz]
    outer = torch.stack([torch.stack(row, 1) for row in (w, x, y, z)], 1)  # (B, 4, 4)
    # the row of the largest component is the one that is divided by no small number
    best = outer.diagonal(dim1=1, dim2=2).argmax(1)
    q = nn.functional.normalize(outer[torch.arange(len(best), device=best.device), best], dim=1)
    return torch.where(q[:, :1] < 0, -q, q)
