"""G-SimCLR on pictures under lamps and on CIFAR-10: do batches of unlike images spare their kind?

What is not clear in the world of lamps is not what the clusters find: each is of one kind. In 510 steps a map
comes to marks or stays with looks, by luck too, with batches by label as well. With looks as strong as marks
these had 1.0 on seeds 105 and 106, and random batches .73 and 1.0; with looks stronger by .7, .36 and .70 to
.33 and .34.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import KNN, Metric, Task, generated
from vergence.core import Stage
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.source import Source
from vergence.evaluate.score import Score
from vergence.losses import nt_xent
from vergence.methods.image.gsimclr import GSimCLR, Guided, collision_rate
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.augment import View, centre_view

KINDS, LEARNED, JUDGED, SIDE = 3, 255, 1_020, 16
DIM = 2
LAMP, MARK, LOOK, PATTERN = 0.12, 0.08, 0.1, 0.15  # heights of what a picture is made of
GRAIN, DYE = 0.3, 0.15  # deviations of a view's pixels and of its colour

COLLISIONS = Metric(
    "share of a batch's pairs that are of one class",
    lambda *_: None,
    less_is_better=True,
    claim="Clusters keep those of a kind apart.",
    note="Measured over one epoch before training.",
)


class Linear(ImageEncoder):
    """One linear map of the pixels to 2 numbers."""

    def __init__(self) -> None:
        super().__init__(size=SIDE)
        self.out_dim, self.depth = DIM, 1
        self.map = nn.Linear(3 * SIDE * SIDE, DIM)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Tensor:  # type: ignore[override]
        self.check(need)
        return self.map(self.pixels(images).flatten(1))


def under_lamps(source: Any, seed: int) -> tuple[ImageSource, ImageSource]:
    """Generate pictures of kinds, each learned from under its own lamp and judged under any.

    A kind is one of three points on a circle, a picture's look any point on another, each drawn by two
    patterns; a faint pattern that no other picture has lies over both.
    """
    random = np.random.default_rng(seed)
    n = LEARNED + JUDGED
    label = np.arange(n) % KINDS
    lamp = label.copy()
    lamp[LEARNED:] = random.integers(0, KINDS, JUDGED)
    colours = np.stack([np.arange(KINDS) % 2, np.arange(KINDS) // 2, np.zeros(KINDS)], 1) * 2 - 1
    light = LAMP * colours[lamp] + 0.02 * random.normal(size=(n, 3))
    half = np.tile([1.0, -1.0], SIDE**2 // 2)
    ways = random.permuted(np.tile(half, (4, 1)), axis=1)
    own = random.permuted(np.tile(half, (n, 1)), axis=1)
    kind, look = 2 * np.pi * label / KINDS, random.uniform(0, 2 * np.pi, n)
    drawn = np.stack([MARK * np.cos(kind), MARK * np.sin(kind), LOOK * np.cos(look), LOOK * np.sin(look)], 1)
    drawn = (drawn @ ways + PATTERN * own).reshape(n, SIDE, SIDE, 1)
    pixels = 0.5 + light[:, None, None] + drawn
    pixels = (255 * (pixels + 0.02 * random.normal(size=pixels.shape)).clip(0, 1)).round().astype(np.uint8)
    reader = PixelReader(pixels, label, [f"kind {k}" for k in range(KINDS)], "lamps")
    whole = ImageSource(reader, "memory:lamps", pixels=pixels)
    return whole.subset(np.arange(LEARNED)), whole.subset(np.arange(LEARNED, n))


class Random(GSimCLR):
    """SimCLR: batches drawn at random."""

    def stages(self, source: Source) -> Sequence[Stage]:
        self.cluster = self.known(source)
        return [Stage("contrast", lambda _: self)]

    def known(self, source: Source) -> np.ndarray:
        return np.zeros(len(source), dtype=np.int64)


class Oracle(Random):
    """Batches with one image of each class."""

    def known(self, source: Source) -> np.ndarray:
        return np.asarray(source.labels)


def disturbed(batch: ImageBatch) -> list[View]:
    """Return two views that differ in noise and in colour."""
    views = [centre_view(batch, SIDE) for _ in range(2)]
    for view in views:
        dye = DYE * torch.randn(len(view), 3, 1, 1)
        view.pixels.add_(GRAIN * torch.randn_like(view.pixels)).add_(dye).clamp_(0, 1)
    return views


def of_disturbed(cls: type[GSimCLR]) -> Callable[..., GSimCLR]:
    """Return a method whose views differ in noise and in colour."""
    return type(f"Disturbed{cls.__name__}", (cls,), {"views": lambda self, batch: disturbed(batch)})


@dataclass(frozen=True)
class Sampled:
    """An arm that also says how often its batches pair images of one class.

    Args:
        method: Encoder -> method.
        training: Of its contrast; the autoencoder trains as many passes.
    """

    method: Callable[..., GSimCLR]
    training: Training

    def __call__(self, task: Task, seed: int) -> dict[str, Score | float]:
        train, test = task.data(seed)
        torch.manual_seed(seed)
        method = self.method(self.training.start(train))
        encoder = self.training.train(method, train, seed)
        assert method.cluster is not None
        order = Guided(train, method.cluster, method.clusters).order(0, seed=seed)
        rate = collision_rate(order, np.asarray(train.labels))
        return {**task.judge(encoder, train, test, seed), COLLISIONS.name: rate}


small = Training(
    f"{__name__}:Linear",
    epochs=6,
    batch=KINDS,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-2, "weight_decay": 1e-4, "warmup": 1},
)
sizes: dict[str, Any] = {"clusters": KINDS, "hidden": (), "dim": 16}
MECHANISM = Mechanism(
    f"Pictures of {KINDS} kinds, each with a mark, which lies on a circle of two patterns; every picture "
    "has a look of its own, anywhere on a circle of two others. Those learned from are under a lamp of "
    "their kind, which the autoencoder sees. Those that judge are under any, and views differ in colour, "
    "so that lamps serve nothing else, and in much noise. Where a batch has one picture of each kind, "
    "marks tell them apart better than looks, of which two may be near; where it has two of one kind, as "
    f"three random ones mostly do, looks serve better. One linear map to {DIM} numbers has room for one "
    f"circle. A batch has {KINDS} pictures. Random batches, the rival, and those by label, the ceiling, "
    "train alike. Settings were chosen on seeds 105 and 106. It takes the place of a world of 16 faint "
    "tints, which clusters hardly knew: 5.2 % of a guided batch's pairs were of one kind there, 6.3 % of "
    "a random one's, and guided batches gained nothing, .322 to .338 over five seeds. A run without "
    "looks, whose patterns were stronger, was broken off in seed 1: .728 to .774 of random batches in "
    "seed 0. The released notebooks' own autoencoder, order and training step (commit bd77e7f), with this "
    "record's map, views and optimizer, were run with seed 105 alone: batches of theirs paired no two of a "
    "kind and had .610, random ones, 31 % of whose pairs were, 1.0. There, too, a low share of such pairs "
    "did not decide what the map came to.",
    task=generated(under_lamps, KNN, COLLISIONS),
    arms={
        "paper": Sampled(partial(of_disturbed(GSimCLR), **sizes), small),
        "random batches": Sampled(partial(of_disturbed(Random), **sizes), small),
        "batches by label": Sampled(partial(of_disturbed(Oracle), **sizes), small),
        "untrained": small.untrained,
        "raw": raw,
    },
    rivals=("random batches",),
)


def derived() -> list[tuple[np.ndarray, np.ndarray]]:
    """Derive the order of an epoch and NT-Xent once more, as the released notebooks do, in plain loops."""
    random = np.random.default_rng(0)
    cluster = random.integers(0, 8, 200)
    order = Guided(None, cluster, 8).order(3, seed=1).ravel()  # type: ignore[arg-type]
    count = [(cluster == k).sum() for k in range(8)]
    by_rank = [k for rank in range(200) for k in range(8) if rank < count[k]]
    pairs = [(np.sort(order), np.arange(200)), (cluster[order], np.array(by_rank))]
    x, y = random.normal(size=(2, 8, 5))
    total, rows = 0.0, [v / np.linalg.norm(v) for v in (*x, *y)]
    for i, row in enumerate(rows):
        scores = [math.exp(row @ other / 0.1) for j, other in enumerate(rows) if j != i]
        total -= math.log(math.exp(row @ rows[(i + 8) % 16] / 0.1) / sum(scores)) / 16
    ours = nt_xent(torch.from_numpy(x), torch.from_numpy(y), temperature=0.1).item()
    return [*pairs, (np.array([ours]), np.array([total]))]


PARITY = Parity(
    "second",
    "the order of an epoch (by rank within a cluster, then by cluster) and NT-Xent as the notebooks of "
    "github.com/ariG23498/G-SimCLR have them, in plain loops",
    compare=derived,
)
train = short(epochs=6)

RECORD = Record(
    key="gsimclr",
    claim="Batches of images that an autoencoder finds unlike have fewer false negatives, and teach more.",
    task=cifar10(KNN, COLLISIONS),
    arms={
        "paper": Sampled(partial(GSimCLR, clusters=128), train),
        "random batches": Sampled(partial(Random, clusters=128), train),
        "batches by label": Sampled(partial(Oracle, clusters=128), train),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("random batches",),
    seeds=(0, 1, 2),
    note="A small ResNet for 234 steps at a batch of 128, AdamW. The views are the paper's: no crops.",
    mechanism=MECHANISM,
    parity=PARITY,
)
