"""On Learning Discriminative Features from Synthesized Data for Self-Supervised Fine-Grained Visual Recognition, arXiv:2407.14676."""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vergence.core import BadInput, Clock
from vergence.losses import negative_cosine
from vergence.methods.image.cdjp import Painter
from vergence.methods.pairs.simsiam import SimSiam
from vergence.nets import width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import View


class SynFGVR(SimSiam):
    """Paint pictures that differ in what tells nothing apart, and learn to see them as the same.

    SimSiam, and a painter of pictures from vectors. The dimensions that discriminate least are perturbed, by
    two criteria: those of the least variance over the data, and those that the loss asks for least (weights
    of Grad-CAM). What is painted from a vector as it is and from the perturbed one is a pair of views.

    Wang, Liu, Figueroa Weston, Tian, Li 2024, arXiv:2407.14676. No code was published. Differs from the
    paper, of which share and size of the perturbation could not be checked: SimSiam alone is the base, not
    MoCo v2; Grad-CAM's weight is read at the pooled vector, to which a map's is proportional where it is
    pooled by its mean; noise is as large as dimensions deviate on average (root mean square); painted
    pictures get no gradient.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``; 4 divides S.
        dim: Width of the predicted vectors; None takes D.
        hidden: Width of the projector's hidden layers; None takes D.
        predictor_hidden: Width of the predictor's hidden layer; None takes ``dim`` / 4.
        paint: α, weight of the painter's squared error, above 0.
        synthesized: ν, weight of the painted pairs' loss, at least 0.
        share: Of the dimensions that either criterion perturbs, in [0, 1].
        noise: Deviation of the perturbation, as a multiple of what dimensions deviate on average; above 0.
        start: Share of the training after which painted pairs count, in [0, 1].
        painter_width: Channels of the painter's first map.
    """

    variance: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int | None = None,
        hidden: int | None = None,
        predictor_hidden: int | None = None,
        paint: float = 1.0,
        synthesized: float = 1.0,
        share: float = 0.25,
        noise: float = 1.0,
        start: float = 0.2,
        painter_width: int = 64,
    ) -> None:
        super().__init__(encoder, dim=dim, hidden=hidden, predictor_hidden=predictor_hidden)
        width, size = width_of(encoder), image_size(encoder)
        if paint <= 0 or noise <= 0 or synthesized < 0 or not (0 <= share <= 1 and 0 <= start <= 1):
            raise BadInput(
                "SynFGVR needs paint and noise above 0, synthesized of at least 0, and share and start in "
                f"[0, 1]; got {paint}, {noise}, {synthesized}, {share} and {start}."
            )
        if size % 4:
            raise BadInput(f"SynFGVR paints pictures whose side 4 divides; got {size}.")
        self.painter = Painter(width, 3, size, painter_width)
        self.register_buffer("variance", torch.ones(width))
        self.paint, self.synthesized, self.share = paint, synthesized, share
        self.noise, self.start = noise, start

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[Any]) -> None:
        """Measure the variance of each dimension over all of the data."""
        training = self.training
        vectors = torch.cat([self.eval().embed(batch).float() for batch in loader])
        self.train(training)
        self.variance = vectors.var(0, unbiased=False)

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        seen = [self.encode(view).requires_grad_() for view in views]  # h
        with torch.enable_grad():  # Grad-CAM's weights are asked for where a loss is only measured, too
            alike = self.alike(*seen)
        shown = torch.cat([view.pixels for view in views])
        painted = self.painter(torch.cat(seen))
        terms = {"predict": alike, "paint": self.paint * mse_loss(painted, shown)}
        if self.synthesized and self.clock.progress >= self.start:
            slope = torch.autograd.grad(alike, seen, retain_graph=True)[0]
            first, other = self.synthesize(seen[0].detach(), -slope)
            terms["synthesized"] = self.synthesized * self.alike(self.encode(first), self.encode(other))
        return terms

    def alike(self, first: Tensor, second: Tensor) -> Tensor:
        """Return SimSiam's loss of vectors h of two views."""
        z = self.projector(first), self.projector(second)
        p = self.predictor(z[0]), self.predictor(z[1])
        both = negative_cosine(p[0], z[1].detach()) + negative_cosine(p[1], z[0].detach())
        return both / 2

    @torch.no_grad()
    def synthesize(self, vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures of vectors ``(B, D)`` as they are and perturbed, ``(B, 3, S, S)`` each.

        Args:
            vectors: h.
            weights: ``(B, D)``, by how much the loss falls as each number rises.
        """
        mask = self.idle(weights)
        deviation = self.noise * self.variance.mean().sqrt()
        perturbed = vectors + mask * deviation * torch.randn_like(vectors)
        first, other = self.painter(vectors), self.painter(perturbed)
        self.watch("painted_apart", (first - other).square().mean().sqrt())
        return first, other

    def idle(self, weights: Tensor) -> Tensor:
        """Return which dimensions discriminate least by either criterion, ``(B, D)`` bool."""
        count = round(self.share * weights.shape[1])
        still = torch.zeros_like(weights, dtype=torch.bool)
        still[:, self.variance.argsort()[:count]] = True
        return still.scatter(1, weights.argsort(1)[:, :count], torch.ones_like(still))
