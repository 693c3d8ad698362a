"""All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention and Redundancy Reduction.

arXiv:2303.09417.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.source import Source
from vergence.engine.distributed import gather, gather_by_rank
from vergence.losses import info_nce
from vergence.losses.decorrelate import cross_correlation_gap
from vergence.methods.image.views import two_crops
from vergence.nets import Teacher, mlp, width_of
from vergence.nets.image_encoder import image_size
from vergence.nets.memory import MemoryQueue
from vergence.views.pixels.augment import View


class All4One(Method):
    """Find a view by another's neighbours, one by one and as one vector, and by features of its own.

    A teacher's vector of one view asks a queue of earlier photos for its nearest neighbours. The other view
    is to be found by the nearest of them (NNCLR), and by what a small transformer makes of them all, the
    *centroid*; for that the other view's vector takes the first place among its own neighbours, and the last
    of these leaves (the *shift*). Beside both, each feature of teacher and student agrees, and no two do.

    Estepa, Sarasúa, Nagarajan, Radeva 2023, arXiv:2303.09417, as in the authors' solo-learn. Differs from
    both: the transformer learns at the rate of the rest, not at 0.1; features are correlated over all
    processes' rows; LARS's trust coefficient is 0.001, 0.02 in that code. Views are those for CIFAR. Scores
    of a batch and the queue take B x K numbers.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors, a multiple of ``heads``.
        hidden: Width of the projector's hidden layers.
        predictor_hidden: Width of both predictors' hidden layers.
        queue: Earlier photos that are asked for neighbours, K; at most those of the source, so that none of
            them is there twice for long.
        neighbours: Of a vector, k, 2 or more.
        depth: Blocks of the transformer.
        heads: Of its attention.
        dropout: Share of its numbers that is dropped in training, in [0, 1).
        temperature: Of finding a view by its nearest neighbour, above 0.
        centroid_temperature: Of finding it by the centroid, above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        neighbour: Weight of the nearest neighbour's term.
        centroid: Weight of the centroid's.
        feature: Weight of the features'.
    """

    recipe = Recipe(
        optimizer="lars", lr=1.0, lr_scaling="linear", batch=256, epochs=1000, weight_decay=1e-5, warmup=10
    )
    places: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 256,
        hidden: int = 2048,
        predictor_hidden: int = 4096,
        queue: int = 98_304,
        neighbours: int = 5,
        depth: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        temperature: float = 0.2,
        centroid_temperature: float = 0.1,
        momentum: float = 0.99,
        neighbour: float = 0.5,
        centroid: float = 0.5,
        feature: float = 0.5,
    ) -> None:
        super().__init__(encoder)
        if min(temperature, centroid_temperature) <= 0 or not 0 <= momentum <= 1 or dim % heads:
            raise BadInput(
                f"All4One needs temperatures above 0, momentum in [0, 1] and a dim that its heads divide; "
                f"got {temperature}, {centroid_temperature}, {momentum}, {dim} and {heads}."
            )
        if not 2 <= neighbours <= queue:
            raise BadInput(f"All4One needs 2 neighbours or more, of a queue; got {neighbours} of {queue}.")
        self.projector = mlp(width_of(encoder), hidden, hidden, dim, last_norm=True)
        self.predictor = mlp(dim, predictor_hidden, dim)
        self.shift_predictor = mlp(dim, predictor_hidden, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = MemoryQueue(queue, dim)
        self.crops = two_crops(image_size(encoder), scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=0.0)
        self.register_buffer("places", ranks_as_waves(neighbours, dim), persistent=False)
        self.neighbours, self.momentum = neighbours, momentum
        self.temperature, self.centroid_temperature = temperature, centroid_temperature
        self.weights = {"neighbour": neighbour, "centroid": centroid, "feature": feature}
        self.fresh_keys: list[Tensor] = []

    def setup(self, source: Source) -> None:
        """Let the queue hold no more rows than ``source`` has photos."""
        if len(source) < self.neighbours:
            raise BadInput(
                f"All4One needs as many photos as neighbours; {source.uri} has {len(source)} for "
                f"{self.neighbours}."
            )
        self.queue = self.queue.at_most(len(source))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options(options)

    def views(self, batch: ImageBatch) -> list[View]:
        return self.crops(batch)

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        z = [self.projector(self.encode(view)) for view in views]
        keys = [self.keys(view) for view in views]  # m
        self.fresh_keys.append(keys[0])
        near = [self.nearest(key) for key in keys]  # (B, k, dim), nearest first
        centroids = [self.centroid(rows) for rows in near]  # c
        moved = [self.shift(self.shift_predictor(x), rows) for x, rows in zip(z, near, strict=True)]
        shifted = [self.centroid(rows) for rows in moved]  # s
        nearest, predicted = [rows[:, 0] for rows in near], [self.predictor(x) for x in z]
        terms = {
            "neighbour": both_ways(nearest, predicted, self.temperature),
            "centroid": both_ways(centroids, shifted, self.centroid_temperature),
            "feature": 10 * cross_correlation_gap(*(gather(rows) for rows in (*keys, *z))),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def keys(self, view: View) -> Tensor:
        """Return the teacher's unit vectors ``(B, dim)``, in the queue's precision."""
        return normalize(self.teacher(view).to(self.queue.rows[0].dtype), dim=1)

    @torch.no_grad()
    def nearest(self, keys: Tensor) -> Tensor:
        """Return the queue's rows nearest to unit vectors ``(B, dim)``: ``(B, k, dim)``, nearest first."""
        rows, cosines = self.queue.nearest(keys, self.neighbours)
        self.watch("neighbour_cosine", cosines[:, 0].mean())
        return rows

    def shift(self, vector: Tensor, rows: Tensor) -> Tensor:
        """Put ``vector (B, dim)`` in front of neighbours ``(B, k, dim)``, of which the last leaves."""
        return torch.cat([vector[:, None], rows[:, :-1].to(vector.dtype)], dim=1)

    def centroid(self, rows: Tensor) -> Tensor:
        """Return what the transformer says in the first place of ``(B, k, dim)``: ``(B, dim)``."""
        return self.transformer(rows + self.places)[:, 0]

    def step_end(self, clock: Clock) -> None:
        if self.fresh_keys:
            self.queue.push(gather_by_rank(torch.cat(self.fresh_keys)))
            self.fresh_keys.clear()
        self.teacher.follow(clock.cosine(self.momentum, 1.0))


def both_ways(queries: list[Tensor], keys: list[Tensor], temperature: float) -> Tensor:
    """Return the mean cost of finding each view by the other's query: two of ``(B, D)`` each."""
    (first, second), (one, other) = queries, (gather(key) for key in keys)  # own rows first
    return (
        info_nce(first, other, temperature=temperature) + info_nce(second, one, temperature=temperature)
    ) / 2


def ranks_as_waves(count: int, dim: int) -> Tensor:
    """Return ``(count, dim)``: each rank as a wave along the features, sine and cosine in turn.

    The rule is that of sinusoidal positions with ranks and features exchanged, as in the authors' code.
    """
    periods = 10_000 ** (torch.arange(count) // 2 * 2 / (count + count % 2))
    turns = torch.arange(dim) / periods[:, None]
    return torch.where(torch.arange(count)[:, None] % 2 == 0, turns.sin(), turns.cos())
