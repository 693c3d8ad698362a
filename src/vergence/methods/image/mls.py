"""Multi-Label Self-Supervised Learning with Scene Images (MLS), arXiv:2308.03286."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from vergence.core import BadInput, Clock, Method, Recipe, pooled
from vergence.engine.distributed import gather_by_rank
from vergence.nets import Teacher, mlp, width_of
from vergence.nets.memory import MemoryQueue


class MLS(Method):
    """Say of every earlier photo whether it is among those most alike: yes or no, many times yes.

    Two dictionaries are filled in step by a slowly moving copy: with vectors of the encoder, which pick each
    photo's positives, and with projections, among which they are to be found. What picks is not what the loss
    trains.

    Zhu, Fu, Wu 2023, arXiv:2308.03286. Differs from the paper: logits have a bias, without which the many
    negatives drive all projections away from the dictionary's mean, which follows, and training collapses; it
    and the temperature stay as they are, where SigLIP, arXiv:2303.15343, starts at the same relation of both
    and learns them; costs are summed over the dictionary and averaged over the batch, as SigLIP's are, so
    that MoCo's rates serve, for a mean over both divides all gradients by D; keys of the batch stand beside
    the D earlier ones, not in place of the oldest; D and the recipe are not the paper's, which were not at
    hand; keys of a batch are not shuffled among processes before batch norm.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the projections.
        hidden: Width of the projector's hidden layer; None takes the encoder's.
        queue: Earlier photos that are kept, D.
        positives: Most similar ones of the dictionary that count as positive, k.
        temperature: Divides the cosines, above 0.
        bias: Added to the logits, so that at first all answers are no; None takes -1 / temperature, by which
            a cosine of 1 is as much yes as no.
        momentum: Share of the teacher kept each step, in [0, 1].
    """

    recipe = Recipe(optimizer="sgd", lr=0.03, batch=256, epochs=400, weight_decay=1e-4)
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        queue: int = 8192,
        positives: int = 20,
        temperature: float = 0.2,
        bias: float | None = None,
        momentum: float = 0.999,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not 0 <= momentum <= 1 or not 1 <= positives <= queue:
            raise BadInput(
                f"MLS needs temperature > 0, momentum in [0, 1] and 1 <= positives <= queue; "
                f"got {temperature}, {momentum}, {positives} and {queue}."
            )
        width = width_of(encoder)
        self.projector = mlp(width, hidden or width, dim, norm=False)
        self.teacher, self.teacher_projector = Teacher(encoder), Teacher(self.projector)
        self.queue = MemoryQueue(queue, width, dim)
        self.positives, self.momentum = positives, momentum
        self.temperature, self.bias = temperature, -1 / temperature if bias is None else bias
        self.fresh_keys: list[tuple[Tensor, Tensor]] = []

    def loss(self, views: list[Any]) -> dict[str, Tensor]:
        seen, meant = self.encode(views[0]), pooled(self.teacher(views[1]))
        said, key = self.projector(seen), self.teacher_projector(meant)
        precision = self.queue.rows[0].dtype
        with torch.autocast(said.device.type, enabled=False):  # half precision would tie many cosines
            seen, said, *fresh = (normalize(x.to(precision), dim=1) for x in (seen, said, meant, key))
            self.fresh_keys.append((fresh[0], fresh[1]))
            vectors, projections = (
                torch.cat([gather_by_rank(new), old]) for new, old in zip(fresh, self.queue.rows, strict=True)
            )
            labels = self.label(seen.detach(), vectors)
            logits = said @ projections.T / self.temperature + self.bias
            cost = binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            return {"labels": cost / len(labels)}

    def label(self, seen: Tensor, vectors: Tensor) -> Tensor:
        """Return 1 for the k rows of ``vectors (M, D)`` most similar to each of ``seen (B, D)``, else 0.

        All rows are of unit length.
        """
        scores = seen @ vectors.T
        return torch.zeros_like(scores).scatter_(1, scores.topk(self.positives, 1).indices, 1.0)

    def step_end(self, clock: Clock) -> None:
        vectors, projections = (torch.cat(keys) for keys in zip(*self.fresh_keys, strict=True))
        self.queue.push(gather_by_rank(vectors), gather_by_rank(projections))
        self.fresh_keys.clear()
        self.teacher.follow(self.momentum)
        self.teacher_projector.follow(self.momentum)
