import pytest
import torch
from torch import nn

from vergence.benchmarks import arms
from vergence.benchmarks.arms import Fitted, Training, raw
from vergence.benchmarks.tasks import Metric, Task
from vergence.core import Estimator, Method
from vergence.data import open as open_source
from vergence.data.tables import from_vectors


class Supervise(Method):
    """Learns to tell dark photos from bright ones: enough to see that an arm was trained."""

    def __init__(self, encoder, sign=1.0):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, 1)
        self.sign = sign

    def views(self, batch):
        return batch

    def loss(self, batch):
        bright = batch.pixels.float().mean((1, 2, 3)) / 255
        return {"bright": (self.head(self.encode(batch))[:, 0] - self.sign * bright).square().mean()}


def digits():
    train = open_source("digits").subset(range(60))
    return train, train


def first_weight(encoder, train, test, seed):
    return float(next(encoder.parameters()).detach().flatten()[0])


TASK = Task("digits", (Metric("first weight", first_weight),), digits)
TRAIN = Training("resnet-tiny", epochs=1, batch=30, size=8)


def test_arms_of_a_seed_start_alike_and_seeds_differ():
    starts = []

    def method(encoder):
        starts.append(next(encoder.parameters()).detach().clone())
        return Supervise(encoder)

    arm, other = TRAIN(method), TRAIN(method, epochs=2)
    for seed in (0, 1):
        arm(TASK, seed), other(TASK, seed)
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[2], starts[3])
    assert not torch.equal(starts[0], starts[2])
    untrained = TRAIN.untrained(TASK, 0)["first weight"]
    assert untrained == starts[0].flatten()[0].item() != arm(TASK, 0)["first weight"]


def test_an_arm_has_its_own_steps_and_options_beside_the_common_ones(monkeypatch):
    seen = []

    def learn(method, source, **settings):
        seen.append(settings)
        return type("Run", (), {"encoder": method.encoder})

    monkeypatch.setattr(arms, "learn", learn)
    train = Training("resnet-tiny", {"width": 8}, epochs=3, batch=30, size=8, settings={"lr": 0.1})
    train(Supervise)(TASK, 0)
    train(Supervise, epochs=7, settings={"warmup": 1}, options={"width": 4})(TASK, 0)
    assert [(one["epochs"], one["lr"], one.get("warmup")) for one in seen] == [(3, 0.1, None), (7, 0.1, 1)]
    assert train(Supervise, options={"dim": 4}).training.options == {"width": 8, "dim": 4}


def test_options_of_a_kind_of_view_are_not_for_an_arm_that_makes_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr(arms, "learn", lambda method, source, **s: seen.append(s) or type("R", (), s))
    kind = type("Pair", (), {"views": "pair"})()
    own = type("Own", (), {"views": lambda self, batch: batch})()
    for method in (kind, own):
        with pytest.raises(AttributeError, match="encoder"):
            Training("x", epochs=1, settings={"views": {"blur": 0}}).train(method, [], 0)
    assert ["views" in one for one in seen] == [True, False]


def test_an_estimator_is_made_anew_with_every_seed():
    made = []

    class Mean(Estimator):
        def __init__(self):
            made.append(self)

        def fit(self, source, *, seed=0):
            self.encoder = seed
            return self

    task = Task("none", (Metric("seed", lambda encoder, *_: encoder),), lambda: ([], []))
    assert [Fitted(Mean)(task, seed) for seed in (3, 4)] == [{"seed": 3}, {"seed": 4}]
    assert len(made) == 2


def test_raw_is_what_the_source_shows():
    table = from_vectors(torch.eye(3).numpy())
    width = Metric("width", lambda encoder, train, test, seed: encoder(train.batch([0, 1])).shape[1])
    assert raw(Task("rows", (width,), lambda: (table, table)), 0) == {"width": 3}
    pixels = Metric("pixels", lambda encoder, train, test, seed: encoder.out_dim)
    assert raw(Task("digits", (pixels,), digits), 0) == {"pixels": 3 * 32 * 32}
