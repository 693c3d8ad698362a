"""PCD on mosaics: a small student taught cell by cell, by mean vectors, or by nobody.

The 48 pixels of a tile tell kinds here by .80 to .83 with seeds 0 to 4, more than the student's 4 numbers do;
and alone, the student learns something with one seed of five.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._mosaics import MOSAICS, BothLooks, on_tiles
from vergence.benchmarks.records.densecl import Tiles, small
from vergence.benchmarks.tasks import Arm, Task
from vergence.methods.image.distill import Distill
from vergence.methods.image.pcd import PCD, cells_of
from vergence.views.pixels.augment import View

WIDTH = 8  # of the teacher
learns = on_tiles(epochs=8, dim=WIDTH // 2)


@cache
def teacher(seed: int) -> nn.Module:
    """Train DenseCL and return its encoder."""
    source, _ = MOSAICS.data(seed)
    torch.manual_seed(seed)
    training = on_tiles(dim=WIDTH)
    return training.train(Tiles(training.start(source), **small), source, seed)


class Student(BothLooks, PCD):  # type: ignore[misc]
    """PCD of both looks at a mosaic."""


class OfMeans(Student):
    """The mean of a photo's cells is held against the mean of the teacher's."""

    def say(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        cells, grid = cells_of(self.encoder, self.encoder(view))
        return self.project(self.relate(cells).mean(1))[:, None], grid

    def teach(self, view: View, grid: tuple[int, ...]) -> Tensor:
        return super().teach(view, grid).mean(1, keepdim=True)


def taught(method: type[PCD]) -> Arm:
    """Return the arm of a student of that seed's teacher."""

    def arm(task: Task, seed: int) -> Any:
        student = partial(method, teacher=teacher(seed), hidden=32, heads=2, queue=512)
        return learns(student)(task, seed)

    return arm


MECHANISM = Mechanism(
    "The mosaics of densecl's record, where the mean of a photo's tiles says nothing of kinds. A teacher of "
    "8 numbers a tile, trained by DenseCL, is handed on to a student of 4, one linear map as well: tile by "
    "tile, or by mean vectors, all else alike, in half of the teacher's steps. Alone, DenseCL trains the "
    "student for all of them. Tiles are seen one by one, and the teacher brings no head, so that attention "
    "and SpatialAdaptor are not what is shown here.",
    task=MOSAICS,
    arms={
        "paper": taught(Student),
        "mean vectors": taught(OfMeans),
        "alone": learns(partial(Tiles, **small), epochs=16),
        "untrained": learns.untrained,
    },
)
PARITY = Parity(
    "official",
    "github.com/allo-rene/pcd, _pixelwise_contrastive_loss and queue of pcd/pcd.py, SpatialReLU and the head "
    "as load_mocov3_resnet50 adapts it, the student's head of build_student_mlp: losses, gradients and queue "
    "over six steps of SGD in float32, both networks on one crop, without attention (in float64 8.7e-8, "
    "since keys are queued in float32)",
    commit="6b0ad4dc92940ea6995bb56916bdf7b3fe6ec64c",
    max_abs=3.9e-07,
    max_rel=6.6e-06,
)
train = short(epochs=6, width=32, blocks=(1, 1))
options: dict[str, Any] = {"teacher": "vergence:conv-tiny", "hidden": 256, "queue": 2048}

RECORD = Record(
    key="pcd",
    claim="Taught cell by cell, a small network learns what mean vectors do not hand on.",
    task=cifar10(),
    arms={
        "paper": train(partial(PCD, **options)),
        "without attention": train(partial(PCD, **options, heads=0)),
        "whole vectors": train(partial(Distill, teacher="vergence:conv-tiny")),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="A small ResNet with 8 x 8 cells for 234 steps at a batch of 128, AdamW in place of LARS. Photos of "
    "one thing each, judged by their mean vectors, are not what the cells are for.",
    mechanism=MECHANISM,
    parity=PARITY,
)
