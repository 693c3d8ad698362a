"""Graph classification: the support vector machine in ten folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances, linear_kernel
from sklearn.model_selection import StratifiedKFold

from vergence.core.errors import BadInput, unknown
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.graph.svm import SVMPath
from vergence.evaluate.score import Score, mean_score

NEEDS = ("labels",)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
KERNELS = ("rbf", "linear")


def svm_10fold(
    x: Array,
    y: Array,
    *,
    kernel: Literal["rbf", "linear"] = "rbf",
    strengths: Sequence[float] = STRENGTHS,
    folds: int = 10,
    repeats: int = 1,
    seed: int = 0,
) -> Score:
    """Accuracy of a support vector machine on frozen graph vectors, over stratified shuffled folds.

    C is chosen inside each training part, by 5-fold cross-validation, never by a test fold. InfoGraph and
    GraphCL (arXiv:1908.01000, 2010.13902) do so with the RBF kernel, vectors as they are, and a width of
    1 / (D * variance), scikit-learn's "scale". Here the width is taken once from the outer training part,
    so that its kernel is computed once for all values of C, and each C begins with the solution of the
    one before. The solver stops after 200,000 steps, which only large C on noise needs: there it would
    take minutes and choose nothing better.

    Args:
        x: ``(G, D)``.
        y: ``(G,)`` labels, at least 0.
        kernel: ``"rbf"`` as the papers, or ``"linear"``.
        strengths: C to choose from.
        folds: Outer folds; as many graphs of each class are needed.
        repeats: Draws of the folds, seeds ``seed``, ``seed + 1``, …; each graph is judged once a draw.
        seed: Of the folds.

    Returns:
        Mean over all graphs and draws; it differs from the mean over folds by the folds' unequal sizes only.
        The interval resamples graphs; the note holds the spread over folds, which papers print as ±.
    """
    features, labels = labelled(x, y, "svm_10fold")
    x, y = features.cpu().numpy().astype(np.float64), labels.cpu().numpy()
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < folds:
        raise BadInput(
            f"svm_10fold needs 2 or more classes of {folds} or more graphs each; "
            f"got classes of {', '.join(map(str, counts[:8]))}."
        )
    right = np.zeros((repeats, len(y)))
    of_folds = []
    between = linear_kernel(x) if kernel == "linear" else euclidean_distances(x, squared=True)
    for i in range(repeats):
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed + i).split(x, y):
            width = None if kernel == "linear" else _width(x[train])
            within, across = (_kernel(between[np.ix_(rows, train)], width) for rows in (train, test))
            c = choose_c(within, y[train], strengths)
            *_, guess = SVMPath(within, y[train]).predictions(across, _up_to(c, strengths))
            right[i, test] = guess == y[test]
            of_folds.append(right[i, test].mean())
    spread = f"sd over folds {100 * np.std(of_folds):.1f}"
    return mean_score(right.mean(0), note=f"{kernel} SVM, {folds} folds x {repeats}, {spread}")


def choose_c(kernel: np.ndarray, y: np.ndarray, strengths: Sequence[float]) -> float:
    """Return the C with the best mean accuracy over 5 stratified folds; the smallest of equals."""
    parts = max(2, min(5, int(np.unique(y, return_counts=True)[1].min())))
    ordered = sorted(strengths)
    accuracy = np.zeros(len(ordered))
    for fit, held in StratifiedKFold(parts).split(kernel, y):
        machines = SVMPath(kernel[np.ix_(fit, fit)], y[fit])
        guesses = machines.predictions(kernel[np.ix_(held, fit)], ordered)
        accuracy += [np.mean(guess == y[held]) / parts for guess in guesses]
    return ordered[int(np.argmax(np.round(accuracy, 12)))]


def _up_to(c: float, strengths: Sequence[float]) -> list[float]:
    return [strength for strength in sorted(strengths) if strength <= c]


def _width(train: np.ndarray) -> float:
    variance = train.var()
    return 1 / (train.shape[1] * variance) if variance > 0 else 1.0


def _kernel(between: np.ndarray, width: float | None) -> np.ndarray:
    """Return products as they are, or the RBF of squared distances."""
    return between if width is None else np.exp(-width * between)
