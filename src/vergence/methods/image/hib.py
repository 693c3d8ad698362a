"""Modeling Uncertainty with Hedged Instance Embedding (HIB), arXiv:1810.00319.

An image is not a point but a cloud, a normal distribution of its own mean and deviations. Two images match
with the probability that points drawn from their clouds do (Eq. 3 and 6),

    p(m | x1, x2) = 1/K² Σ_ij σ(b - a ‖z1_i - z2_j‖),    z = μ(x) + s(x) ε,

and training minimises

    -log p(m = truth | x1, x2) + β [KL(N(μ1, s1²) | N(0, I)) + KL(N(μ2, s2²) | N(0, I))].

A picture that could show several things covers them all. How unsure one is of it is the chance that its cloud
does not match itself (Eq. 8): η(x) = 1 - p(m | x, x).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vergence.core import BadInput, Method, Recipe, input_spec, pooled
from vergence.core.specs import wrapping
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.nets import width_of
from vergence.nets.image_encoder import Images, image_size
from vergence.views.pixels.augment import Augment

Views = tuple[Tensor, Tensor, Tensor]


class Hedged(nn.Module):
    """An encoder with a cloud for each image, and what makes distances probabilities. A run keeps this one.

    Args:
        encoder: Maps images to ``(B, D)`` or ``Features``.
        dim: Numbers of a point.
    """

    def __init__(self, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        self.backbone = encoder
        self.out_dim = dim
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, dim=dim)
        self.mean, self.spread = (nn.Linear(width_of(encoder), dim) for _ in range(2))
        # At the scale of N(0, I) a point is then near few others, so that to cover more takes a cloud.
        self.log_slope = nn.Parameter(torch.tensor(math.log(5.0)))  # log a
        self.shift = nn.Parameter(torch.tensor(5.0))  # b

    def forward(self, images: Images) -> Tensor:
        """Return the means ``(B, dim)``."""
        return self.mean(pooled(self.backbone(images)))

    def clouds(self, images: Images) -> tuple[Tensor, Tensor]:
        """Return means and deviations, ``(B, dim)`` both."""
        vectors = pooled(self.backbone(images))
        return self.mean(vectors), softplus(self.spread(vectors))

    def points(self, images: Images, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Return points drawn from the clouds, ``(B, draws, dim)``."""
        mean, deviation = self.clouds(images)
        noise = torch.randn(
            (len(mean), draws, self.out_dim), generator=generator, device=mean.device, dtype=mean.dtype
        )
        return drawn(mean, deviation, noise)

    def matching(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the probabilities ``(B,)`` that clouds match, from points of each, ``(B, K, dim)`` both."""
        return match_probability(first, second, self.log_slope.exp(), self.shift)

    @torch.no_grad()
    def uncertainty(
        self, images: Images, *, draws: int = 64, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the chance ``(B,)`` that an image does not match itself, η; at least σ(-b).

        Args:
            images: B of them.
            draws: Points of either of the two draws.
            generator: Of the images' device.
        """
        first, second = self.points(images, 2 * draws, generator).chunk(2, dim=1)
        return 1 - self.matching(first, second)


class HIB(Method):
    """Learn from labels which images match, and how unsure of it one has to be of each.

    Oh, Murphy, Pan, Roth, Schroff, Gallagher 2019, arXiv:1810.00319. Differs from the paper: one normal
    distribution an image, no mixture of several; all pairs of a batch are compared, where the paper draws as
    many that match as that do not, and both kinds weigh the same; a deviation is the softplus of a linear
    layer; views are cropped and mirrored as options say, by default not at all. Optimizer and rate, and the
    5 at which a and b start, are the library's.

    A step holds the distances of the points of all pairs at once, B² K² / 2 of them; B counts the images of
    all processes.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        dim: Numbers of a point; the paper takes 2 or 3.
        draws: K, points an image, 1 or more.
        beta: β, of the divergence from N(0, I), 0 or more.
    """

    reads = ("labels",)
    recipe = Recipe(optimizer="adam", lr=1e-3, lr_scaling="none", batch=128, epochs=100, schedule="constant")
    encoder: Hedged

    def __init__(self, encoder: nn.Module, *, dim: int = 3, draws: int = 8, beta: float = 1e-4) -> None:
        super().__init__(encoder if isinstance(encoder, Hedged) else Hedged(encoder, dim))
        if draws < 1 or beta < 0 or dim < 1:
            raise BadInput(
                f"HIB needs dim and draws of 1 or more and beta >= 0; got {dim}, {draws} and {beta}."
            )
        self.draws, self.beta = draws, beta
        whole: dict[str, Any] = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
        self.crop = Augment(image_size(encoder), jitter_p=0.0, grey=0.0, blur=0.0, **whole)

    def setup(self, source: Source) -> None:
        labels = source.labels
        if labels is None or labels.min() < 0:
            raise BadInput(f"HIB learns from labels, and not every image of {source.uri} has one.")
        if np.unique(labels, return_counts=True)[1].max() < 2:
            raise BadInput(f"HIB learns from images that match; no two of {source.uri} are of one class.")

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return images ``(B, 3, S, S)``, their labels ``(B,)`` and noise ``(B, K, dim)``."""
        pixels = self.crop(batch).pixels
        noise = torch.randn(len(pixels), self.draws, self.encoder.out_dim, device=pixels.device)
        return pixels, batch.label, noise

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, label, noise = views
        mean, deviation = (part.float() for part in self.encoder.clouds(images))
        points, kind = gather(drawn(mean, deviation, noise)), gather(label)
        i, j = torch.triu_indices(len(points), len(points), 1, device=points.device)
        p = self.encoder.matching(points[i], points[j])
        self.watch("deviation", deviation.mean())
        return {
            "match": match_cost(p, kind[i] == kind[j]),
            "divergence": self.beta * 2 * divergence(mean, deviation).mean(),  # of both images of a pair
        }


def drawn(mean: Tensor, deviation: Tensor, noise: Tensor) -> Tensor:
    """Return points ``(B, K, D)`` of clouds ``(B, D)`` from standard normal noise ``(B, K, D)``."""
    return mean[:, None] + deviation[:, None] * noise


def match_probability(first: Tensor, second: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """Return the mean of σ(shift - slope · distance) over all pairs of points, ``(P,)``: Eq. 3 and 6.

    Args:
        first: ``(P, K, D)``, points of one cloud a pair.
        second: ``(P, L, D)``, of the other.
        slope: a, above 0.
        shift: b; where all points meet the probability is σ(b).
    """
    return torch.sigmoid(shift - slope * distances(first, second)).mean((1, 2))


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return Euclidean distances ``(P, K, L)``; those of points that meet have the gradient 0."""
    squares = (first[:, :, None] - second[:, None]).square().sum(3)
    return torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)


def match_cost(p: Tensor, match: Tensor) -> Tensor:
    """Return the cross-entropy of match probabilities, of which both kinds of pairs have one half.

    Args:
        p: ``(P,)`` in [0, 1].
        match: ``(P,)`` bool.
    """
    p = p.clamp(1e-7, 1 - 1e-7)
    cost = -torch.where(match, p, 1 - p).log()
    halves = [(cost * kind).sum() / kind.sum().clamp_min(1) for kind in (match, ~match)]
    return (halves[0] + halves[1]) / 2


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return KL(N(mean, deviation²) | N(0, I)) ``(B,)`` in nats, of ``(B, D)`` both."""
    floor = math.sqrt(torch.finfo(deviation.dtype).tiny)
    variance = deviation.clamp_min(floor).square()
    return 0.5 * (variance + mean.square() - 1 - variance.log()).sum(1)
