"""Contrastive Learning Is Spectral Clustering On Similarity Graph (Kernel-InfoNCE), arXiv:2303.15103."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Method, Recipe
from vergence.engine.distributed import gather
from vergence.losses import kernel_nce
from vergence.nets import mlp, width_of


class KernelInfoNCE(Method):
    """Choose the other view among all others by a kernel of the distance; InfoNCE has the Gaussian one.

    The loss has two parts. The attraction is, for the Gaussian kernel, that of spectral clustering on the
    graph that joins what views show together; the repulsion keeps vectors apart. Another kernel, or two
    mixed, changes what a distance costs.

    Tan, Zhang, Yang, Yuan 2024, arXiv:2303.15103. Differs from the paper: batch norm in the encoder sees one
    view at a time, as in the released code; the temperature, power and weight were searched for each data
    set, so that the defaults are the released code's temperature and an even mixture; the bipartite form of
    Sec. 4, for pairs of two kinds of data, is not here.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors, of either kernel.
        hidden: Width of the projector's hidden layer; None takes the encoder's, as in the paper.
        power: Of the distance in the first kernel, exp(-d^power / temperature), in (0, 2]; 0.5 and 1 (the
            Laplacian kernel) in the paper.
        gaussian: Share of the Gaussian kernel (power 2) in the loss, in [0, 1], 1 - λ. 0 takes the first
            kernel alone; that with a power of 2 is SimCLR at half the temperature.
        concatenate: Give each kernel numbers of its own ("concatenation sum") instead of both the same
            ("simple sum").
        temperature: Of both kernels, above 0.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", batch=128, epochs=200, weight_decay=1e-6, warmup=10
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        power: float = 1.0,
        gaussian: float = 0.5,
        concatenate: bool = False,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder)
        if not 0 < power <= 2 or not 0 <= gaussian <= 1 or temperature <= 0:
            raise BadInput(
                f"KernelInfoNCE needs power in (0, 2], gaussian in [0, 1] and temperature > 0; "
                f"got {power}, {gaussian} and {temperature}."
            )
        if concatenate and gaussian in (0, 1):
            raise BadInput(
                "KernelInfoNCE gives each of two kernels numbers of its own with concatenate, and gaussian="
                f"{gaussian} leaves one kernel: take gaussian in (0, 1), or leave concatenate out."
            )
        width = width_of(encoder)
        self.projector = mlp(width, hidden or width, 2 * dim if concatenate else dim, last_bias=False)
        self.kernels = [(p, share) for p, share in ((power, 1 - gaussian), (2.0, gaussian)) if share > 0]
        self.dim, self.concatenate, self.temperature = dim, concatenate, temperature

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (normalize(self.projector(self.encode(view)).float(), dim=1) for view in views)
        everyone, own = (gather(first), gather(second)), len(first)  # own rows first
        terms: dict[str, Tensor] = {}
        for number, (power, share) in enumerate(self.kernels):
            z = [view.split(self.dim, dim=1)[number if self.concatenate else 0] for view in everyone]
            parts = kernel_nce(*z, power=power, temperature=self.temperature, anchors=own)
            terms = {name: terms.get(name, 0.0) + share * value for name, value in parts.items()}
        return terms
