"""Few-shot: how far a handful of labels goes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core.errors import BadInput, unknown
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.knn import knn_predict
from vergence.evaluate.protocols.linear import SoftmaxPath
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
SHOTS = (1, 5, 20)
CLASSIFIERS = ("centroid", "knn", "linear")
STRENGTH = 1e-2  # one label a class leaves nothing to choose it by


def few_shot(
    train_x: Array,
    train_y: Array,
    test_x: Array,
    test_y: Array,
    *,
    shots: int,
    draws: int = 20,
    classifier: Literal["centroid", "knn", "linear"] = "centroid",
    seed: int = 0,
) -> Score:
    """Accuracy on all test rows with ``shots`` labels a class, averaged over draws of those labels.

    The interval is the bootstrap's over the draws: where the mean would lie with other labels
    drawn, for this test set. The note holds the spread of single draws. The same seed draws the
    same rows whatever the features, so that two encoders can be compared pair by pair.

    Args:
        train_x: ``(N, D)`` features.
        train_y: ``(N,)`` labels, at least 0.
        test_x: ``(Q, D)`` features.
        test_y: ``(Q,)`` labels.
        shots: Labels a class, at least 1.
        draws: At least 2.
        classifier: ``"centroid"``, the field's default for frozen features: the class whose mean
            unit vector is nearest by cosine (arXiv:1703.05175, arXiv:1911.04623); ``"knn"``: the
            weighted k-NN of ``measure.knn`` on the drawn rows; ``"linear"``: softmax regression
            on features standardised by the drawn rows, at an L2 strength of 1e-2.
        seed: Of the draws.

    Raises:
        BadInput: If some class has fewer than ``shots`` training rows.
    """
    train_x, train_y = labelled(train_x, train_y, "few_shot")
    test_x, test_y = labelled(test_x, test_y, "few_shot")
    if classifier not in CLASSIFIERS:
        raise unknown("few-shot classifier", classifier, CLASSIFIERS)
    if shots < 1 or draws < 2:
        raise ValueError(f"few_shot needs shots >= 1 and draws >= 2, got {shots} and {draws}.")
    known, y = train_y.unique(return_inverse=True)
    accuracy = []
    for rows in draw_rows(y.cpu().numpy(), shots, draws, seed=seed):
        chosen = torch.as_tensor(rows, device=train_x.device)
        guess = known[_predict(classifier, train_x[chosen], y[chosen], test_x, len(known))]
        accuracy.append((guess == test_y).float().mean().item())
    note = f"{shots} a class, {draws} draws, sd {100 * np.std(accuracy, ddof=1):.1f}, {classifier}"
    return mean_score(np.array(accuracy), note=note)


def draw_rows(labels: np.ndarray, shots: int, draws: int, *, seed: int = 0) -> np.ndarray:
    """Return ``(draws, C * shots)`` rows, each draw holding ``shots`` different rows of every class."""
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < shots:
        raise BadInput(
            f"{shots} labels a class were asked for, but the smallest of the {len(classes)} classes has "
            f"{counts.min()} training samples; ask for fewer shots or leave that class out."
        )
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in classes]
    return np.stack(
        [np.concatenate([rng.choice(rows, shots, replace=False) for rows in members]) for _ in range(draws)]
    )


def _predict(classifier: str, x: Tensor, y: Tensor, queries: Tensor, classes: int) -> Tensor:
    if classifier == "knn":
        return knn_predict(x, y, queries)
    if classifier == "linear":
        return SoftmaxPath(x, y, classes).solve(STRENGTH).logits(queries).argmax(1)
    unit = normalize(x, dim=1)
    sums = torch.zeros(classes, x.shape[1], device=x.device).index_add_(0, y, unit)
    return (queries @ normalize(sums, dim=1).T).argmax(1)


def _shots(split: Split, seed: int, classifier: str, suffix: str) -> Scores:
    smallest = np.unique(split.train_y, return_counts=True)[1].min()
    for shots in SHOTS:
        if shots <= smallest:
            score = few_shot(*split.arrays, shots=shots, classifier=classifier, seed=seed)  # type: ignore[arg-type]
            yield f"{shots} label{'s' if shots > 1 else ''}{suffix}", score


PROTOCOLS = {
    "few_shot": partial(_shots, classifier="centroid", suffix=""),
    "few_shot_knn": partial(_shots, classifier="knn", suffix=", k-NN"),
    "few_shot_linear": partial(_shots, classifier="linear", suffix=", linear"),
}
