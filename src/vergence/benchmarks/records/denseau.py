"""Pairing rules on mosaics: does the purity of a rule's pairs say what the cells trained by it are worth?

It does. Alignment and uniformity do not, in this world: over the seven rules, R of the probe on low alignment
and low uniformity of cells is from -0.97 to -0.50 with seeds 0 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._mosaics import MOSAICS, TILE, BothLooks, halves, kinds, mosaics, on_tiles
from vergence.benchmarks.records.densecl import small
from vergence.benchmarks.tasks import KNN, Metric, Task, generated
from vergence.core import Features, input_spec, pooled
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import Masks
from vergence.evaluate.denseau import alignment, dense_geometry, forecast, purity, uniformity_within
from vergence.evaluate.score import Score
from vergence.methods.image.densecl import DenseCL
from vergence.views.pixels.augment import View

RANK = "rank correlation, over pairing rules, of purity with mIoU of tiles' kinds"
FAULT = "purity that a planted fault takes away: every match one cell too far"
R = "R of that mIoU on low alignment and low uniformity of cells"
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of pairs that a rule makes of one kind
LAST, GROUPS = 50, 8  # last steps, in which purity is measured; random groups that it is held against
learns = on_tiles(epochs=8)


class Paired(BothLooks, DenseCL):
    """Cells alone; a share is paired with a cell of their kind, others with any. None: by similarity."""

    reads = ("masks",)

    def __init__(self, encoder: nn.Module, *, share: float | None) -> None:
        super().__init__(encoder, **{**small, "dense": 1.0, "dense_from": 0})
        self.share = share
        self.pure: list[list[float]] = []
        self.faulty: list[list[float]] = []

    def views(self, batch: ImageBatch) -> list[View]:  # type: ignore[override]
        masks = (batch.targets or {})["masks"]
        assert isinstance(masks, Masks)
        tiles = torch.as_tensor(masks.classes)[:, ::TILE, ::TILE].long()
        self.kinds = [half.flatten(1) for half in tiles.chunk(2, 2)]
        return super().views(replace(batch, targets=None))

    def match(self, seen: Features, meant: Features) -> Tensor:
        matches = super().match(seen, meant)
        first, second = self.kinds
        if self.share is not None:
            alike = first[:, :, None] == second[:, None]
            chosen = torch.rand(first.shape) < self.share
            matches = (torch.rand(alike.shape) + (alike & chosen[:, :, None])).argmax(2)
        groups = [(first, second), *((shuffled(first), shuffled(second)) for _ in range(GROUPS))]
        every = torch.ones_like(matches, dtype=torch.bool)
        self.pure.append([purity(matches, *pair, every) for pair in groups])
        self.faulty.append([purity(matches.roll(1, 1), *pair, every) for pair in groups])
        return matches


def shuffled(classes: Tensor) -> Tensor:
    """Return the classes of each mosaic's tiles in another order."""
    return classes.gather(1, torch.rand(classes.shape).argsort(1))


@dataclass(frozen=True)
class Tried:
    """What came of the rules, R of them.

    Args:
        pure: ``(R, 1 + GROUPS)``, purity of true kinds, and of random ones.
        faulty: The same of matches that are one cell too far.
        worth: ``(R,)`` mIoU of tiles' kinds.
        alignments, uniformities: ``(R,)`` of cells.
    """

    pure: np.ndarray
    faulty: np.ndarray
    worth: np.ndarray
    alignments: np.ndarray
    uniformities: np.ndarray


@cache
def tried(seed: int) -> Tried:
    """Train an encoder by each rule and measure them."""
    train, test = MOSAICS.data(seed)
    unseen, _ = mosaics(None, 1_000 + seed, moved=False)
    rows = []
    for share in (None, *SHARES):
        torch.manual_seed(seed)
        method = Paired(learns.start(train), share=share)
        encoder = learns.train(method, train, seed)
        cells = dense_geometry(encoder, unseen, crops=lambda photos, generator: halves(photos)).to_dict()
        pure, faulty = (np.mean(steps[-LAST:], 0) for steps in (method.pure, method.faulty))
        worth = kinds(encoder, train, test, seed).value  # type: ignore[arg-type]
        rows.append((pure, faulty, worth, cells["alignment"], cells["within"]))
    return Tried(*(np.stack(part) for part in zip(*rows, strict=True)))


def by_kinds(task: Task, seed: int) -> dict[str, Score | float]:
    """Rank the rules by the purity of their pairs."""
    rules = tried(seed)
    return {
        RANK: float(spearmanr(rules.pure[:, 0], rules.worth)[0]),
        FAULT: float(rules.pure[-1, 0] - rules.faulty[-1, 0]),
        R: forecast(rules.alignments, rules.uniformities, rules.worth),
    }


