"""CoReS on CIFAR-10: after two upgrades, is the index that the first version filled still of use?"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.record import Record, open_data
from vergence.benchmarks.records._photos import Finding, Found
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
    train, _ = open_data(RECORD)
    assert train.labels is not None
    random = np.random.default_rng(seed)
    order = [random.permutation(np.flatnonzero(train.labels == c))[:A_CLASS] for c in range(10)]
    found = []
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
        found.append(run.encoder)
    return found


def of_width(x: np.ndarray, width: int) -> np.ndarray:
    """Return vectors with zeros put behind them, so that versions of other widths can be compared at all."""
    return np.pad(x, ((0, 0), (0, width - x.shape[1])))


def listed(queries: nn.Module, gallery: nn.Module, test: Source, seed: int) -> Score:
    """Precision among the first answers, of test images of the classes that the first version knew."""
    assert test.labels is not None
    known = test.subset(np.flatnonzero(test.labels < VERSIONS[0]))
    assert known.labels is not None
    asked, kept = (known.subset(rows) for rows in stratified(known.labels, 0.5, seed=seed))
    assert asked.labels is not None and kept.labels is not None
    x, y = embed(queries, asked).vectors, embed(gallery, kept).vectors
    width = max(x.shape[1], y.shape[1])
    _, rows = topk(torch.as_tensor(of_width(x, width)), torch.as_tensor(of_width(y, width)), LISTED)
    return mean_score((kept.labels[rows.numpy()] == asked.labels[:, None]).mean(1))


def crossed(found: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Queries by the last version, gallery by the first."""
    assert isinstance(found, Found)
    first, *_, last = found.what
    return listed(last, first, test, seed)


def lost(found: nn.Module, train: Source, test: Source, seed: int) -> float:
    """By how much that falls short of a gallery that the last version has filled anew."""
    assert isinstance(found, Found)
    *_, last = found.what
    return listed(last, last, test, seed).value - crossed(found, train, test, seed).value


def unseen(found: nn.Module, train: Source, test: Source, seed: int) -> float:
    """AM: mean accuracy of verification of every version against itself and those before."""
    assert isinstance(found, Found) and test.labels is not None
    some = test.subset(np.flatnonzero(test.labels >= VERSIONS[-1]))
    assert some.labels is not None
    random = np.random.default_rng(seed)
    first, second = random.integers(len(some), size=(2, PAIRS))
    same = some.labels[first] == some.labels[second]
    x = [embed(version, some).vectors for version in found.what]
    width = max(part.shape[1] for part in x)
    x = [of_width(part, width) for part in x]
    table = [[verification(new[first], old[second], same, seed=seed) for old in x] for new in x]
    return compatibility(np.array(table)).mean


CROSSED = Record(
    key="cores",
    claim="Versions that share a fixed simplex can search the index of an earlier one.",
    arms={
        "paper": lambda _: Finding(lambda source, seed: versions("fixed", seed)),
        "classifier learned, by each version for itself": lambda _: Finding(
            lambda source, seed: versions("learned", seed)
        ),
        "simplex of the present classes only": lambda _: Finding(
            lambda source, seed: versions("present", seed)
        ),
    },
    source="cifar10",
    train=50_000,
    test=10_000,
    epochs=EPOCHS,
    batch=128,
    encoder=None,
    seeds=(0, 1, 2),
    protocol=crossed,
    metric=f"precision of the first {LISTED} answers, queries by the third version, index by the first",
    pixels=False,
    note=f"Versions know {VERSIONS[0]}, {VERSIONS[1]} and {VERSIONS[2]} classes, {A_CLASS} images each; "
    f"resnet-tiny of width {WIDTH}, {EPOCHS} epochs, {VERTICES} vertices. Test images of the first "
    f"{VERSIONS[0]} classes, half of them asked for; chance is {1 / VERSIONS[0]:.2f}.",
)
RECORD = replace(
    CROSSED,
    also=(
        replace(
            CROSSED,
            claim="What is lost against filling the index anew is small.",
            protocol=lost,
            metric="precision with an index filled anew, less that with the first version's",
            less_is_better=True,
        ),
        replace(
            CROSSED,
            claim="Pairs of classes that no version has seen are told apart across versions too.",
            protocol=unseen,
            metric="AM: mean verification accuracy over all pairs of a version and itself or an earlier one",
        ),
    ),
)
