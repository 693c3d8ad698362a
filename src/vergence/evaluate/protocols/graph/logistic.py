"""Logistic regressions of the same features, many strengths and classes at once, by Newton's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import expit, log_softmax, softmax

STEPS = 50
CG_STEPS = 60
HALVINGS = 30  # of a step that goes too far
TOLERANCE = 1e-7
_CELLS = 8_000_000  # rows x strengths x classes solved at a time: 64 MB an array


@dataclass(frozen=True)
class Logistic:
    """Fitted regressions.

    Args:
        weight: ``(D, S, K)`` for S strengths and K classes.
        bias: ``(S, K)``.
        softmax: Whether classes compete; else each is a yes-no question of its own.
    """

    weight: np.ndarray
    bias: np.ndarray
    softmax: bool

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return ``(n, S, K)`` of features ``(n, D)``."""
        d, s, k = self.weight.shape
        return (np.asarray(x, np.float64) @ self.weight.reshape(d, s * k)).reshape(len(x), s, k) + self.bias


def fit_logistic(x: np.ndarray, target: np.ndarray, strengths: Sequence[float], *, softmax: bool) -> Logistic:
    """Minimise C * sum of losses + |w|^2 / 2 for every C.

    The bias is a further feature, constant 1, and is penalised like the others: scikit-learn's
    ``LogisticRegression(solver="liblinear")``, which the papers use. The features are turned to their
    principal axes first, where a diagonal preconditions well; there are no more of them than rows.

    Args:
        x: ``(n, D)``.
        target: ``(n, K)`` of 0 and 1; for ``softmax`` one 1 a row.
        strengths: C, above 0: higher trusts the data more.
        softmax: Classes compete (multinomial); else one-versus-rest.
    """
    x = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], axis=1)
    axes = _axes(x)
    z, t = x @ axes, np.asarray(target, np.float64)
    block = max(1, _CELLS // max(t.size, 1))
    c = np.asarray(strengths, np.float64)
    solved = np.concatenate(
        [_newton(z, t, c[i : i + block], softmax) for i in range(0, len(c), block)], axis=1
    )
    weight = np.tensordot(axes, solved, 1)
    return Logistic(weight[:-1], weight[-1], softmax)


def _axes(x: np.ndarray) -> np.ndarray:
    """Return orthonormal columns ``(D, r)`` that span the rows of ``x``."""
    if len(x) >= x.shape[1]:
        return np.linalg.eigh(x.T @ x)[1]
    values, vectors = np.linalg.eigh(x @ x.T)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    return (x.T @ vectors[:, kept]) / np.sqrt(values[kept])


Vectors: TypeAlias = np.ndarray  # (r, S, K) weights or (n, S, K) logits, of S strengths and K classes
Product: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Problem:
    """The penalised losses of all strengths at once.

    Args:
        z: ``(n, r)`` features.
        t: ``(n, 1, K)`` targets.
        softmax: Whether classes compete.
    """

    z: np.ndarray
    t: np.ndarray
    softmax: bool

    def logits(self, w: Vectors) -> Vectors:
        return (self.z @ w.reshape(len(w), -1)).reshape(len(self.z), -1, self.t.shape[2])

    def back(self, f: Vectors) -> Vectors:
        """Return the gradient by the weights, given the one by the logits."""
        return (self.z.T @ f.reshape(len(f), -1)).reshape(self.z.shape[1], -1, self.t.shape[2])

    def dot(self, a: Vectors, b: Vectors) -> np.ndarray:
        """Sum over a problem's own axes: the weights of all classes where they compete, of one else."""
        return (a * b).sum((0, 2) if self.softmax else (0,), keepdims=True)

    def cost(self, w: Vectors, f: Vectors, c: np.ndarray) -> np.ndarray:
        loss = -self.t * log_softmax(f, axis=2) if self.softmax else np.logaddexp(0, f) - self.t * f
        return c * loss.sum((0, 2) if self.softmax else (0,), keepdims=True) + self.dot(w, w) / 2

    def probability(self, f: Vectors) -> Vectors:
        return softmax(f, axis=2) if self.softmax else expit(f)

    def curvature(self, c: np.ndarray, p: Vectors, curve: Vectors) -> Callable[[np.ndarray], Product]:
        """Return a function that gives, for some of the strengths, the product with their Hessian."""

        def of(some: np.ndarray) -> Product:
            own_c, own_p, own_curve = c[:, some], p[:, some], curve[:, some]

            def product(d: Vectors) -> Vectors:
                g = self.logits(d)
                bent = own_p * (g - (own_p * g).sum(2, keepdims=True)) if self.softmax else own_curve * g
                return d + own_c * self.back(bent)

            return product

        return of


def _newton(z: np.ndarray, t: np.ndarray, strengths: np.ndarray, competing: bool) -> np.ndarray:
    """Solve for all strengths at once; those whose gradient is ``TOLERANCE`` of the first are put aside."""
    problem = _Problem(z, t[:, None, :], competing)
    n, r = z.shape
    s, k = len(strengths), t.shape[1]
    squares = np.square(z).sum(0)[:, None, None] / n
    solved = np.zeros((r, s, k))
    # of the strengths that are left, whose places these are
    place, c, w, f = np.arange(s), strengths[None, :, None], np.zeros((r, s, k)), np.zeros((n, s, k))
    now = problem.cost(w, f, c)
    first: np.ndarray | None = None
    for _ in range(STEPS):
        p = problem.probability(f)
        slope = w + c * problem.back(p - problem.t)
        size = np.sqrt(problem.dot(slope, slope))
        first = np.maximum(size, 1e-300) if first is None else first
        open_ = size > TOLERANCE * first
        solved[:, place] = w
        left = open_.any((0, 2))
        if not left.any():
            break
        if not left.all():
            place = place[left]
            c, w, f, p, now = (a[:, left] for a in (c, w, f, p, now))
            slope, size, first, open_ = (a[:, left] for a in (slope, size, first, open_))
        curve = p * (1 - p)
        scale = 1 + c * n * squares * curve.mean(0, keepdims=True)
        goal = size * np.minimum(0.1, np.sqrt(size / first))
        step = _conjugate(problem.curvature(c, p, curve), -slope, scale, goal, problem.dot)
        moved = problem.logits(step)
        fall = problem.dot(slope, step)
        length = np.where(open_, 1.0, 0.0)
        for _ in range(HALVINGS):
            new = problem.cost(w + length * step, f + length * moved, c)
            worse = new > now + 1e-4 * length * fall + 1e-12 * np.abs(now)
            if not worse.any():
                break
            length = np.where(worse, length / 2, length)
        w, f = w + length * step, f + length * moved
        now = problem.cost(w, f, c)
    solved[:, place] = w
    return solved


def _conjugate(
    curvature: Callable[[np.ndarray], Product],
    b: Vectors,
    scale: np.ndarray,
    goal: np.ndarray,
    dot: Callable[[Vectors, Vectors], np.ndarray],
) -> Vectors:
    """Solve H x = b for all problems by conjugate gradients; strengths that reach their goal are put aside.

    Args:
        curvature: Gives, for some of the strengths, the product with their Hessian H.
        b: ``(r, S, K)``.
        scale: Of the diagonal preconditioner.
        goal: Norm of the residual at which a problem is solved.
        dot: Sum over a problem's own axes.
    """
    solved = np.zeros_like(b)
    place = np.arange(b.shape[1])
    product = curvature(place)
    x, rest = np.zeros_like(b), b
    z = rest / scale
    way, power = z, dot(rest, z)
    for _ in range(CG_STEPS):
        going = np.sqrt(dot(rest, rest)) > goal
        left = going.any((0, 2))
        if not left.all():
            solved[:, place] = x
            place = place[left]
            x, rest, way, power, scale, goal, going = (
                a[:, left] for a in (x, rest, way, power, scale, goal, going)
            )
            if not len(place):
                break
            product = curvature(place)
        bent = product(way)
        step = np.where(going, power / np.maximum(dot(way, bent), 1e-300), 0.0)
        x = x + step * way
        rest = rest - step * bent
        z = rest / scale
        new = dot(rest, z)
        way = z + np.where(going, new / np.maximum(power, 1e-300), 0.0) * way
        power = new
    solved[:, place] = x
    return solved
