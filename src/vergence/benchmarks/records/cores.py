"""CoReS on CIFAR-10: after two upgrades, is the index that the first version filled still of use?"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import Arm, Metric, Task
from vergence.data import Source
from vergence.engine import embed
from vergence.evaluate.inputs import stratified
from vergence.evaluate.score import Score, mean_score
from vergence.methods.image import encoders
from vergence.methods.image.cores import CoReS, compatibility, verification
from vergence.train import learn
from vergence.use.topk import topk

VERSIONS = (4, 6, 8)  # classes that each has seen; the last two of CIFAR-10 are kept for verification
VERTICES, A_CLASS, EPOCHS, WIDTH = 16, 400, 12, 32
LISTED, PAIRS = 10, 2_000


class Learned(CoReS):
    """Its classifier is trained like the rest, as is usual: every version finds places of its own."""

    def __init__(self, encoder: nn.Module, *, classes: int) -> None:
        super().__init__(encoder, classes=classes)
        start = torch.randn_like(self.vertices) / self.vertices.shape[1] ** 0.5
        del self.vertices
        self.vertices = nn.Parameter(start)


@cache
def versions(kind: str, seed: int) -> list[nn.Module]:
    """Train a version for each upgrade, from scratch, on the classes and images so far.

    Args:
        kind: "fixed", "learned", or "present": a simplex of no more vertices than classes.
        seed: Of everything.
    """
    train, _ = TASK.data(seed)
    random = np.random.default_rng(seed)
    order = [random.permutation(np.flatnonzero(train.labels == c))[:A_CLASS] for c in range(10)]
    trained = []
    for number, classes in enumerate(VERSIONS):
        torch.manual_seed(100 * seed + number)
        net = encoders.build("resnet-tiny", size=32, width=WIDTH)
        method = (Learned if kind == "learned" else CoReS)(
            net, classes=classes if kind == "present" else VERTICES
        )
        with tempfile.TemporaryDirectory() as folder:
            run = learn(
                method,
                train.subset(np.sort(np.concatenate(order[:classes]))),
                epochs=EPOCHS,
                batch_size=128,
                out=Path(folder) / "run",
                seed=seed + number,
                workers=1,
                quiet=True,
            )
        trained.append(run.encoder)
    return trained


def of_width(x: np.ndarray, width: int) -> np.ndarray:
    """Return vectors with zeros put behind them, so that versions of other widths can be compared at all."""
    return np.pad(x, ((0, 0), (0, width - x.shape[1])))


def listed(queries: nn.Module, gallery: nn.Module, test: Source, seed: int) -> Score:
    """Precision among the first answers, of test images of the classes that the first version knew."""
    assert test.labels is not None
    known = test.subset(np.flatnonzero(test.labels < VERSIONS[0]))
    assert known.labels is not None
    first, second = (known.subset(rows) for rows in stratified(known.labels, 0.5, seed=seed))
    assert first.labels is not None and second.labels is not None
    x, y = embed(queries, first).vectors, embed(gallery, second).vectors
    width = max(x.shape[1], y.shape[1])
    _, rows = topk(torch.as_tensor(of_width(x, width)), torch.as_tensor(of_width(y, width)), LISTED)
    return mean_score((second.labels[rows.numpy()] == first.labels[:, None]).mean(1))


def unseen(models: list[nn.Module], test: Source, seed: int) -> float:
    """AM: mean accuracy of verification of every version against itself and those before."""
    assert test.labels is not None
    some = test.subset(np.flatnonzero(test.labels >= VERSIONS[-1]))
    assert some.labels is not None
    random = np.random.default_rng(seed)
    first, second = random.integers(len(some), size=(2, PAIRS))
    same = some.labels[first] == some.labels[second]
    x = [embed(version, some).vectors for version in models]
    width = max(part.shape[1] for part in x)
    x = [of_width(part, width) for part in x]
    table = [[verification(new[first], old[second], same, seed=seed) for old in x] for new in x]
    return compatibility(np.array(table)).mean


def arm(kind: str) -> Arm:
    """Return the arm of all versions of a kind: searched across, searched anew, and told apart."""

    def measure(task: Task, seed: int) -> dict[str, Score | float]:
        first, *_, last = models = versions(kind, seed)
        test = task.data(seed)[1]
        crossed = listed(last, first, test, seed)  # queries by the last version, gallery by the first
        lost = listed(last, last, test, seed).value - crossed.value
        return task.scores(crossed, lost, unseen(models, test, seed))

    return measure


TASK = cifar10(
    Metric(f"precision of the first {LISTED} answers, queries by the third version, index by the first"),
    Metric(
        "precision with an index filled anew, less that with the first version's",
        less_is_better=True,
        claim="What is lost against filling the index anew is small.",
    ),
    Metric(
        "AM: mean verification accuracy over all pairs of a version and itself or an earlier one",
        claim="Pairs of classes that no version has seen are told apart across versions too.",
    ),
    train=50_000,
    test=10_000,
)

RECORD = Record(
    key="cores",
    claim="Versions that share a fixed simplex can search the index of an earlier one.",
    task=TASK,
    arms={
        "paper": arm("fixed"),
        "classifier learned, by each version for itself": arm("learned"),
        "simplex of the present classes only": arm("present"),
    },
    seeds=(0, 1, 2),
    note=f"Versions know {VERSIONS[0]}, {VERSIONS[1]} and {VERSIONS[2]} classes, {A_CLASS} images each; "
    f"resnet-tiny of width {WIDTH}, {EPOCHS} epochs, {VERTICES} vertices. Test images of the first "
    f"{VERSIONS[0]} classes, half of them asked for; chance is {1 / VERSIONS[0]:.2f}.",
)
