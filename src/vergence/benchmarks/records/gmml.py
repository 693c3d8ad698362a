"""GMML on CIFAR-10: groups against single patches, holes against whole images; judged by fine-tuning."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import Metric
from vergence.data import Source
from vergence.evaluate.protocols.finetune import finetune
from vergence.evaluate.score import Score
from vergence.methods.image.gmml import GMML, Corrupted


class SinglePatches(GMML):
    """The same budget in patches drawn one by one."""

    def groups(self, budget: Tensor, cells: int) -> Tensor:
        grid: int = self.encoder.grid  # type: ignore[assignment]
        rank = torch.rand(len(budget), grid * grid, device=budget.device).argsort(1).argsort(1)
        mask = (rank < budget[:, None] * grid**2).unflatten(1, (grid, grid))
        return mask.repeat_interleave(cells // grid, 1).repeat_interleave(cells // grid, 2)


class AllPixels(GMML):
    """The repair counts everywhere, also where nothing was spoilt."""

    def loss(self, views: Corrupted) -> dict[str, Tensor]:
        return super().loss(dataclasses.replace(views, mask=torch.ones_like(views.mask)))


def tenth(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Fine-tune on every tenth label."""
    return finetune(encoder, train, test, epochs=20, batch_size=64, labels_share=0.1, seed=seed)


TENTH = Metric("accuracy after fine-tuning on 1,000 labels; untrained: from scratch", tenth)
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
    note="12 epochs on 10,000 photos; the paper: 800 epochs on all.",
)
