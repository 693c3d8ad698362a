"""Rethinking Nearest Neighbors for Visual Classification.

Jia, Chen, Wu, Cardie, Belongie, Lim 2021, arXiv:2112.08459.

A classifier that asks its neighbours twice. Features are centred by the training mean and scaled to unit
length; of the k training rows nearest to a query by squared Euclidean distance d, class c gets

    p_knn(c) = Σ_{i: y_i = c} e^{-d_i/T} / Σ_i e^{-d_i/T}.

While a linear head is fitted, neighbours say which examples are hard: the cost CE of a row becomes
CE (1 - α log p_knn(y)), or CE (1 - p_knn(y))^γ, with the row itself left out of its neighbours and no
gradient through them (Sec. 3.2). At test time both are blended, λ p_knn + (1 - λ) p_linear (Sec. 3.3).

Differs from the paper: features stay frozen, where a head has one best solution; it is solved with an L2
penalty (L-BFGS on standardised features) rather than trained by SGD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from vergence.core.errors import BadInput, unknown
from vergence.use.topk import topk

Hard = Literal["log", "focal", "none"]
HARD: tuple[Hard, ...] = ("log", "focal", "none")
NEIGHBOURS = (1, 2, 4, 8, 16, 32, 64, 128)
TEMPERATURES = (0.01, 0.1, 1.0, 10.0)
STRENGTHS = (1.0, 0.1, 0.01, 0.001, 0.0001)
BLENDS = tuple(i / 20 for i in range(21))


@dataclass(frozen=True, slots=True)
class Classifier:
    """Neighbours and a linear head over the same rows.

    Args:
        bank: ``(n, D)`` training rows, centred, of unit length.
        labels: ``(n,)``.
        mean: ``(D,)`` of the training features.
        scale: ``(D,)`` that features are divided by for the head, after the mean is taken off.
        weight: ``(D, C)`` of the head.
        bias: ``(C,)``.
        k: Neighbours that vote.
        temperature: T, above 0.
        blend: λ in [0, 1]: 1 asks neighbours only, 0 the head only.
        strength: Of the L2 penalty that the head was fitted with.
    """

    bank: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    k: int
    temperature: float
    blend: float
    strength: float

    def neighbours(self, x: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the training rows ``(Q, k)`` that vote on each query, and the weights of their votes."""
        scores, rows = topk(self._unit(x), self.bank, self.k)
        return rows, _weights(scores, self.temperature)

    def of_neighbours(self, x: Tensor | np.ndarray) -> Tensor:
        """Return p_knn, ``(Q, C)``."""
        rows, weights = self.neighbours(x)
        return _votes(weights, self.labels[rows], len(self.bias))

    def of_head(self, x: Tensor | np.ndarray) -> Tensor:
        """Return p_linear, ``(Q, C)``."""
        x = (torch.as_tensor(x).float() - self.mean) / self.scale
        return torch.softmax(x @ self.weight + self.bias, 1)

    def proba(self, x: Tensor | np.ndarray) -> Tensor:
        """Return the blend, ``(Q, C)``; each row sums to 1."""
        return self.blend * self.of_neighbours(x) + (1 - self.blend) * self.of_head(x)

    def _unit(self, x: Tensor | np.ndarray) -> Tensor:
        return normalize(torch.as_tensor(x).float() - self.mean, dim=1)


def fit(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    *,
    k: int = 16,
    temperature: float = 0.1,
    blend: float = 0.5,
    hard: Hard = "log",
    alpha: float = 0.1,
    gamma: float = 2.0,
    strength: float = 0.01,
) -> Classifier:
    """Fit the head on frozen features, with rows weighted by what their neighbours say of them.

    Args:
        x: ``(n, D)`` features.
        y: ``(n,)`` labels from 0.
        k: Neighbours, 1 to n - 1.
        temperature: T, above 0.
        blend: λ in [0, 1].
        hard: "log" and "focal" as above; "none" fits a plain head.
        alpha: α of "log", at least 0.
        gamma: γ of "focal", at least 0.
        strength: Of the L2 penalty on the head's weights, above 0.

    Raises:
        BadInput: If shapes, labels or a setting are out of range.
    """
    x, y = torch.as_tensor(x).float(), torch.as_tensor(y).long()
    if x.ndim != 2 or y.shape != x.shape[:1] or len(y) < 2 or y.min() < 0:
        raise BadInput(
            f"A classifier is fitted to features (n, D) and labels (n,) from 0, n of at least 2; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if hard not in HARD:
        raise unknown("weighting of hard examples", hard, HARD)
    if temperature <= 0 or strength <= 0 or not 0 <= blend <= 1 or not 1 <= k < len(x):
        raise BadInput(
            f"temperature and strength are above 0, blend in [0, 1], k from 1 to {len(x) - 1} (the other "
            f"rows); got {temperature}, {strength}, {blend} and {k}."
        )
    mean, deviation = x.mean(0), x.std(0, correction=0)
    scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, torch.ones_like(deviation))
    bank, classes = normalize(x - mean, dim=1), int(y.max()) + 1
    weights = x.new_ones(len(x))
    if hard != "none":
        probability = leave_one_out(bank, y, k=k, temperature=temperature).gather(1, y[:, None])[:, 0]
        weights = (
            (1 - probability) ** gamma if hard == "focal" else 1 - alpha * probability.log().clamp_min(-100)
        )
    weight, bias = _solve((x - mean) / scale, y, classes, weights, strength)
    return Classifier(bank, y, mean, scale, weight, bias, k, temperature, blend, strength)


