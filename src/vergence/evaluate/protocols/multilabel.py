"""Multi-label: a logistic regression a tag on frozen features, judged by mean average precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.preprocessing import StandardScaler

from vergence.core import BadInput
from vergence.evaluate.inputs import Array, stratified
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.data.targets import Tags
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("tags",)
STRENGTHS = (1.0, 0.1, 0.01, 1e-3)  # strong to weak


def mean_average_precision(scores: Array, truth: Array, known: Array, *, seed: int = 0) -> Score:
    """Mean over tags of the average precision; what nobody noted does not count.

    The interval is the bootstrap's over tags. A tag of which no judged sample is known to have it, or to lack
    it, is left out.

    Args:
        scores: ``(n, A)``, higher for yes.
        truth: ``(n, A)`` bool.
        known: ``(n, A)`` bool.
        seed: Of the bootstrap.

    Raises:
        BadInput: If no tag can be judged.
    """
    scores, truth, known = (np.asarray(part) for part in (scores, truth, known))
    values = []
    for tag in range(truth.shape[1]):
        rows = known[:, tag]
        right = truth[rows, tag]
        if right.any() and not right.all():
            values.append(average_precision_score(right, scores[rows, tag]))
    if not values:
        raise BadInput("mean_average_precision needs a tag that some samples have and some lack; got none.")
    return mean_score(np.array(values), note=f"{len(values)} tags", seed=seed)


def multilabel(train_x: Array, train: Tags, test_x: Array, test: Tags, *, seed: int = 0) -> Score:
    """Mean average precision of one logistic regression a tag on standardised frozen features.

    A tag is learned from the samples of which it is known; its L2 strength is the one of least log loss on a
    fifth of them, held out.

    Args:
        train_x: ``(N, D)`` features.
        train: Of the same N samples.
        test_x: ``(Q, D)`` features.
        test: Of those Q.
        seed: Of the held-out fifths.
    """
    x, z = (np.asarray(part, np.float64) for part in (train_x, test_x))
    scale = StandardScaler().fit(x)
    x, z = scale.transform(x), scale.transform(z)
    scores = np.zeros((len(z), train.values.shape[1]))
    for tag in range(scores.shape[1]):
        rows = train.known[:, tag].numpy()
        yes = train.values[:, tag].numpy()[rows].astype(np.int64)
        if 0 < yes.sum() < len(yes):
            scores[:, tag] = _fitted(x[rows], yes, seed).decision_function(z)
    return mean_average_precision(scores, test.values, test.known, seed=seed)


def _fitted(x: np.ndarray, yes: np.ndarray, seed: int) -> LogisticRegression:
    first, held = stratified(yes, 0.2, seed=seed)
    chosen = STRENGTHS[0]
    if len(np.unique(yes[held])) == 2:  # else nothing tells which is best
        losses = [
            log_loss(yes[held], _regression(s, len(first)).fit(x[first], yes[first]).predict_proba(x[held]))
            for s in STRENGTHS
        ]
        chosen = STRENGTHS[int(np.argmin(losses))]
    return _regression(chosen, len(x)).fit(x, yes)


def _regression(strength: float, rows: int) -> LogisticRegression:
    """Minimise mean log loss + strength / 2 * |weight|^2."""
    return LogisticRegression(C=1 / (strength * rows), max_iter=1000)


def _multilabel(split: Split, seed: int) -> Scores:
    def tags(part: str) -> tuple[np.ndarray, Tags]:
        embeddings = getattr(split, f"{part}_embeddings")
        target: Tags = getattr(split, part).target("tags", embeddings.index)
        return embeddings.vectors, target

    yield "tags, mAP", multilabel(*tags("train"), *tags("test"), seed=seed)


PROTOCOLS = {"multilabel": _multilabel}
