"""Regression: ridge on frozen features, and its error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.graph.curves import Amount
from vergence.evaluate.protocols.graph.nodes import part_rows
from vergence.evaluate.score import mean_score

NEEDS = ("values",)
STRENGTHS = tuple(10.0 ** (i / 2) for i in range(-8, 13))


def rmse(guess: Array, truth: Array, *, note: str = "") -> Amount:
    """Root mean square error in the unit of ``truth``, with its bootstrap interval.

    Args:
        guess: ``(n,)``.
        truth: ``(n,)``.
        note: Kept with the score.
    """
    g, t = (
        np.asarray(a.detach().cpu() if isinstance(a, Tensor) else a, dtype=np.float64) for a in (guess, truth)
    )
    if g.shape != t.shape or g.ndim != 1 or not len(g) or not np.isfinite(g - t).all():
        raise BadInput(
            f"rmse needs finite numbers (n,) and (n,), n of at least 1; got {g.shape} and {t.shape}."
        )
    score = mean_score(np.square(g - t))
    value, low, high = (float(np.sqrt(v)) for v in (score.value, score.low, score.high))
    return Amount(value, low, high, len(g), note)


def ridge_rmse(
    x: Array, y: Array, train: Array, val: Array, test: Array, *, strengths: Sequence[float] = STRENGTHS
) -> Amount:
    """Test error of ridge regression on frozen features.

    Features and targets are standardised by the training rows alone; the strength is the one that does best
    on the validation rows. Predictions go back to the target's unit.

    Args:
        x: ``(n, D)``.
        y: ``(n,)`` targets.
        train: Rows as indices or as a mask ``(n,)`` of bool.
        val: Rows to choose the strength on.
        test: Rows that judge.
        strengths: L2 penalties to choose from, of |Xw - y|^2 + strength * |w|^2.
    """
    features, _ = labelled(x, np.zeros(len(x), dtype=np.int64), "ridge_rmse")
    x = features.cpu().numpy().astype(np.float64)
    y = torch.as_tensor(y).cpu().numpy().astype(np.float64)
    if y.shape != (len(x),) or not np.isfinite(y).all():
        raise BadInput(f"ridge_rmse needs one finite target a row, ({len(x)},); got {y.shape}.")
    rows = [part_rows(part, len(x), name) for part, name in ((train, "train"), (val, "val"), (test, "test"))]
    if len(np.unique(np.concatenate(rows))) < sum(map(len, rows)):
        raise BadInput("ridge_rmse needs train, val and test without a row in common.")
    mean, deviation = x[rows[0]].mean(0), x[rows[0]].std(0)
    x = (x - mean) / np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    centre, unit = y[rows[0]].mean(), y[rows[0]].std() or 1.0
    u, s, v = np.linalg.svd(x[rows[0]], full_matrices=False)
    shares = (u.T @ ((y[rows[0]] - centre) / unit))[:, None] * s[:, None]
    weights = v.T @ (shares / (s[:, None] ** 2 + np.asarray(strengths)))  # (D, strengths)
    errors = np.square(x[rows[1]] @ weights * unit + centre - y[rows[1], None]).mean(0)
    best = int(errors.argmin())
    return rmse(
        x[rows[2]] @ weights[:, best] * unit + centre, y[rows[2]], note=f"ridge {strengths[best]:.1e}"
    )
