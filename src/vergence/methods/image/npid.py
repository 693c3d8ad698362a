"""Unsupervised Feature Learning via Non-Parametric Instance-level Discrimination (NPID), arXiv:1805.01978."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from vergence.core import Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.source import Source
from vergence.engine.distributed import gather, mean_over_processes
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.memory import MemoryBank
from vergence.views.pixels.augment import Augment, View


class NPID(Method):
    """Make every photo its own class; a memory of all photos stands in for the classifier's weights.

    Wu, Xiong, Yu, Lin 2018, arXiv:1805.01978. Differs from the paper: the proximal penalty λ‖v - M_i‖² of
    Eq. 10 acts through the memory's moving average, as in the released code, not as a term of the loss; in
    the released code every photo's colours are jittered, hue by .4 of a circle, here four in five, hue by
    .1; and photos are mirrored, which its run on CIFAR-10 leaves out. Weight decay and temperature default
    to the CIFAR-10 settings.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        dim: Width of the code that stands for a photo.
        temperature: Softmax temperature, above 0. 0.07 is the paper's for ImageNet, 0.1 for CIFAR-10.
        momentum: Share of a row of the memory that is kept when its photo is seen, in [0, 1).
        negatives: Rows of the memory that the noise-contrastive estimate draws for each photo, at
            least 1.
        exact: Compare with the whole memory (Eq. 2) instead of estimating (Eq. 7); None does so up
            to 50,000 photos.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.03, batch=128, epochs=200, weight_decay=5e-4,
        schedule="steps", milestones=(0.6, 0.8), gamma=0.1,
    )  # fmt: skip
    encoder: ImageEncoder
    log_z: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        dim: int = 128,
        temperature: float = 0.1,
        momentum: float = 0.5,
        negatives: int = 4096,
        exact: bool | None = None,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not 0 <= momentum < 1 or negatives < 1:
            raise ValueError(
                f"NPID needs temperature > 0, momentum in [0, 1) and 1 or more negatives; "
                f"got {temperature}, {momentum} and {negatives}."
            )
        self.project = nn.Linear(encoder.out_dim, dim)
        self.temperature = temperature
        self.negatives, self.exact = negatives, exact
        self.crop = Augment(image_size(encoder))  # crop 0.2 to 1, jitter 0.4, grey 0.2
        self.memory = MemoryBank(dim, momentum)  # M: unit rows, one a photo
        self.register_buffer("log_z", torch.tensor(torch.nan))  # of Z in Eq. 5, from the first batch
        self.seen_codes: list[tuple[Tensor, Tensor]] = []

    def setup(self, source: Source) -> None:
        """Give every photo of ``source`` a random unit row in the memory."""
        self.memory.start(len(source), self.project.weight.device)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> tuple[View, Tensor]:
        """Return one view of each photo and the photos' rows in their source."""
        return self.crop(batch), batch.index

    def code(self, images: Any) -> Tensor:
        """Return v: the unit vectors ``(B, dim)`` that stand for photos."""
        return normalize(self.project(self.encode(images)).float(), dim=1)

    @torch.no_grad()
    def embed(self, batch: Any) -> Tensor:
        """Return the codes ``(B, dim)``: the paper searches by them."""
        return self.code(batch)

    def loss(self, views: tuple[View, Tensor]) -> dict[str, Tensor]:
        view, index = views
        bank = self.memory.rows
        if bank is None:
            raise ValueError("NPID needs its memory before the first loss; call setup(source).")
        v = self.code(view)
        self.seen_codes.append((index, v.detach()))
        with torch.autocast(v.device.type, enabled=False):
            exact = len(bank) <= 50_000 if self.exact is None else self.exact
            if exact:
                return {"instance": cross_entropy(v @ bank.T / self.temperature, index)}  # Eq. 2
            drawn = torch.randint(len(bank), (len(v), self.negatives), device=v.device)  # P_n = 1/n
            rows = bank[torch.cat([index[:, None], drawn], dim=1)]  # (B, 1 + m, dim), own row first
            scores = torch.einsum("bmd,bd->bm", rows, v) / self.temperature
            self._fix_z(scores.detach(), len(bank))
            return {"instance": self.nce(scores, len(bank))}

    def log_odds(self, scores: Tensor, n: int) -> Tensor:
        """Return log h / (1 - h) = log P / (m P_n) of scores v·M/t: Eq. 6."""
        return scores - self.log_z - math.log(self.negatives / n)

    def nce(self, scores: Tensor, n: int) -> Tensor:
        """Return Eq. 7, averaged over the batch: ``(B, 1 + m)`` scores with a photo's own row first."""
        odds = self.log_odds(scores, n)
        return -(logsigmoid(odds[:, 0]) + logsigmoid(-odds[:, 1:]).sum(dim=1)).mean()

    def _fix_z(self, scores: Tensor, n: int) -> None:
        """Estimate Z = n · mean exp(v·M/t) from the first batch, once and for all: Eq. 8."""
        if self.clock.step == 0 and self.log_z.isnan():  # later steps need not wait for the device
            self.log_z.copy_((n * mean_over_processes(scores.exp().mean())).log())

    @torch.no_grad()
    def step_end(self, clock: Any) -> None:
        """Move the rows of the photos just seen towards their codes; all processes alike."""
        if self.seen_codes:
            index, v = (gather(torch.cat(parts)) for parts in zip(*self.seen_codes, strict=True))
            self.seen_codes.clear()
            self.memory.write(index, v)
