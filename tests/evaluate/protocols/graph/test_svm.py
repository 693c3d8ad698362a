import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from vergence.evaluate.protocols.graph import svm_10fold
from vergence.evaluate.protocols.graph.folds import STRENGTHS
from vergence.evaluate.protocols.graph.svm import SVMPath


def overlapping(n, classes, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(classes, 6))[y] + 1.5 * rng.normal(size=(n, 6)), y


def libsvm(kernel, y, c):
    return SVC(C=c, kernel="precomputed", max_iter=200_000).fit(kernel, y)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_c_predicts_as_libsvm_that_begins_anew(classes, seed):
    x, y = overlapping(240, classes, seed)
    names = np.array([7, 3, 12])[y]
    kernel = rbf_kernel(x, gamma=0.1)
    fit, held = np.arange(180), np.arange(180, 240)
    path = SVMPath(kernel[np.ix_(fit, fit)], names[fit])
    across = kernel[np.ix_(held, fit)]
    for c, guess in zip(STRENGTHS, path.predictions(across, STRENGTHS), strict=True):
        machine = libsvm(kernel[np.ix_(fit, fit)], names[fit], c)
        decision = np.abs(np.atleast_2d(machine.decision_function(across).T)).min(0)
        certain = decision > 5e-3  # the tolerance is 1e-3
        np.testing.assert_array_equal(guess[certain], machine.predict(across)[certain])
        assert certain.mean() > 0.9 or c < 1  # decisions shrink with C


def test_the_solution_is_optimal_and_feasible_at_every_c():
    x, y = overlapping(120, 2, 2)
    kernel, sign = rbf_kernel(x, gamma=0.1), np.where(y == 0, 1.0, -1.0)
    path = SVMPath(kernel, y)
    for c in STRENGTHS:
        next(path.predictions(kernel, [c]))
        (pair,) = path.pairs
        assert pair.alpha.min() >= 0 and pair.alpha.max() <= c
        assert pair.alpha @ sign == pytest.approx(0, abs=1e-9 * c * len(y))
        error = sign - kernel @ (pair.alpha * sign)
        grows = np.where(sign > 0, pair.alpha < c, pair.alpha > 0)
        shrinks = np.where(sign > 0, pair.alpha > 0, pair.alpha < c)
        assert error[grows].max() - error[shrinks].min() < 2e-3


@pytest.mark.parametrize(("kernel", "classes"), [("rbf", 2), ("rbf", 3), ("linear", 2)])
def test_the_protocol_scores_as_with_libsvm_anew_for_every_c(kernel, classes):
    x, y = overlapping(150, classes, 3)
    strengths = (1e-2, 1e-1, 1.0, 10.0)
    right = []
    for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(x, y):
        gamma = 1 / (x.shape[1] * x[train].var())
        gram = rbf_kernel(x, gamma=gamma) if kernel == "rbf" else x @ x.T
        inner = gram[np.ix_(train, train)]
        accuracy = np.zeros(len(strengths))
        for fit, held in StratifiedKFold(5).split(inner, y[train]):
            for i, c in enumerate(strengths):
                machine = libsvm(inner[np.ix_(fit, fit)], y[train][fit], c)
                accuracy[i] += machine.score(inner[np.ix_(held, fit)], y[train][held])
        best = strengths[int(np.argmax(np.round(accuracy, 12)))]
        guess = libsvm(inner, y[train], best).predict(gram[np.ix_(test, train)])
        right += list(guess == y[test])
    assert svm_10fold(x, y, kernel=kernel, strengths=strengths).value == np.mean(right)
