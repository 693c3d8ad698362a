"""GMML on CIFAR-10: groups against single patches, holes against whole images; judged by fine-tuning."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.methods.image.gmml import GMML
from vergence.nets.vit import ViT
from vergence.views.pixels.corrupt import Corrupt, Corrupted


class SingleCells(Corrupt):
    """The same budget in patches drawn one by one."""

    def __init__(self, holes: Corrupt, grid: int) -> None:
        vars(self).update(vars(holes))
        self.grid = grid

    def groups(self, budget: Tensor, cells: int) -> Tensor:
        rank = torch.rand(len(budget), self.grid**2, device=budget.device).argsort(1).argsort(1)
        mask = (rank < budget[:, None] * self.grid**2).unflatten(1, (self.grid, self.grid))
        return mask.repeat_interleave(cells // self.grid, 1).repeat_interleave(cells // self.grid, 2)


class SinglePatches(GMML):
    """The holes are single patches."""

    def __init__(self, encoder: ViT, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.holes = SingleCells(self.holes, encoder.grid)


class AllPixels(GMML):
    """The repair counts everywhere, also where nothing was spoilt."""

    def loss(self, views: Corrupted) -> dict[str, Tensor]:
        return super().loss(dataclasses.replace(views, mask=torch.ones_like(views.mask)))


PARITY = Parity(
    "official",
    "github.com/Sara-Ahmed/GMML, VisionTransformer of 12 blocks and RECHead of vision_transformer.py with "
    "the loss of main.py, the same holes: loss and gradients of three random batches, float32 (in float64 "
    "3.1e-15 of the largest)",
    commit="1882712745e87166c26dd77c1dd346f84fde6064",
    max_abs=1.2e-07,
    max_rel=1.7e-06,
)

train = Training(
    "vit-micro", {"pool": "mean"}, epochs=12, batch=64, size=32, settings={"lr": 1e-3, "warmup": 0.5}
)

RECORD = Record(
    key="gmml",
    claim="Repairing groups of patches, in the holes only, gives a ViT a better start than random weights.",
    task=cifar10(TENTH, train=10_000, test=2_000),
    arms={
        "paper": train(GMML),
        "single patches": train(SinglePatches),
        "all pixels": train(AllPixels),
        "untrained": train.untrained,
    },
    seeds=(0, 1, 2),
    note="12 epochs on 10,000 photos; the paper: 800 epochs on all. Results of 2026-11-21 are of "
    "rectangles of up to 2.4 patches, where the paper's are of up to 4.2, so that what is seen lay nearer "
    "than with single patches; they await a repetition.",
    parity=PARITY,
)
