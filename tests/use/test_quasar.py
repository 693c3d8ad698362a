"""Scores by anchors: the formula, what leaves the order alone, and blurred digits."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.quasar import anchors, rate

RANDOM = np.random.default_rng(0)
GOOD, BAD, X = (RANDOM.standard_normal((n, 6)) for n in (9, 7, 20))


def softmax_by_hand(x, t):
    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    ends = [(side / np.linalg.norm(side, axis=1, keepdims=True)).mean(0) for side in (GOOD, BAD)]
    plus, minus = (np.exp(cosine(x, end) / t) for end in ends)
    return plus / (plus + minus)


@pytest.mark.parametrize("t", [0.05, 1.0])
def test_the_formula(t):
    np.testing.assert_allclose(
        anchors(GOOD, BAD, temperature=t).score(X), [softmax_by_hand(x, t) for x in X], rtol=1e-4
    )


def test_sides_mirror_and_length_and_temperature_leave_the_order_alone():
    result = anchors(GOOD, BAD)
    np.testing.assert_allclose(anchors(BAD, GOOD).score(X), 1 - result.score(X), atol=1e-6)
    np.testing.assert_allclose(result.score(7 * X), result.score(X), atol=1e-6)
    order = anchors(GOOD, BAD, temperature=3).score(X).argsort()
    np.testing.assert_array_equal(order, result.score(X).argsort())


def test_patches_are_averaged():
    patches = X.reshape(5, 4, 6)
    np.testing.assert_allclose(
        anchors(GOOD, BAD).score(patches), anchors(GOOD, BAD).score(X).reshape(5, 4).mean(1), rtol=1e-5
    )


def spectrum(images):
    """A stand-in for an encoder: how much detail of which size."""
    return np.abs(np.fft.fft2(images))[:, :5, :5].reshape(len(images), -1)


def test_blur_is_graded_and_shuffled_anchors_know_nothing():
    scans, severity = load_digits().images, np.repeat([0, 0.4, 0.6, 0.8, 1.2], 100)
    sharp, seen = (
        scans[:100],
        np.stack([gaussian_filter(s, v) for s, v in zip(scans[200:700], severity, strict=True)]),
    )
    blurred = np.stack([gaussian_filter(s, 0.8) for s in scans[100:200]])
    result = anchors(spectrum(sharp), spectrum(blurred)).score(spectrum(seen))
    assert spearmanr(result, -severity)[0] > 0.7
    mixed = np.concatenate([spectrum(sharp), spectrum(blurred)])[RANDOM.permutation(200)]
    chance = anchors(mixed[:100], mixed[100:]).score(spectrum(seen))
    assert chance.std() < 0.2 * result.std()


def test_a_store_is_rated_by_conditions(tmp_path):
    both = np.concatenate([GOOD, BAD]).astype(np.float32)
    labels = np.repeat([0, 1], [9, 7])
    store = Store.create(tmp_path / "s.lance", None, both, ids=list("abcdefghijklmnop"), labels=labels)
    np.testing.assert_allclose(
        rate(store, good="label = 0", bad="label = 1"), anchors(GOOD, BAD).score(both), rtol=1e-5
    )
    with pytest.raises(BadInput, match="is bad: nothing fulfils label = 5"):
        rate(store, good="label = 0", bad="label = 5")


def test_mistakes_are_told():
    with pytest.raises(BadInput, match="have the same mean"):
        anchors(GOOD, GOOD)
    with pytest.raises(BadInput, match="Anchors are good"):
        anchors(GOOD, BAD[:, :3])
    with pytest.raises(BadInput, match="The anchors have 6 values, these vectors 3"):
        anchors(GOOD, BAD).score(X[:, :3])
