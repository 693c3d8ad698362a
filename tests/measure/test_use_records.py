"""The runs of record of curation and clustering: what is drawn, and by what it is judged."""

import numpy as np
import pytest

from vergence.data.tables import from_vectors
from vergence.measure.records import clusterfug, hkmeans, sas
from vergence.measure.records._photos import Found

RANDOM = np.random.default_rng(0)


class Labelled:
    labels = np.repeat(np.arange(10), 5_000)


def test_the_pool_is_long_tailed():
    rows = hkmeans.tail(Labelled)
    sizes = np.bincount(Labelled.labels[rows])
    assert sizes[0] == 5_000 and sizes[9] == 50 and (np.diff(sizes) < 0).all()
    assert len(rows) == len(set(rows)) == sizes.sum() == 12_408


@pytest.mark.parametrize("arm", hkmeans.RECORD.arms)
def test_every_arm_keeps_as_many_rows(arm):
    source = from_vectors(RANDOM.standard_normal((2_000, 4)).astype(np.float32))
    rows = hkmeans.RECORD.arms[arm](None).fit(source, seed=1).encoder.what
    assert len(set(rows.tolist())) == hkmeans.KEEP


def test_evenness_is_1_of_equal_classes_and_0_of_one():
    source = from_vectors(RANDOM.standard_normal((2_000, 4)).astype(np.float32), np.arange(2_000) % 10)
    assert hkmeans.evenness(Found(np.arange(1_000)), source, source, 0) == pytest.approx(1)
    assert hkmeans.evenness(Found(np.arange(0, 10_000, 10) % 2_000), source, source, 0) == 0


def test_row_sums_ignore_redundancy_and_chosen_rows_do_not():
    x = RANDOM.standard_normal((300, 6)) + 0.5
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    arms = [choose(x, 180, 0) for choose in (sas.chosen, sas.by_row_sums, sas.at_random)]
    assert all(len(set(rows.tolist())) == 180 for rows in arms)
    assert len(set(arms[0]) & set(arms[1])) < 170


def test_k_means_is_told_as_many_clusters_as_the_multicut_found(monkeypatch):
    monkeypatch.setattr(clusterfug, "alpha", lambda: 0.3)
    source = from_vectors(RANDOM.standard_normal((60, 5)).astype(np.float32))
    found = [make(None).fit(source).encoder.what for make in clusterfug.RECORD.arms.values()]
    assert found[0].max() == found[2].max() and found[1].max() == 9
