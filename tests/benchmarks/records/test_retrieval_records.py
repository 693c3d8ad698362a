"""The runs of record of retrieval: arms differ in what they say they differ in."""

import numpy as np
import pytest
import torch

from vergence.benchmarks.records import isc2021, knn_revisit
from vergence.benchmarks.tasks import Task
from vergence.data.tables import from_vectors


@pytest.fixture
def small(monkeypatch):
    random = np.random.default_rng(0)
    centres = random.standard_normal((10, 16))

    def made(n):
        y = np.arange(n) % 10
        x = centres[y] + 1.5 * random.standard_normal((n, 16))
        return from_vectors((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y)

    both = made(300), made(200)
    monkeypatch.setattr(knn_revisit, "pools", lambda: both)
    monkeypatch.setattr(knn_revisit, "FEW", (5,))
    knn_revisit.fitted.cache_clear()
    yield Task("made", knn_revisit.RECORD.task.metrics[:1], lambda: both)
    knn_revisit.fitted.cache_clear()


def test_arms_of_knn_revisit_ask_the_same_classifier_for_its_parts(small):
    test, few = small.data(0)[1], small.metrics[0].name
    score = {name: arm(small, 0)[few].value for name, arm in knn_revisit.RECORD.arms.items()}
    model = knn_revisit.fitted(5, 0, "log")
    x, y = torch.as_tensor(test.numeric), test.labels
    parts = {"paper": model.proba(x), "neighbours alone": model.of_neighbours(x)}
    for name, p in parts.items():
        assert score[name] == pytest.approx((p.argmax(1).numpy() == y).mean())
    assert len(model.bank) == 50, "fitted to all labelled rows in the end"
    assert min(score.values()) > 0.2


def test_copies_train_on_strong_copies_in_place_of_the_usual_views():
    from vergence.data.image.batch import ImageBatch
    from vergence.methods.image import encoders

    method = isc2021.OfCopies(encoders.build("resnet-tiny", size=64, width=8))
    pixels = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    first, second = method.views(ImageBatch(pixels, torch.arange(4), torch.full((4,), -1)))
    assert first.shape == (4, 3, 64, 64) and not torch.equal(first, second)
    assert set(isc2021.RECORD.arms) >= {"paper", "scores as they are", "perceptual hash"}