def by_random_groups(task: Task, seed: int) -> dict[str, Score | float]:
    """Rank the rules by a purity of kinds that tiles were given at random."""
    rules = tried(seed)
    ranks = [spearmanr(pure, rules.worth)[0] for pure in rules.pure[:, 1:].T]
    lost = rules.pure[-1, 1:] - rules.faulty[-1, 1:]
    return {RANK: float(np.mean(ranks)), FAULT: float(lost.mean())}


MECHANISM = Mechanism(
    "The mosaics of densecl's record. Cells are trained by pairs of seven rules: of one kind with a share of "
    "0, 20, 40, 60, 80 and 100 % and else of any, and most similar ones, as in DenseCL. The share of a "
    "rule's pairs that are of one kind is to rank the rules as the probe of their cells does, and to fall "
    "where every match is one cell too far; kinds given to tiles at random are to say nothing.",
    task=generated(
        mosaics,
        Metric(RANK),
        Metric(FAULT),
        Metric(
            R,
            note="Below 0: here, pairs of one kind teach cells to forget their colour, and what is matched "
            "by place is then less alike.",
        ),
    ),
    arms={"paper": by_kinds, "kinds at random": by_random_groups},
)


def second() -> list[tuple[Any, Any]]:
    """Derive alignment, uniformity and the regression again, cell by cell and by normal equations."""
    random = np.random.default_rng(0)
    f, g = random.normal(size=(2, 6, 9, 5))
    match, shown = random.integers(0, 9, (6, 9)), random.random((6, 9)) < 0.7
    unit = [x / np.sqrt((x**2).sum(2, keepdims=True)) for x in (f, g)]
    apart = [
        np.mean([((unit[0][b, i] - unit[1][b, match[b, i]]) ** 2).sum() for i in range(9) if shown[b, i]])
        for b in range(6)
    ]
    spread = [
        np.log(
            np.mean([
                np.exp(-2 * ((unit[0][b, i] - unit[0][b, k]) ** 2).sum())
                for i in range(9)
                for k in range(9)
                if i != k
            ])
        )
        for b in range(6)
    ]  # fmt: skip
    tensors = (torch.from_numpy(x) for x in (f, g, match, shown))
    a, u, y = random.normal(size=(3, 12))
    x = np.stack([np.ones(12), -a, -u], 1)
    slopes = np.linalg.solve(x.T @ x, x.T @ y)
    size = np.sqrt(1 - ((y - x @ slopes) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    return [
        (alignment(*tensors).numpy(), np.array(apart)),
        (uniformity_within(torch.from_numpy(f)).numpy(), np.array(spread)),
        (abs(forecast(a, u, y)), size),
    ]


train = short(epochs=3, blocks=(1, 1))
NETWORKS = [(weight, epochs) for weight in (0.0, 0.25, 0.5, 0.75) for epochs in (1, 3)]
OVER = "R of k-NN accuracy on low alignment and low uniformity, over eight networks"


class Mean(nn.Module):
    """An encoder whose map has one cell, the photo's vector."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.input_spec = input_spec(encoder)

    def forward(self, pixels: Tensor) -> Features:
        vector = pooled(self.encoder(pixels))
        return Features.of_map(vector, vector[:, :, None, None])


@cache
def networks(seed: int) -> np.ndarray:
    """Return A and U of cells, A and U of mean vectors, and k-NN accuracy of each, ``(8, 5)``."""
    learned, test = cifar10().data(seed)
    few = test.subset(np.arange(1_000))
    rows = []
    for weight, epochs in NETWORKS:
        arm = train(partial(DenseCL, queue=2048, momentum=0.99, dense=weight), epochs=epochs)
        torch.manual_seed(seed)
        encoder = arm.training.train(arm.method(arm.training.start(learned)), learned, seed)  # type: ignore[misc]
        cells = dense_geometry(encoder, few, seed=seed).to_dict()
        photos = dense_geometry(Mean(encoder), few, seed=seed).to_dict()
        worth = KNN.protocol(encoder, learned, test, seed).value  # type: ignore[misc, union-attr]
        rows.append([cells["alignment"], cells["within"], photos["alignment"], photos["across"], worth])
    return np.array(rows)


RECORD = Record(
    key="denseau",
    claim="Pairs of cells that share content teach cells what they are worth, and what share does is a "
    "forecast.",
    task=Task("cifar10", (Metric(OVER),), whole=cifar10().whole),
    arms={
        "paper": lambda task, seed: task.scores(forecast(*networks(seed)[:, [0, 1, 4]].T)),
        "mean vectors": lambda task, seed: task.scores(forecast(*networks(seed)[:, 2:].T)),
    },
    seeds=(0, 1, 2),
    note="Eight small ResNets, trained by DenseCL with four weights of its cells' term for 1 or 3 epochs, "
    "measured on 1,000 photos of the test part.",
    mechanism=MECHANISM,
    parity=Parity(
        "second", "the formulas of the module, cell by cell, and R by normal equations", compare=second
    ),
)