def tuned(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    held_x: Tensor | np.ndarray | None = None,
    held_y: Tensor | np.ndarray | None = None,
    *,
    hard: Hard = "log",
    ks: Sequence[int] = NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    strengths: Sequence[float] = STRENGTHS,
    blends: Sequence[float] = BLENDS,
    folds: int = 5,
    seed: int = 0,
) -> Classifier:
    """Fit with settings chosen first for the neighbours (k and T), then for the head, then λ.

    The best has the highest accuracy, and of equals the lowest cross-entropy: on held-out rows where there
    are some. Without them no row is given up, however few there are: each is asked of its neighbours without
    itself, and of a head that was fitted without its fold.

    Args:
        x: ``(n, D)`` features to fit to; the others are as in ``fit``.
        y: ``(n,)``.
        held_x: ``(m, D)`` features to choose by, or None.
        held_y: ``(m,)``, or None.
        hard: As in ``fit``.
        ks: Neighbours to try; those of n or more are left out.
        temperatures: To try.
        strengths: To try.
        blends: To try.
        folds: Without held-out rows, parts of each class, at least 2.
        seed: Who is in which.
    """
    if held_x is None or held_y is None:
        return _tuned_by_folds(x, y, hard, ks, temperatures, strengths, blends, folds, seed)
    held_y = torch.as_tensor(held_y).long()
    first = fit(x, y, k=1, hard="none", strength=strengths[0])
    known = held_y < len(first.bias)  # of a class without an example nothing can be learnt
    held_x, held_y = torch.as_tensor(held_x)[known], held_y[known]

    def quality(p: Tensor) -> tuple[float, float]:
        return _quality(p, held_y)

    options = [replace(first, k=k, temperature=t) for k in ks if k < len(first.bank) for t in temperatures]
    near = max(options, key=lambda model: quality(model.of_neighbours(held_x)))
    heads = [fit(x, y, k=near.k, temperature=near.temperature, hard=hard, strength=s) for s in strengths]
    best = max(heads, key=lambda model: quality(model.of_head(held_x)))
    p_knn, p_linear = best.of_neighbours(held_x), best.of_head(held_x)
    return replace(best, blend=max(blends, key=lambda b: quality(b * p_knn + (1 - b) * p_linear)))


def _quality(p: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the accuracy of probabilities ``(n, C)``, and minus their cross-entropy."""
    cost = -p.gather(1, y[:, None]).clamp_min(1e-12).log().mean()
    return (p.argmax(1) == y).float().mean().item(), -cost.item()


def _tuned_by_folds(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    hard: Hard,
    ks: Sequence[int],
    temperatures: Sequence[float],
    strengths: Sequence[float],
    blends: Sequence[float],
    folds: int,
    seed: int,
) -> Classifier:
    """Choose as ``tuned`` does without held-out rows, then fit to all."""
    if folds < 2:
        raise BadInput(f"Settings are chosen on 2 or more folds; got {folds}.")
    x, y = torch.as_tensor(x).float(), torch.as_tensor(y).long()
    first = fit(x, y, k=1, hard="none", strength=strengths[0])
    pairs = [(k, t) for k in ks if k < len(x) for t in temperatures]
    alone = {pair: leave_one_out(first.bank, y, k=pair[0], temperature=pair[1]) for pair in pairs}
    k, temperature = max(alone, key=lambda pair: _quality(alone[pair], y))
    part = _folds(y, folds, seed)
    unseen: dict[float, Tensor] = {}
    for strength in strengths:
        p = unseen[strength] = x.new_zeros(len(x), len(first.bias))
        for fold in part.unique():
            out = part == fold
            near = min(k, int((~out).sum()) - 1)
            head = fit(x[~out], y[~out], k=near, temperature=temperature, hard=hard, strength=strength)
            p[out, : len(head.bias)] = head.of_head(x[out])
    best = max(strengths, key=lambda s: _quality(unseen[s], y))
    p_knn, p_linear = alone[k, temperature], unseen[best]
    blend = max(blends, key=lambda b: _quality(b * p_knn + (1 - b) * p_linear, y))
    return fit(x, y, k=k, temperature=temperature, blend=blend, hard=hard, strength=best)


def _folds(y: Tensor, folds: int, seed: int) -> Tensor:
    """Return ``(n,)`` each row's fold: every class is dealt out in turn, in random order."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[y[order].argsort(stable=True)]
    part = torch.empty_like(order)
    part[order] = torch.arange(len(y)) % folds
    return part


def leave_one_out(bank: Tensor, labels: Tensor, *, k: int, temperature: float) -> Tensor:
    """Return p_knn of each row of ``bank (n, D)``, of unit length, without itself: ``(n, C)``."""
    scores, rows = topk(bank, bank, k + 1)
    own = rows == torch.arange(len(bank), device=rows.device)[:, None]
    own[:, -1] |= ~own.any(1)  # a row with many twins may not be among its own neighbours
    others = ~own
    scores, rows = scores[others].view(-1, k), rows[others].view(-1, k)
    return _votes(_weights(scores, temperature), labels[rows], int(labels.max()) + 1)


def _weights(cosines: Tensor, temperature: float) -> Tensor:
    """Return e^{-d/T} scaled to sum to 1, where d = 2 - 2 cos."""
    return torch.softmax(2 * cosines / temperature, 1)


def _votes(weights: Tensor, labels: Tensor, classes: int) -> Tensor:
    return weights.new_zeros(len(weights), classes).scatter_add_(1, labels, weights)


def _solve(x: Tensor, y: Tensor, classes: int, weights: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Minimise the weighted mean of cross-entropies + strength/2 |W|²."""
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def cost() -> Tensor:
        optimizer.zero_grad()
        costs = cross_entropy(x @ weight + bias, y, reduction="none")
        total = (weights * costs).mean() + strength / 2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(cost)
    return weight.detach(), bias.detach()
