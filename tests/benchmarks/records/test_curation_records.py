"""The runs of record of copy descriptors, augmentation and exploration: arms differ as they say."""

import numpy as np
import pytest
import torch

import vergence
from vergence.benchmarks.record import data_root
from vergence.benchmarks.records import iexplorer, selfaugment, sscd
from vergence.benchmarks.records.isc2021 import Vectors
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
    found = Vectors(*(torch.tensor(x, dtype=torch.float32) for x in (queries, references, ground)))

    class Task:
        truth = np.r_[np.arange(20), np.full(40, -1)]
        edits = np.zeros((60, 7), bool)

    monkeypatch.setattr(sscd, "dealt", lambda seed: Task)
    for name in ("described", "hashed"):
        monkeypatch.setattr(sscd, name, lambda *_: found)


def test_arms_of_sscd_differ_in_vectors_and_scores(descriptors):
    def values(record):
        arms = {name: make(None).fit(None, seed=0).encoder.what for name, make in record.arms.items()}
        return {name: score.value for name, score in arms.items()}

    def asked(n, w):
        return pytest.approx(sscd.judged("sscd", 0, normalised=n, whitened=w).micro_ap.value)

    plain, white = values(sscd.RECORD), values(sscd.RECORD.also[0])
    assert plain["paper"] == asked(True, False) and plain["scores as they are"] == asked(False, False)
    assert white["paper"] == asked(True, True)
    assert len({plain["paper"], plain["scores as they are"], white["paper"]}) == 3


def test_arms_of_selfaugment_are_the_three_objectives_and_no_policy(monkeypatch):
    asked = []
    monkeypatch.setattr(selfaugment, "photos", lambda: ("train", "test"))
    monkeypatch.setattr(selfaugment, "searched", lambda objective, seed: asked.append(objective))

    class Trained:
        encoder = "net"

    monkeypatch.setattr(selfaugment.Chooser, "train", lambda self, source, policy, **_: Trained)
    for name, make in selfaugment.RECORD.arms.items():
        arm = make(None)
        if name != "base alone":
            arm = type(arm)(lambda seed, part=arm.choose: selfaugment.searched(*part.args, seed))
        assert arm.fit(None, seed=1).encoder == "net"
    assert asked == ["min-max", "contrast", "rotation"]


def test_arms_of_iexplorer_change_one_step_each(monkeypatch):
    made = {name: make(None) for name, make in iexplorer.RECORD.arms.items()}
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
