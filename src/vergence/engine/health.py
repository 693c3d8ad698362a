"""Health: is it learning? Signs that need no labels, and what they mean in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import pooled
from vergence.engine.devices import device_of, in_best_precision


def feature_std(x: Tensor) -> float:
    """Return ``sqrt(D)`` times the mean standard deviation of unit rows: 0 collapsed, about 1 spread evenly.

    Source: Chen and He 2021, arXiv:2011.10566, Sec. 4.1.
    """
    return float(normalize(x.float(), dim=1).std(dim=0).mean() * math.sqrt(x.shape[1]))


def rankme(x: Tensor, eps: float = 1e-7) -> float:
    """Return the effective rank ``exp(entropy of the singular values' shares)``, in [1, min(N, D)].

    Source: Garrido et al. 2023, arXiv:2210.02885, Eq. 2.
    """
    sigma = torch.linalg.svdvals(x.float())
    shares = sigma / sigma.sum().clamp_min(eps) + eps
    return float(torch.exp(-(shares * shares.log()).sum()))


def alignment(x: Tensor, y: Tensor) -> float:
    """Return the mean squared distance of unit rows that belong together, in [0, 4].

    Source: Wang and Isola 2020, arXiv:2005.10242, Sec. 4.1 (alpha = 2).
    """
    return float((normalize(x.float(), dim=1) - normalize(y.float(), dim=1)).square().sum(1).mean())


def uniformity(x: Tensor) -> float:
    """Return ``log mean exp(-2 |x_i - x_j|^2)`` over pairs of unit rows: 0 collapsed, down to -4.

    Source: Wang and Isola 2020, arXiv:2005.10242, Sec. 4.1 (t = 2).
    """
    return float(torch.pdist(normalize(x.float(), dim=1)).square().mul(-2).exp().mean().log())


@dataclass(frozen=True, slots=True)
class Health:
    """One look at the encoder on the same few hundred samples."""

    std: float
    rankme: float
    alignment: float
    uniformity: float

    def warning(self, first: Health, dim: int) -> str:
        """Say in one sentence what is wrong, or return an empty string.

        Args:
            first: The look before training.
            dim: Width of the embedding.
        """
        if dim == 1:
            return ""  # unit vectors of one number say nothing
        cause = "Likely causes: too high a learning rate, or too weak a term that keeps samples apart."
        if not math.isfinite(self.std):
            return (
                "The embeddings hold NaN or infinite values. Likely cause: a learning rate that is too high."
            )
        if self.std < 0.02:
            return f"Collapse: all samples get nearly the same embedding (std {self.std:.3f}, not 1). {cause}"
        if self.rankme < 2 and self.rankme < 0.5 * first.rankme:
            return (
                f"Collapse: the embeddings vary along {self.rankme:.1f} of {dim} directions "
                f"({first.rankme:.1f} before training). {cause}"
            )
        return ""

    def row(self) -> dict[str, float]:
        return asdict(self)


class HealthProbe:
    """Looks at one fixed batch again and again.

    Args:
        batch: Unaugmented samples on the device.
        pair: Makes two views of the batch, for alignment; None leaves alignment as NaN.
        seed: Of those views, the same at every look.
        precision: As ``Source.precision``.
    """

    def __init__(
        self, batch: Any, pair: Callable[[Any], Any] | None, seed: int, precision: str = "auto"
    ) -> None:
        self.batch, self.seed, self.precision = batch, seed, precision
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            self.views = pair(batch)[:2] if pair else None

    @torch.no_grad()
    def __call__(self, encoder: nn.Module) -> Health:
        training = encoder.training
        encoder.eval()
        try:
            with in_best_precision(device_of(encoder), self.precision):
                x = pooled(encoder(self.batch)).float()
                apart = [pooled(encoder(view)) for view in self.views] if self.views else None
        finally:
            encoder.train(training)
        if not torch.isfinite(x).all():
            return Health(math.nan, math.nan, math.nan, math.nan)
        return Health(
            std=feature_std(x),
            rankme=rankme(x),
            alignment=alignment(*apart) if apart else math.nan,
            uniformity=uniformity(x),
        )
