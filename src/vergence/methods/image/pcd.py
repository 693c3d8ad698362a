"""Pixel-Wise Contrastive Distillation, arXiv:2211.00218."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from vergence.core import BadInput, Clock, Features, Method, Recipe, input_spec
from vergence.core.specs import name_of
from vergence.engine.distributed import gather_by_rank
from vergence.engine.encoders import with_weights
from vergence.losses import queue_nce
from vergence.nets import mlp, width_of
from vergence.nets.memory import MemoryQueue
from vergence.views.pixels.augment import View


class SpatialAdaptor(nn.Module):
    """A head of vectors that reads maps: the mean of its answers is the head's answer to the mean cell.

    Linear layers and batch norms, with their running statistics, take cell by cell. A ReLU keeps or drops a
    channel for all cells of a photo together: by the sign of its mean, as it would for the mean cell.

    Args:
        head: Of linear layers, batch norms and ReLUs, vectors ``(B, D)`` -> ``(B, E)``. A copy is frozen.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        layers = [part for part in copy.deepcopy(head).modules() if not list(part.children())]
        for layer in layers:
            if not isinstance(layer, nn.Linear | nn.BatchNorm1d | nn.ReLU | nn.Identity):
                raise BadInput(
                    "SpatialAdaptor reads heads of linear layers, batch norms and ReLUs; "
                    f"got a {type(layer).__name__}."
                )
        self.layers = nn.ModuleList(layers).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SpatialAdaptor:
        """Stay as it is: batch norms keep the statistics that the head was trained with."""
        return super().train(False)

    def forward(self, cells: Tensor) -> Tensor:
        """Map cells ``(B, N, D)`` to ``(B, N, E)``."""
        photos = len(cells)
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                cells = cells * (cells.mean(1, keepdim=True) > 0)
            else:
                cells = layer(cells.flatten(0, 1)).unflatten(0, (photos, -1))
        return cells


class Relate(nn.Module):
    """Cells ``(B, N, D)`` that have looked at each other: multi-head self-attention about a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, cells: Tensor) -> Tensor:
        x = self.norm(cells)
        return cells + self.look(x, x, x, need_weights=False)[0]


class PCD(Method):
    """Make each cell of a small network say what the same cell of a trained one says; labels are not needed.

    Student and teacher see the same crop. The student's cells look at each other and are projected; each is
    to find the teacher's cell in its place among mean cells of other photos, one a photo. Attention and
    projector are dropped after training.

    Huang, Guo 2023, arXiv:2211.00218. Differs from the paper: a teacher by its name brings no head, and its
    cells themselves are learned from; the attention is one layer of 4 heads after a layer norm, since the
    released code has none to read its settings from; cells of another grid are mixed bilinearly. Differs from
    the released code (which says that it is unfinished): there, cells of two different crops are compared
    place by place, and the teacher's batch norms take the statistics of the batch.

    Args:
        encoder: The student: maps images ``(B, 3, S, S)`` to ``Features`` with tokens.
        teacher: The name of the encoder that is learned from: "timm:NAME" (with its weights), "run:PATH",
            "vergence:NAME"; in Python also the encoder itself. It is not trained.
        teacher_size: Side in pixels at which the teacher reads; None takes its own.
        teacher_head: Its own projection head of vectors, in Python; see ``SpatialAdaptor``. None: its cells.
        hidden: Width of the projector's hidden layers.
        heads: Of the attention; 0 leaves it out.
        queue: Earlier photos that are kept, K.
        temperature: Softmax temperature, above 0.
    """

    recipe = Recipe(optimizer="lars", lr=4.0, batch=1024, epochs=100, weight_decay=1e-5, warmup=10)
    views = "two_crops"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        teacher: Any = None,
        teacher_size: int | None = None,
        teacher_head: Any = None,
        hidden: int = 4096,
        heads: int = 4,
        queue: int = 65_536,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(encoder)
        if teacher is None:
            raise BadInput("pcd needs a teacher, such as timm:resnet50, run:PATH or vergence:NAME.")
        width = width_of(encoder)
        if temperature <= 0 or queue < 1 or heads < 0 or (heads and width % heads):
            raise BadInput(
                f"PCD needs temperature > 0, a queue of 1 or more, and heads that divide the encoder's width "
                f"{width}, or 0; got {temperature}, {queue} and {heads}."
            )
        made = with_weights(teacher) if isinstance(teacher, str) else teacher
        self.teacher = made.requires_grad_(False).eval()
        self.teacher_size = teacher_size or (input_spec(made) or {}).get("size")
        self.adaptor = SpatialAdaptor(nn.Identity() if teacher_head is None else teacher_head)
        dim = self.adaptor(torch.zeros(1, 1, width_of(made))).shape[2]
        self.relate = Relate(width, heads) if heads else nn.Identity()
        self.project = nn.Sequential(  # the teacher's projector and predictor, anew
            mlp(width, hidden, dim, last_bias=False), mlp(dim, hidden, dim, last_bias=False)
        )
        self.queue = MemoryQueue(queue, dim)
        self.temperature = temperature
        self.fresh_keys: list[Tensor] = []

    def train(self, mode: bool = True) -> PCD:
        """Set the student's mode; the teacher is never in training."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        (queue,) = self.queue.rows
        costs = []
        for view in views:
            said, grid = self.say(view)
            meant = self.teach(view, grid)
            costs.append(
                queue_nce(said.flatten(0, 1), meant.flatten(0, 1), queue, temperature=self.temperature)
            )
            if view is views[0]:
                self.fresh_keys.append(normalize(meant.float().mean(1), dim=1))
        return {"cells": torch.stack(costs).mean()}

    def say(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the student's projected cells ``(B, N, E)`` and their grid."""
        cells, grid = cells_of(self.encoder, self.encoder(view))
        related = self.relate(cells)
        return self.project(related.flatten(0, 1)).unflatten(0, related.shape[:2]), grid

    @torch.no_grad()
    def teach(self, view: View, grid: tuple[int, ...]) -> Tensor:
        """Return what the teacher says of the cells of the student's grid, ``(B, N, E)``."""
        pixels, size = view.pixels, self.teacher_size
        if size and size != pixels.shape[-1]:
            pixels = interpolate(
                pixels, (size, size), mode="bilinear", align_corners=False, antialias=size < pixels.shape[-1]
            )
        cells, own = cells_of(self.teacher, self.teacher(pixels))
        meant = self.adaptor(cells)
        if own == grid:
            return meant
        maps = meant.mT.unflatten(2, own)
        return interpolate(maps, grid, mode="bilinear", align_corners=False).flatten(2).mT

    def step_end(self, clock: Clock) -> None:
        self.queue.push(gather_by_rank(torch.cat(self.fresh_keys)))
        self.fresh_keys.clear()


def cells_of(encoder: nn.Module, seen: Tensor | Features) -> tuple[Tensor, tuple[int, ...]]:
    """Return an encoder's cells ``(B, N, D)`` and their grid."""
    if not isinstance(seen, Features) or seen.tokens is None or seen.grid is None:
        raise BadInput(
            f"PCD needs a student and a teacher with cells; {name_of(encoder)} has none. "
            "Take resnet-tiny, resnet18 or a vision transformer."
        )
    return seen.tokens, seen.grid
