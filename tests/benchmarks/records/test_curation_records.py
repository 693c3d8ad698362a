"""The runs of record of copy descriptors, augmentation and exploration: arms differ as they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vergence
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.records import iexplorer, selfaugment, sscd
from vergence.benchmarks.records.isc2021 import Vectors
from vergence.benchmarks.tasks import Metric, generated
from vergence.methods.image.iexplorer import tiered


@pytest.fixture
def descriptors(monkeypatch):
    """Copies near their originals, in a space whose first direction is common to all."""
    random = np.random.default_rng(0)
    references = random.standard_normal((60, 8)) + np.r_[4, np.zeros(7)]
    queries = np.concatenate(
        [
            references[:20] + 0.3 * random.standard_normal((20, 8)),
            random.standard_normal((40, 8)) + np.r_[4, np.zeros(7)],
        ]
    )
    ground = random.standard_normal((80, 8)) + np.r_[4, np.zeros(7)]
    result = Vectors(*(torch.tensor(x, dtype=torch.float32) for x in (queries, references, ground)))

    class Task:
        truth = np.r_[np.arange(20), np.full(40, -1)]
        edits = np.zeros((60, 7), bool)

    monkeypatch.setattr(sscd, "dealt", lambda seed: Task)
    for name in ("described", "hashed"):
        monkeypatch.setattr(sscd, name, lambda *_: result)


def test_arms_of_sscd_differ_in_vectors_and_scores(descriptors):
    def expected(n, w):
        return pytest.approx(sscd.judged("sscd", 0, normalised=n, whitened=w).micro_ap.value)

    scores = {name: arm(sscd.TASK, 0) for name, arm in sscd.RECORD.arms.items()}
    plain, white = (
        {name: result[metric.name].value for name, result in scores.items() if metric.name in result}
        for metric in sscd.TASK.metrics
    )
    assert plain["paper"] == expected(True, False) and plain["scores as they are"] == expected(False, False)
    assert white["paper"] == expected(True, True)
    assert set(white) == {"paper", "no entropy term", "SimCLR for the same time"}
    assert len({plain["paper"], plain["scores as they are"], white["paper"]}) == 3


def test_arms_of_selfaugment_are_the_three_objectives_and_no_policy(monkeypatch):
    objectives, policies = [], []
    monkeypatch.setattr(selfaugment, "photos", lambda: ("train", "test"))
    monkeypatch.setattr(selfaugment, "judges", lambda seed: ["judge"])

    def search(self, judge, *, seed):
        objectives.append(self.objective)
        return [[(self.objective, 0.5, 0.5)]]

    def train(self, source, policy, **_):
        policies.append(policy)
        return SimpleNamespace(encoder="net")

    monkeypatch.setattr(selfaugment.Chooser, "search", search)
    monkeypatch.setattr(selfaugment.Chooser, "train", train)
    monkeypatch.setattr(selfaugment, "Policy", list)
    task = generated(lambda *_: (), Metric("encoder", lambda encoder, *_: encoder))
    for arm in selfaugment.RECORD.arms.values():
        assert arm(task, 1) == {"encoder": "net"}
    assert objectives == ["min-max", "contrast", "rotation"]
    assert policies == [*([[(name, 0.5, 0.5)]] for name in objectives), None]


def test_arms_of_iexplorer_change_one_step_each(monkeypatch):
    made = {name: arm.estimator() for name, arm in iexplorer.RECORD.arms.items()}
    ratings = np.arange(40.0)
    odds = {name: arm.odds(ratings, 1.0) for name, arm in made.items()}
    for name in ("paper", "no regression: visited concepts only", "random rewards"):
        np.testing.assert_allclose(odds[name], tiered(ratings))
    np.testing.assert_allclose(odds["concepts drawn evenly"], 1 / 40)

    class Engine:
        concepts, vectors = list("abcd"), np.eye(4)

    visited = made["no regression: visited concepts only"]
    visited.engine = Engine
    assert visited.predicted(np.array([0, 2]), np.array([0.2, 0.4])) == pytest.approx([0.2, 0.3, 0.4, 0.3])
    x = torch.eye(3)
    assert not np.allclose(made["random rewards"].image_rewards(x, x), made["paper"].image_rewards(x, x))
    steps = {name: arm.epochs * (2 - (name == "target alone")) for name, arm in made.items()}
    assert len(set(steps.values())) == 1, "as many steps for all"


@pytest.mark.skipif(not (data_root() / "tiny-imagenet").is_dir(), reason="Tiny-ImageNet is not here")
def test_no_picture_is_in_two_parts():
    source = vergence.open(data_root() / "tiny-imagenet" / "train.parquet")
    parts = iexplorer.dealt(source, 3)
    names = [name for part in parts for name in part.names]
    assert [len(part) for part in parts] == [24 * 30, 24 * 30, 8_000] and len(set(names)) == len(names)
    assert set(parts[0].labels) == set(parts[1].labels) == set(iexplorer.wanted(3))
