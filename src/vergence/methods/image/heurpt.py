"""Heuristic Vision Pre-Training with Self-Supervised and Supervised Multi-Task Learning, arXiv:2310.07510."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import Tags
from vergence.engine.distributed import gather, over_mean
from vergence.losses import asymmetric, info_nce
from vergence.methods.image.masking import patch_of
from vergence.methods.image.views import two_crops
from vergence.nets import Teacher, mlp
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.patches import patchify, unpatchify
from vergence.views.masks import random_mask
from vergence.views.pixels.augment import Augment, View

Part = Literal["tags", "repair", "contrast"]
PARTS = ("tags", "repair", "contrast")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one step looks at.

    Args:
        photo: A light crop of each photo, with its tags.
        mask: ``(B, N)`` bool, the patches of it that are hidden when it is repaired.
        pair: Two strong views, to be told apart from those of other photos.
    """

    photo: View
    mask: Tensor
    pair: list[View]


class HeurPT(Method):
    """Learn at once what people say is in a photo, what its hidden parts show, and which photo it is.

    What a person takes in at a glance is the heuristic: style, things and how they are related are learned
    from tags, as far as there are any; where things lie, and what before what, from self-supervision, since
    boxes and depth are rarely given. One encoder does all three, each in a pass of its own.

    Qian 2023, arXiv:2310.07510. No code was published. Differs from the paper, whose heads and weights could
    not be checked: any vision transformer that can cover patches serves in place of a Swin transformer; the
    tags' loss is the asymmetric one, the repair is SimMIM's, the contrast is MoCo v3's. Views up to 64 pixels
    are not blurred.

    Args:
        encoder: A vision transformer that can cover patches: images ``(B, 3, S, S)`` -> ``Features``.
        parts: What is learned from: "tags", "repair", "contrast", or several.
        weights: λ₁ of the tags, λ₂ of the repair and λ₃ of the contrast, above 0.
        focus: Of "yes" and of "no", as of ``losses.asymmetric``.
        margin: Likewise.
        mask_ratio: Share of a photo that is hidden, in (0, 1).
        unit: Side in pixels of what is hidden as a whole, a multiple of the patch that divides S; None takes
            the nearest to a seventh of S, the paper's 32 of 224.
        dim: Width of the contrasted vectors.
        hidden: Width of the hidden layers of projector and predictor.
        temperature: Of the contrast, above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
    """

    reads = ("tags",)
    recipe = Recipe(
        optimizer="adamw", lr=1e-3, batch=2048, epochs=100, weight_decay=0.05, warmup=10, min_lr=1e-6,
        clip=5.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        parts: Sequence[Part] = PARTS,  # type: ignore[assignment]
        weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
        focus: tuple[float, float] = (0.0, 4.0),
        margin: float = 0.05,
        mask_ratio: float = 0.6,
        unit: int | None = None,
        dim: int = 256,
        hidden: int = 4096,
        temperature: float = 0.2,
        momentum: float = 0.99,
    ) -> None:
        super().__init__(encoder)
        self.patch, size = patch_of(encoder, "HeurPT", visible=True), image_size(encoder)
        unit = nearest_unit(size, self.patch) if unit is None else unit
        if not parts or set(parts) - set(PARTS):
            raise BadInput(
                f"HeurPT needs parts to name one or more of {', '.join(PARTS)}; got {tuple(parts)}."
            )
        if min(weights) <= 0 or temperature <= 0 or not 0 <= momentum <= 1 or not 0 < mask_ratio < 1:
            raise BadInput(
                "HeurPT needs weights and temperature above 0, momentum in [0, 1] and mask_ratio in (0, 1); "
                f"got {weights}, {temperature}, {momentum} and {mask_ratio}."
            )
        if unit < 1 or unit % self.patch or size % unit:
            raise BadInput(
                f"HeurPT hides units that are a multiple of the patch, {self.patch}, and divide the size, "
                f"{size}; got {unit}."
            )
        width, self.parts = encoder.out_dim, tuple(parts)
        self.namer: nn.Linear | None = None  # setup knows how many tags there are
        if "repair" in parts:
            self.mask_token = nn.Parameter(torch.zeros(1, width))
            self.painter = nn.Linear(width, 3 * self.patch**2)
        if "contrast" in parts:
            self.projector = mlp(width, hidden, hidden, dim, last_norm=True, last_affine=False)
            self.predictor = mlp(dim, hidden, dim, last_norm=True, last_affine=False)
            self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.crop = Augment(size, scale=(0.67, 1.0), jitter_p=0.0, grey=0.0, blur=0.0, solarize=0.0)
        self.crops = two_crops(size, jitter=(0.4, 0.4, 0.2, 0.1))
        self.weights = dict(zip(PARTS, weights, strict=True))
        self.focus, self.margin, self.mask_ratio = focus, margin, mask_ratio
        self.units, self.fold = size // unit, unit // self.patch
        self.temperature, self.momentum = temperature, momentum

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options(options)
        still = {name: value for name, value in options.items() if name in ("flip", "affine")}
        self.crop = dataclasses.replace(self.crop, **still)

    def setup(self, source: Source) -> None:
        """Make the head of tags, as many as the source has."""
        if "tags" not in self.parts:
            return
        tags = source.target("tags", np.arange(1))
        assert isinstance(tags, Tags)
        device = next(self.encoder.parameters()).device
        self.namer = nn.Linear(self.encoder.out_dim, tags.values.shape[1], device=device)

    def views(self, batch: ImageBatch) -> Seen:
        photo = self.crop(batch)
        return Seen(photo, self.hide(len(batch), batch.pixels.device), self.crops(batch))

    def hide(self, rows: int, device: torch.device) -> Tensor:
        """Return which patches of ``rows`` photos are hidden, whole units at a time: ``(rows, N)`` bool."""
        mask = random_mask(rows, self.units, self.mask_ratio, device=device)
        mask = mask.unflatten(1, (self.units, self.units))
        return mask.repeat_interleave(self.fold, 1).repeat_interleave(self.fold, 2).flatten(1)

    def loss(self, views: Seen) -> dict[str, Tensor]:
        costs = {"tags": self.of_tags, "repair": self.of_holes, "contrast": self.of_pairs}
        return {name: self.weights[name] * costs[name](views) for name in PARTS if name in self.parts}

    def of_tags(self, views: Seen) -> Tensor:
        """Return the cost of naming the tags that are known, of photos that have any."""
        assert self.namer is not None and views.photo.targets is not None
        tags = views.photo.targets["tags"]
        assert isinstance(tags, Tags)
        share = over_mean(tags.known.sum().float())  # processes may know different numbers
        logits = self.namer(self.encode(views.photo))
        return share * asymmetric(logits, tags.values, tags.known, focus=self.focus, margin=self.margin)

    def of_holes(self, views: Seen) -> Tensor:
        """Return the mean absolute error of hidden pixels, on the encoder's scale."""
        seen = self.encoder(views.photo, mask=views.mask, mask_token=self.mask_token[0])
        cells = patchify(self.encoder.pixels(views.photo), (self.patch, self.patch))
        error = (self.painter(seen.tokens) - cells).abs().mean(2)  # (B, N)
        return error[views.mask].mean()

    def of_pairs(self, views: Seen) -> Tensor:
        """Return the cost of finding each view's other one by the teacher's word on it."""
        if len(views.photo) < 2:
            raise BadInput("HeurPT needs 2 or more photos a batch (batch norm); got 1. Raise --batch-size.")
        q1, q2 = (self.predictor(self.projector(self.encode(view))) for view in views.pair)
        k1, k2 = (gather(self.teacher(view)) for view in views.pair)  # own rows first
        both = [info_nce(q, k, temperature=self.temperature) for q, k in ((q1, k2), (q2, k1))]
        return both[0] + both[1]

    def reconstruct(self, images: Any, mask: Tensor) -> Tensor:
        """Return images painted from what is not hidden, ``(B, 3, S, S)``, in [0, 1]'s scale."""
        seen = self.encoder(images, mask=mask, mask_token=self.mask_token[0])
        grid = (self.units * self.fold, self.units * self.fold)
        painted = unpatchify(self.painter(seen.tokens), (self.patch, self.patch), grid)
        return painted * self.encoder.std + self.encoder.mean

    def step_end(self, clock: Clock) -> None:
        if "contrast" in self.parts:
            self.teacher.follow(self.clock.cosine(self.momentum, 1.0))


def nearest_unit(size: int, patch: int) -> int:
    """Return the multiple of the patch that divides the size and is nearest to a seventh of it.

    >>> nearest_unit(224, 4), nearest_unit(32, 4), nearest_unit(16, 4)
    (32, 4, 4)
    """
    fitting = [unit for unit in range(patch, size, patch) if size % unit == 0] or [patch]
    return min(fitting, key=lambda unit: abs(unit - size / 7))
