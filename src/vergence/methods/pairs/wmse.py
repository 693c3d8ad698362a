"""Whitening for Self-Supervised Representation Learning (W-MSE), arXiv:2007.06346."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vergence import losses
from vergence.core import BadInput, Method, Recipe
from vergence.data.source import Source
from vergence.engine.distributed import gather_in_order
from vergence.nets import mlp, width_of


class WMSE(Method):
    """Make views agree after whitening their projections, which keeps them apart without negatives.

    Ermolov, Siarohin, Sangineto, Sebe 2021, arXiv:2007.06346. Differs from the paper: batch norm in the
    encoder sees one view at a time, as in the released code; a batch that is no multiple of ``group`` is
    cut into larger groups, up to twice as large, and a smaller batch is one group; the projector's last
    layer has no bias, which whitening would remove; several views are drawn in twos, as the modality
    supplies them. The recipe is that for CIFAR-10, where a fifth of the views turn grey, not a tenth
    (``grey``).

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the whitened vectors.
        hidden: Width of the projector's hidden layer.
        group: Samples that are whitened together, W, above ``dim``; twice as many in the paper.
        rounds: Times that a batch is cut into other groups, whose losses are averaged; the paper takes 4 for
            128 numbers.
        pairs: Pairs of views that are drawn of each sample; d of the paper is twice as many, and all
            d (d - 1) / 2 of them are to agree.
        eps: Share of the identity that is mixed into each covariance, in [0, 1); 0 in the paper. For data
            that do not fill ``dim`` dimensions.
    """

    recipe = Recipe(
        optimizer="adam", lr=3e-3, lr_scaling="none", batch=512, epochs=1000, weight_decay=1e-6, warmup=5,
        schedule="steps", milestones=(0.95, 0.975), gamma=0.2,
    )  # fmt: skip
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 64,
        hidden: int = 1024,
        group: int = 128,
        rounds: int = 1,
        pairs: int = 1,
        eps: float = 0.0,
    ) -> None:
        super().__init__(encoder)
        if not 0 < dim < group or min(rounds, pairs) < 1 or not 0 <= eps < 1:
            raise BadInput(
                f"WMSE needs 0 < dim < group, 1 or more rounds and pairs, and eps in [0, 1); "
                f"got {dim}, {group}, {rounds}, {pairs} and {eps}."
            )
        self.projector = mlp(width_of(encoder), hidden, dim, last_bias=False)
        self.group, self.rounds, self.pairs, self.eps = group, rounds, pairs, eps

    def setup(self, source: Source) -> None:
        if self.pairs > 1 and callable(self.views):
            self.views = SeveralTimes(self.views, self.pairs)  # type: ignore[assignment]

    def loss(self, views: Sequence[Any]) -> dict[str, Tensor]:
        z = self.projector(torch.cat([self.encode(view) for view in views]))
        everyone = torch.stack([gather_in_order(v) for v in z.chunk(len(views))])  # (d, B, dim)
        samples, dim = everyone.shape[1:]
        if samples < 2 or (samples <= dim and not self.eps):
            raise BadInput(
                f"WMSE cannot whiten {samples} samples of dim {dim} with eps={self.eps}: set --batch-size "
                f"above {dim}, a smaller dim, or eps above 0 and 2 samples or more."
            )
        drawn = torch.Generator().manual_seed(self.clock.step)  # all processes cut alike
        terms = []
        for _ in range(self.rounds):
            order = torch.randperm(everyone.shape[1], generator=drawn).to(z.device)
            try:
                terms.append(losses.w_mse(everyone, size=self.group, order=order, eps=self.eps))
            except ValueError as error:
                raise BadInput(
                    f"WMSE cannot whiten {samples} samples of dim {dim} with eps={self.eps}: their "
                    "covariance is singular. Raise --batch-size, or take a smaller dim or a larger eps."
                ) from error
        return {"agree": torch.stack(terms).mean()}


class SeveralTimes:
    """Draws the same kind of views of a batch several times."""

    def __init__(self, draw: Callable[..., Any], times: int) -> None:
        self.draw, self.times = draw, times

    def __call__(self, batch: Any) -> list[Any]:
        return [view for _ in range(self.times) for view in self.draw(batch)]
