"""Gradient boosting, or a linear model, on frozen features, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
Classifier = Literal["boosting", "linear"]
SETTINGS: dict[str, Any] = {
    "max_iter": 100,
    "learning_rate": 0.05,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 10,
}


def boosting(
    train_x: Array, train_y: Array, test_x: Array, test_y: Array, *, seed: int = 0
) -> dict[str, Score]:
    """Judge frozen features by gradient-boosted trees on histograms (scikit-learn's).

    Args:
        train_x: ``(N, D)`` features.
        train_y: ``(N,)`` labels, at least 0, of 2 or more classes.
        test_x: ``(Q, D)`` features.
        test_y: ``(Q,)`` labels; a class that training lacks counts as wrong.
        seed: Of the trees.

    Returns:
        "accuracy" and, of two classes, "auc": the chance that a sample of the second is ranked above
        one of the first, with the 95 % interval of DeLong.
    """
    return _judge("boosting", train_x, train_y, test_x, test_y, seed)


def linear_auc(
    train_x: Array, train_y: Array, test_x: Array, test_y: Array, *, seed: int = 0
) -> dict[str, Score]:
    """Judge frozen features by logistic regression, strength chosen on training rows; as ``boosting``."""
    return _judge("linear", train_x, train_y, test_x, test_y, seed)


def cross_validated(
    x: Array, y: Array, classifier: Classifier = "boosting", *, folds: int = 5, seeds: Sequence[int] = (0,)
) -> dict[str, Score]:
    """Judge features on every sample by models that have not seen it.

    Args:
        x: ``(n, D)``.
        y: ``(n,)``, at least 0.
        classifier: "boosting" or "linear".
        folds: Stratified parts, each judged once by a model of the others.
        seeds: One shuffling of the folds each.

    Returns:
        "accuracy" and, of two classes, "auc": means over folds and shufflings with the 95 % interval
        of Student's t over all of them; folds share training rows, so that it is a little narrow.
    """
    from sklearn.model_selection import StratifiedKFold

    features, labels = (part.numpy() for part in labelled(x, y, "cross_validated"))
    by_name: dict[str, list[float]] = {}
    for seed in seeds:
        for first, second in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
            scores = _judge(
                classifier, features[first], labels[first], features[second], labels[second], seed
            )
            for name, score in scores.items():
                by_name.setdefault(name, []).append(score.value)
    return {name: _spread(np.array(values)) for name, values in by_name.items()}


def auc(scores: np.ndarray, positive: np.ndarray) -> Score:
    """Return the area under the ROC curve with DeLong's 95 % interval.

    Args:
        scores: ``(n,)``, higher for the positive class.
        positive: ``(n,)`` bool, both kinds present.

    Source: DeLong et al. 1988; Sun and Xu 2014 for the mid-rank form.

    >>> print(auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).value)
    0.75
    """
    if positive.all() or not positive.any():
        raise ValueError("auc needs samples of both classes.")
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores)
    above = (ranks[positive] - stats.rankdata(scores[positive])) / n  # share of negatives below each positive
    below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
    value = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.0) + (below.var(ddof=1) / n if n > 1 else 0.0)
    slack = 1.96 * float(variance) ** 0.5
    return Score(value, max(0.0, value - slack), min(1.0, value + slack), len(scores))


def _judge(
    classifier: str, train_x: Array, train_y: Array, test_x: Array, test_y: Array, seed: int
) -> dict[str, Score]:
    train, y = (part.cpu().numpy() for part in labelled(train_x, train_y, classifier))
    test, truth = (part.cpu().numpy() for part in labelled(test_x, test_y, classifier))
    if len(np.unique(y)) < 2:
        raise ValueError(f"{classifier} needs training labels of 2 or more classes, got 1.")
    model = _model(classifier, y, seed)
    model.fit(train, y)
    share = model.predict_proba(test)
    scores = {"accuracy": mean_score(model.classes_[share.argmax(1)] == truth)}
    if len(model.classes_) == 2 and set(np.unique(truth)) == set(model.classes_):
        scores["auc"] = auc(share[:, 1], truth == model.classes_[1])
    return scores


def _model(classifier: str, y: np.ndarray, seed: int) -> Any:
    if classifier == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(random_state=seed, **SETTINGS)
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inner = max(2, min(3, int(np.unique(y, return_counts=True)[1].min())))
    strengths = {"C": np.logspace(-4, 0, 5)}
    fitted = LogisticRegression(max_iter=300)
    return make_pipeline(StandardScaler(), GridSearchCV(fitted, strengths, cv=inner, scoring="neg_log_loss"))


def _spread(values: np.ndarray) -> Score:
    mean = float(values.mean())
    slack = 0.0
    if len(values) > 1:
        slack = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return Score(mean, max(0.0, mean - slack), min(1.0, mean + slack), len(values), "folds")


def _boosting(split: Split, seed: int) -> Scores:
    scores = boosting(*split.arrays, seed=seed)
    yield from ((f"boosted trees{', AUC' if name == 'auc' else ''}", score) for name, score in scores.items())


def _linear_auc(split: Split, seed: int) -> Scores:
    if (score := linear_auc(*split.arrays, seed=seed).get("auc")) is not None:
        yield "linear, AUC", score


PROTOCOLS = {"boosting": _boosting, "linear_auc": _linear_auc}
