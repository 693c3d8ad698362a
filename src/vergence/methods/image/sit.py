"""SiT: Self-supervised vIsion Transformer, arXiv:2104.03602."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.losses import info_nce
from vergence.methods.image.masking import hole_error, patch_of
from vergence.methods.image.views import two_crops
from vergence.nets import Head, Teacher
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.masked import Repainter
from vergence.views.pixels.corrupt import Corrupt, Corrupted, Fill

Part = Literal["contrast", "repair"]
PARTS = ("contrast", "repair")


class SiT(Method):
    """Repair two spoilt views of a photo, and find in each what a slow copy says of the other, unspoilt.

    Atito, Awais, Kittler 2021, arXiv:2104.03602, as in the last version and the released code; the first
    version's rotation token and learned weights of the tasks are not here. Differs from the paper: another
    photo that is pasted in is never the photo itself; views up to 64 pixels are not blurred; the weights'
    start is the encoder's own, and torch's in the heads.

    Args:
        encoder: A vision transformer over images ``(B, 3, S, S)``; the paper drops 0.1 of the paths.
        parts: What is learned from: "contrast", "repair" or both.
        weight: λ of the repair, above 0; about 5 on small data.
        dim: Width of the contrasted vectors.
        hidden: Width of the hidden layers of their head.
        temperature: Softmax temperature, above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        fill: What goes in the holes: "noise", "zeros" or "elsewhere", as of ``gmml``; another photo is one
            more.
        budget: Share of a view that is spoilt, in (0, 1).
        paste: That share where another photo is pasted in, in (0, 1).
        side: Longest side of a rectangle as a share of the view's, in (0, 1].
        align: Grid in pixels on which rectangles lie; divides S. 1 ignores the patches.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=800, weight_decay=(0.04, 0.1), warmup=10, clip=3.0,
        min_lr=1e-6, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        parts: Sequence[Part] = ("contrast", "repair"),
        weight: float = 1.0,
        dim: int = 256,
        hidden: int = 4096,
        temperature: float = 0.2,
        momentum: float = 0.996,
        fill: Sequence[Fill] = ("zeros",),
        budget: float = 0.5,
        paste: float = 0.3,
        side: float = 0.3,
        align: int = 1,
    ) -> None:
        super().__init__(encoder)
        patch, size = patch_of(encoder, "SiT"), image_size(encoder)
        if not parts or set(parts) - set(PARTS):
            raise BadInput(f"SiT needs parts to name one or more of {', '.join(PARTS)}; got {tuple(parts)}.")
        if temperature <= 0 or weight <= 0 or not 0 <= momentum <= 1:
            raise BadInput(
                f"SiT needs temperature and weight above 0 and momentum in [0, 1]; "
                f"got {temperature}, {weight} and {momentum}."
            )
        self.crops = two_crops(size, jitter=(0.4, 0.4, 0.2, 0.1))
        self.holes = Corrupt(
            size, fill=fill, budget=(budget, budget), paste=paste, side=side, align=align, name="SiT"
        )
        self.repainter = Repainter(encoder.out_dim, patch) if "repair" in parts else None
        self.projector = projector(encoder.out_dim, hidden, dim) if "contrast" in parts else None
        self.teacher = Teacher(nn.Sequential(encoder, self.projector)) if self.projector is not None else None
        self.weight, self.temperature, self.momentum = weight, temperature, momentum

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options(options)

    def views(self, batch: ImageBatch) -> list[Corrupted]:
        return [self.corrupt(view.pixels) for view in self.crops(batch)]

    def corrupt(self, clean: Tensor) -> Corrupted:
        """Spoil groups of pixels in views ``(B, 3, S, S)``; they stay as they were."""
        return self.holes(clean, self.encoder.mean, self.encoder.std)

    def loss(self, views: list[Corrupted]) -> dict[str, Tensor]:
        both = Corrupted(*(torch.cat([getattr(v, f) for v in views]) for f in ("clean", "pixels", "mask")))
        seen = self.encoder(both.pixels)
        terms = {}
        if self.projector is not None and self.teacher is not None:
            s_a, s_b = self.projector(seen).chunk(2)
            t_a, t_b = (gather(keys) for keys in self.teacher(both.clean).chunk(2))  # own rows first
            contrast = info_nce(s_a, t_b, temperature=self.temperature)
            contrast = contrast + info_nce(s_b, t_a, temperature=self.temperature)
            terms["contrast"] = 2 * self.temperature * contrast
        if self.repainter is not None:
            error, psnr = hole_error(self.reconstruct(seen), both, self.encoder.std)
            self.watch("hole_psnr", psnr)
            terms["repair"] = self.weight * error  # λ
        return terms

    def reconstruct(self, seen: Features) -> Tensor:
        """Return the repaired views ``(B, 3, S, S)``, on the scale of pixels in [0, 1]."""
        assert self.repainter is not None
        return self.repainter(seen.tokens).to(self.encoder.std.dtype) * self.encoder.std + self.encoder.mean

    def step_end(self, clock: Clock) -> None:
        if self.teacher is not None:
            self.teacher.follow(keep=clock.cosine(self.momentum, 1.0))


def projector(into: int, hidden: int, out: int) -> Head:
    """Return the head of the contrasted vectors: three layers, the last one normalised without scale."""
    return Head(
        nn.Linear(into, hidden, bias=False),  # a bias that batch norm would remove
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.GELU(),
        nn.Linear(hidden, out, bias=False),
        nn.BatchNorm1d(out, affine=False),
    )
