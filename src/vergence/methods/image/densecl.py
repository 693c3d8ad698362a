"""Dense Contrastive Learning for Self-Supervised Visual Pre-Training (DenseCL), arXiv:2011.09157."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.engine.distributed import gather_by_rank
from vergence.losses import queue_nce
from vergence.nets import Teacher, mlp, width_of
from vergence.nets.crops import match_by_place, match_by_similarity
from vergence.nets.memory import MemoryQueue
from vergence.views.pixels.augment import View


class DenseHeads(nn.Module):
    """Project a photo and each of its cells: ``Features`` -> ``(B, dim)`` and ``(B, N, dim)``."""

    def __init__(self, width: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.photo = mlp(width, hidden, dim, norm=False)
        self.cells = mlp(width, hidden, dim, norm=False)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        assert features.tokens is not None
        return self.photo(features), self.cells(features.tokens)


class DenseCL(Method):
    """Find a photo's other view among other photos, and each cell's match in that view among their cells.

    MoCo v2, and the same once more for cells: two match whose features, before any head, are most alike. A
    cell's negatives are the mean cells of earlier photos, one a photo.

    Wang et al. 2021, arXiv:2011.09157. Differs from the paper: keys of a batch are not shuffled among
    processes before batch norm ("shuffling BN"); the heads start as torch's layers do. The recipe is that for
    ImageNet; for COCO the paper takes a rate of 0.3 and 800 epochs.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``Features`` with tokens.
        dim: Width of the contrasted vectors.
        hidden: Width of both heads' hidden layers; None takes the encoder's, as in the paper.
        queue: Earlier photos that are kept, K.
        temperature: Softmax temperature, above 0.
        momentum: Share of the teacher kept each step, in [0, 1].
        dense: Weight of the cells' term, λ in [0, 1]; the photos' has 1 - λ.
        dense_from: Step from which on λ is more than 0; until then, matches mean little.
    """

    recipe = Recipe(optimizer="sgd", lr=0.03, batch=256, epochs=200, weight_decay=1e-4)
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        queue: int = 65_536,
        temperature: float = 0.2,
        momentum: float = 0.999,
        dense: float = 0.5,
        dense_from: int = 0,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not (0 <= momentum <= 1 and 0 <= dense <= 1) or queue < 1:
            raise BadInput(
                f"DenseCL needs temperature > 0, momentum and dense in [0, 1] and a queue of 1 or more; "
                f"got {temperature}, {momentum}, {dense} and {queue}."
            )
        width = width_of(encoder)
        self.heads = DenseHeads(width, hidden or width, dim)
        self.teacher, self.teacher_heads = Teacher(encoder), Teacher(self.heads)
        self.queue = MemoryQueue(queue, dim, dim)
        self.temperature, self.momentum = temperature, momentum
        self.dense, self.dense_from = dense, dense_from
        self.fresh_keys: list[tuple[Tensor, Tensor]] = []

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        seen, meant = self.encoder(views[0]), self.teacher(views[1])
        match = self.match(seen, meant)  # (B, N)
        self.watch("matched", share_in_place(match, views, seen.grid))
        (query, cells), (key, key_cells) = self.heads(seen), self.teacher_heads(meant)
        own = key_cells.gather(1, match[:, :, None].expand_as(cells))
        self.fresh_keys.append((normalize(key, dim=1), normalize(key_cells.mean(1), dim=1)))
        photos, mean_cells = self.queue.rows
        weight = self.dense if self.clock.step >= self.dense_from else 0.0
        contrast = queue_nce(query, key, photos, temperature=self.temperature)
        dense = queue_nce(cells.flatten(0, 1), own.flatten(0, 1), mean_cells, temperature=self.temperature)
        return {"contrast": (1 - weight) * contrast, "dense": weight * dense}  # Eq. 3

    def match(self, seen: Features, meant: Features) -> Tensor:
        """Return the cell of the second view that each cell of the first belongs to, ``(B, N)``."""
        if seen.tokens is None or meant.tokens is None or seen.grid is None:
            raise BadInput(
                f"DenseCL needs an encoder with cells; {type(self.encoder).__name__} has none. "
                "Take --encoder resnet-tiny or resnet18."
            )
        return match_by_similarity(seen.tokens, meant.tokens)

    def step_end(self, clock: Clock) -> None:
        fresh = (torch.cat(keys) for keys in zip(*self.fresh_keys, strict=True))
        self.queue.push(*(gather_by_rank(keys.float()) for keys in fresh))
        self.fresh_keys.clear()
        self.teacher.follow(self.momentum)
        self.teacher_heads.follow(self.momentum)


def share_in_place(match: Tensor, views: list[View], grid: tuple[int, int]) -> Tensor:
    """Return the share of the cells that both views show whose match is the cell at their own place."""
    place, shown = match_by_place(views[0], views[1], grid)
    return ((match == place) & shown).sum() / shown.sum().clamp_min(1)
