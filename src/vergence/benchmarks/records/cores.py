"""CoReS on CIFAR-10: after two upgrades, is the index that the first version filled still of use?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import Arm, Metric, Task, generated
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine import embed
from vergence.evaluate.inputs import stratified
from vergence.evaluate.score import Score, mean_score
from vergence.methods.image import encoders
from vergence.methods.image.cores import CoReS, compatibility, simplex, verification
from vergence.train import learn
from vergence.use.topk import topk

LISTED, PAIRS, VERTICES = 10, 2_000, 16


@dataclass(frozen=True)
class Upgrades:
    """How versions follow each other.

    Args:
        versions: Classes that each has seen; further ones are kept for verification.
        each: Images a class.
        epochs: Of every training.
        batch: Images a step.
        width: Of the network.
        size: Side of the images.
    """

    versions: tuple[int, ...]
    each: int
    epochs: int
    batch: int
    width: int
    size: int


CIFAR = Upgrades(versions=(4, 6, 8), each=400, epochs=12, batch=128, width=32, size=32)


class Learned(CoReS):
    """Its classifier is trained like the rest, as is usual: every version finds places of its own."""

    def __init__(self, encoder: nn.Module, *, classes: int) -> None:
        super().__init__(encoder, classes=classes)
        start = torch.randn_like(self.vertices) / self.vertices.shape[1] ** 0.5
        del self.vertices
        self.vertices = nn.Parameter(start)


@cache
def versions(kind: str, seed: int, of: Upgrades, task: Task) -> list[nn.Module]:
    """Train a version for each upgrade, from scratch, on the classes and images so far.

    Args:
        kind: "fixed", "learned", or "present": a simplex of no more vertices than classes.
        seed: Of everything.
        of: How they follow each other.
        task: Has the images.
    """
    train, _ = task.data(seed)
    random = np.random.default_rng(seed)
    kinds = int(train.labels.max()) + 1
    order = [random.permutation(np.flatnonzero(train.labels == c))[: of.each] for c in range(kinds)]
    trained = []
    for number, classes in enumerate(of.versions):
        torch.manual_seed(100 * seed + number)
        net = encoders.build("resnet-tiny", size=of.size, width=of.width)
        method = (Learned if kind == "learned" else CoReS)(
            net, classes=classes if kind == "present" else VERTICES
        )
        with tempfile.TemporaryDirectory() as folder:
            run = learn(
                method,
                train.subset(np.sort(np.concatenate(order[:classes]))),
                epochs=of.epochs,
                batch_size=of.batch,
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


def listed(queries: nn.Module, gallery: nn.Module, test: Source, seed: int, of: Upgrades) -> Score:
    """Precision among the first answers, of test images of the classes that the first version knew."""
    assert test.labels is not None
    known = test.subset(np.flatnonzero(test.labels < of.versions[0]))
    assert known.labels is not None
    first, second = (known.subset(rows) for rows in stratified(known.labels, 0.5, seed=seed))
    assert first.labels is not None and second.labels is not None
    x, y = embed(queries, first).vectors, embed(gallery, second).vectors
    width = max(x.shape[1], y.shape[1])
    _, rows = topk(torch.as_tensor(of_width(x, width)), torch.as_tensor(of_width(y, width)), LISTED)
    return mean_score((second.labels[rows.numpy()] == first.labels[:, None]).mean(1))


def unseen(models: list[nn.Module], test: Source, seed: int, of: Upgrades) -> float:
    """AM: mean accuracy of verification of every version against itself and those before."""
    assert test.labels is not None
    some = test.subset(np.flatnonzero(test.labels >= of.versions[-1]))
    assert some.labels is not None
    random = np.random.default_rng(seed)
    first, second = random.integers(len(some), size=(2, PAIRS))
    same = some.labels[first] == some.labels[second]
    x = [embed(version, some).vectors for version in models]
    width = max(part.shape[1] for part in x)
    x = [of_width(part, width) for part in x]
    table = [[verification(new[first], old[second], same, seed=seed) for old in x] for new in x]
    return compatibility(np.array(table)).mean


def arm(kind: str, of: Upgrades) -> Arm:
    """Return the arm of all versions of a kind: searched across, searched anew, and told apart."""

    def measure(task: Task, seed: int) -> dict[str, Score | float]:
        first, *_, last = models = versions(kind, seed, of, task)
        test = task.data(seed)[1]
        crossed = listed(last, first, test, seed, of)  # queries by the last version, gallery by the first
        lost = listed(last, last, test, seed, of).value - crossed.value
        return task.scores(crossed, lost, unseen(models, test, seed, of))

    return measure


METRICS = (
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
)

GLYPHS = Upgrades(versions=(3, 5, 7), each=80, epochs=12, batch=40, width=8, size=16)


def glyphs(source: None, seed: int) -> tuple[Source, Source]:
    """Generate upright glyphs of nine kinds, two of which no version sees, in noise."""
    del source
    random = np.random.default_rng([58, seed])
    cells = random.permuted(np.tile([-1, -1, -1, -1, 1, 1, 1, 1, 1], (9, 1)), axis=1)
    drawn = cells.reshape(-1, 3, 3).repeat(3, axis=1).repeat(3, axis=2)  # 9 x 9 pixels
    label = np.arange(9 * 2 * GLYPHS.each) % 9
    pixels = 0.5 + 0.15 * random.normal(size=(len(label), GLYPHS.size, GLYPHS.size, 3))
    place = random.integers(GLYPHS.size - 8, size=(len(label), 2))
    for picture, (top, left), kind in zip(pixels, place, label, strict=True):
        picture[top : top + 9, left : left + 9] += 0.2 * drawn[kind][..., None]
    reader = PixelReader((255 * pixels.clip(0, 1)).astype(np.uint8), label, None, "glyphs")
    whole = ImageSource(reader, "memory:glyphs", pixels=reader.pixels, view_options={"flip": 0.0})
    half = len(label) // 2
    return whole.subset(np.arange(half)), whole.subset(np.arange(half, 2 * half))


def products() -> Iterator[tuple[Any, Any]]:
    """Give the simplex by the products of its vertices."""
    for count in (2, 5, 17):
        wanted = np.full((count, count), -1 / (count - 1))
        np.fill_diagonal(wanted, 1.0)
        vertices = simplex(count).double()
        yield (vertices @ vertices.T).numpy(), wanted


PARITY = Parity(
    "second", "products of the simplex's vertices, which are held in float32, by hand", compare=products
)
MECHANISM = Mechanism(
    "Upright 3 x 3 glyphs of nine kinds on noisy pictures of 16 x 16, 80 a kind. Three versions know 3, 5 "
    "and 7 kinds, each trained from scratch: only fixed places keep a kind where the first version's index "
    "has it. Settings were chosen before any run.",
    task=generated(glyphs, *METRICS),
    arms={
        "paper": arm("fixed", GLYPHS),
        "classifier learned, by each version for itself": arm("learned", GLYPHS),
        "simplex of the present classes only": arm("present", GLYPHS),
    },
)

RECORD = Record(
    key="cores",
    claim="Versions that share a fixed simplex can search the index of an earlier one.",
    task=cifar10(*METRICS, train=50_000, test=10_000),
    arms={
        "paper": arm("fixed", CIFAR),
        "classifier learned, by each version for itself": arm("learned", CIFAR),
        "simplex of the present classes only": arm("present", CIFAR),
    },
    seeds=(0, 1, 2),
    mechanism=MECHANISM,
    parity=PARITY,
    note="Versions know 4, 6 and 8 classes, 400 images each; resnet-tiny of width 32, 12 epochs, "
    f"{VERTICES} vertices. Test images of the first 4 classes, half of them asked for; chance is 0.25.",
)
