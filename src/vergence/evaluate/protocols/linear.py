"""The linear probe: softmax regression on frozen features, solved rather than trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from vergence.evaluate.inputs import Array, labelled, stratified
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
STRENGTHS = tuple(10 ** (-i / 2) for i in range(13))  # strong to weak
PATIENCE = 3


@dataclass(frozen=True)
class Softmax:
    """A fitted softmax regression on standardised features.

    Args:
        mean: ``(D,)`` of the training features.
        scale: ``(D,)``, what they are divided by after the mean is taken off.
        weight: ``(D, C)``.
        bias: ``(C,)``.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale) @ self.weight + self.bias


class SoftmaxPath:
    """Softmax regressions of the same data at one L2 strength after the other, warm-started.

    Minimises mean cross-entropy + strength / 2 * |weight|^2 by full-batch L-BFGS. Correlated
    features make that slow, so it is solved in coordinates where the curvature at the start, the
    features' covariance times p (1 - p) at p = 1/C, plus the strength, is the identity; ten to
    thirty passes over the data a strength are then enough.

    Args:
        x: ``(n, D)`` float32.
        y: ``(n,)`` int64 in [0, classes).
        classes: C.
        steps: L-BFGS iterations a strength, at most.
    """

    def __init__(self, x: Tensor, y: Tensor, classes: int, *, steps: int = 100) -> None:
        self.mean = x.mean(0)
        deviation = x.std(0, correction=0)
        # a constant feature says nothing; 1 keeps it at zero instead of blowing up its rounding error
        self.scale = torch.where(
            deviation > 1e-6 * (1 + self.mean.abs()), deviation, torch.ones_like(deviation)
        )
        self.x = (x - self.mean) / self.scale
        self.target = one_hot(y, classes).to(x.dtype)
        self.curvature = (self.x.T @ self.x) * ((1 - 1 / classes) / classes / len(x))
        self.weight = x.new_zeros(x.shape[1], classes)
        self.bias = x.new_zeros(classes)
        self.steps = steps

    def solve(self, strength: float) -> Softmax:
        """Return the regression at this L2 ``strength`` (above 0), starting from the last one."""
        root = self._root(strength)  # curvature = root @ root.T, v = root.T @ weight
        v = torch.cat([root.T @ self.weight, self.bias[None]]).requires_grad_()
        v.grad = torch.zeros_like(v)

        def loss() -> Tensor:
            weight, bias = self._unpack(root, v.detach())
            log_p = torch.log_softmax(torch.addmm(bias, self.x, weight), 1)
            error = (log_p.exp() - self.target) / len(self.x)
            slope = torch.addmm(weight, self.x.T, error, beta=strength)
            v.grad[:-1] = torch.linalg.solve_triangular(root, slope, upper=False)  # type: ignore[index]
            v.grad[-1] = error.sum(0)  # type: ignore[index]
            cost = -(log_p * self.target).sum() / len(self.x)
            return cost + 0.5 * strength * weight.square().sum()

        optimizer = torch.optim.LBFGS(
            [v],
            max_iter=self.steps,
            tolerance_grad=1e-6,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(loss)
        self.weight, self.bias = self._unpack(root, v.detach())
        return Softmax(self.mean, self.scale, self.weight, self.bias)

    def _root(self, strength: float) -> Tensor:
        """Return the Cholesky root of the curvature at the start, with as much more as rounding needs."""
        more = strength + 1e-6 * self.curvature.diagonal().mean()
        for _ in range(6):  # rounding leaves eigenvalues as low as -1e-7 of the trace
            curvature = self.curvature.clone()
            curvature.diagonal().add_(more)
            root, failed = torch.linalg.cholesky_ex(curvature)
            if not failed:
                return root
            more = 10 * more
        return torch.linalg.cholesky(curvature)

    @staticmethod
    def _unpack(root: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return torch.linalg.solve_triangular(root.T, v[:-1], upper=True), v[-1]


def linear(
    train_x: Array,
    train_y: Array,
    test_x: Array,
    test_y: Array,
    *,
    seed: int = 0,
    strengths: Iterable[float] = STRENGTHS,
) -> Score:
    """Share of test samples that a softmax regression on the frozen features gets right.

    Features are standardised. The L2 strength is the one that does best on a fifth of the
    *training* rows, held out; the regression is then fitted to all of them. The test rows are
    looked at once, at the end.

    Args:
        train_x: ``(N, D)`` features.
        train_y: ``(N,)`` labels, at least 0.
        test_x: ``(Q, D)`` features.
        test_y: ``(Q,)`` labels; a class that training lacks counts as wrong.
        seed: Of the held-out fifth.
        strengths: Tried in this order, strong to weak, until the last few no longer help.
    """
    train_x, train_y = labelled(train_x, train_y, "linear")
    test_x, test_y = labelled(test_x, test_y, "linear")
    known, y = train_y.unique(return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"linear needs training labels of 2 or more classes, got {len(known)}.")
    strength = choose_strength(train_x, y, len(known), strengths=strengths, seed=seed)
    fitted = SoftmaxPath(train_x, y, len(known)).solve(strength)
    guess = known[fitted.logits(test_x).argmax(1)]
    return mean_score(guess == test_y, note=f"L2 {strength:.1e}")


def fit_probe(x: Tensor, y: Tensor, classes: int, *, seed: int = 0) -> Softmax:
    """Fit the regression of ``linear`` to features ``(n, D)`` and classes ``(n,)`` in [0, classes)."""
    strength = choose_strength(x, y, classes, strengths=STRENGTHS, seed=seed)
    return SoftmaxPath(x, y, classes).solve(strength)


def choose_strength(
    x: Tensor,
    y: Tensor,
    classes: int,
    *,
    strengths: Iterable[float],
    seed: int,
    aside: Tensor | None = None,
) -> float:
    """Return the L2 strength whose regression does best on a held-out fifth, or on the rows ``aside``.

    Accuracy decides, cross-entropy between equals. Where no row can be held out, since every class
    has only one, the strongest is taken.
    """
    strengths = list(strengths)
    if aside is None:
        fit, held = (
            torch.as_tensor(rows, device=x.device) for rows in stratified(y.cpu().numpy(), 0.2, seed=seed)
        )
    else:
        fit, held = torch.nonzero(~aside)[:, 0], torch.nonzero(aside)[:, 0]
    if not len(held):
        return strengths[0]
    path = SoftmaxPath(x[fit], y[fit], classes)
    best, chosen, waited = (-1.0, 0.0), strengths[0], 0
    for strength in strengths:
        logits = path.solve(strength).logits(x[held])
        accuracy = (logits.argmax(1) == y[held]).float().mean().item()
        merit = (accuracy, -cross_entropy(logits, y[held]).item())
        if merit > best:
            best, chosen, waited = merit, strength, 0
        else:
            waited += 1
            if waited == PATIENCE:
                break
    return chosen


def _linear(split: Split, seed: int) -> Scores:
    yield "linear", linear(*split.arrays, seed=seed)


PROTOCOLS = {"linear": _linear}
