"""The arms of the table methods' runs of record differ from the paper in what they say."""

import numpy as np
import pytest
import torch

import vergence
from vergence.benchmarks.arms import Trained
from vergence.benchmarks.records import inffs, legato, ssdl, tldr
from vergence.data.tables import from_vectors
from vergence.methods.tables.encoders import for_source


def test_few_labels_are_five_a_class_and_no_row_judges_that_teaches():
    whole = vergence.open("sklearn:digits")
    train, test = ssdl.few(whole, 3)
    assert np.bincount(train.labels[train.labels >= 0]).tolist() == [5] * 10
    assert not set(train.rows) & set(test.rows) and len(train) + len(test) == len(whole)
    assert (test.labels >= 0).all()


def test_noise_is_appended_and_only_ranked_on_training_rows():
    train, test = inffs.with_noise(vergence.open("sklearn:breast_cancer"), 0)
    assert train.numeric.shape[1] == 60 and not set(train.rows) & set(test.rows)


def test_codes_correlate_in_pairs_only():
    result = np.corrcoef(legato.codes(0).T)
    assert abs(result[0, 1] - 0.5) < 0.1 and abs(result[1, 2]) < 0.12
    train, test = legato.views_of_codes(None, 0)
    assert len(train) == 800 and len(train.columns.groups) == 8
    assert legato.views_of_codes(None, 0)[1].numeric[0, 0] == test.numeric[0, 0]


def test_every_arm_of_tldr_learns_and_none_is_another_under_a_new_name():
    rng = np.random.default_rng(0)
    source, losses = from_vectors(rng.normal(size=(64, 8)), rng.integers(0, 2, 64)), []
    for name, arm in tldr.RECORD.arms.items():
        torch.manual_seed(0)
        if isinstance(arm, Trained) and arm.method is not None:
            method = arm.method(for_source(source, "linear", dim=4))
            method.setup(source)
            torch.manual_seed(1)
            loss = sum(method.loss(method.views(source.batch(np.arange(64)))).values())
            loss.backward()
            assert loss.isfinite() and method.encoder.map.weight.grad is not None, name
            losses.append(round(loss.item(), 4))
    assert len(set(losses)) == len(losses) == 4


@pytest.mark.parametrize("arm", ["paper", "paths of length 1", "raw"])
def test_columns_are_ranked_without_those_of_noise(arm):
    task = inffs.RECORD.task
    assert inffs.RECORD.arms[arm](task, 0)[task.metrics[0].name].value > 0.9
