"""SCAN on scans of digits and on CIFAR-10: do neighbours and an entropy name classes that k-means misses?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, simclr
from vergence.benchmarks.tasks import Arm, Metric, Task, generated
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.batch import ImageBatch
from vergence.engine import Embeddings, embed
from vergence.evaluate.protocols.clustering import matched_accuracy
from vergence.evaluate.score import Score
from vergence.methods.image.scan import SCAN
from vergence.nets.classifier import Classifier
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.augment import plain
from vergence.views.pixels.strong import Strong

SIDE, HIDDEN, JUDGED, HEADS = 8, 128, 597, 10
PRETEXT = 15  # epochs of SimCLR, by whose features all arms on CIFAR-10 go


def accuracy(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Accuracy, under the best matching, of a classifier; of other encoders that of k-means on ``train``."""
    if isinstance(encoder, Classifier):
        named = embed(encoder, test, read=encoder.probabilities)
        assert named.labels is not None
        return matched_accuracy(named.vectors.argmax(1), named.labels)
    return kmeans_accuracy(embed(encoder, train), embed(encoder, test), seed)


def kmeans_accuracy(taught: Embeddings, judged: Embeddings, seed: int) -> Score:
    """Accuracy of k-means, the best of ten starts, on the directions of vectors."""
    assert judged.labels is not None
    unit = [x.vectors / np.linalg.norm(x.vectors, axis=1, keepdims=True) for x in (taught, judged)]
    groups = KMeans(10, n_init=10, random_state=seed).fit(unit[0])
    return matched_accuracy(groups.predict(unit[1]), judged.labels)


class MLP(ImageEncoder):
    """Two hidden layers on the pixels of 8 x 8 pictures."""

    def __init__(self) -> None:
        super().__init__(size=SIDE)
        self.out_dim, self.depth = HIDDEN, 1
        self.net = nn.Sequential(
            nn.Linear(3 * SIDE * SIDE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Tensor:  # type: ignore[override]
        self.check(need)
        return self.net(self.pixels(images).flatten(1))


class ByPixels(SCAN):
    """Neighbours are the nearest by their pixels; nothing is augmented."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        options = {"heads": HEADS, "neighbours": 10, "entropy": 2.0, **options}
        super().__init__(encoder, pretext=False, self_label=False, **options)
        self.strong = Strong(operations=0, hole=0.0)

    def features(self, batch: ImageBatch) -> Tensor:
        return plain(batch, SIDE).flatten(1)


class Strangers(ByPixels):
    """Neighbours are anybody."""

    def features(self, batch: ImageBatch) -> Tensor:
        return torch.randn(len(batch), 64, device=batch.pixels.device)


def kmeans_on_pixels(task: Task, seed: int) -> dict[str, Score | float]:
    taught, judged = (
        embed(MLP(), part, read=lambda batch: plain(batch, SIDE).flatten(1)) for part in task.data(seed)
    )
    return task.scores(kmeans_accuracy(taught, judged, seed))


def digits(source: Any, seed: int) -> tuple[Source, Source]:
    """Deal the scans of digits into some to learn from and others that judge."""
    whole = open_source("digits")
    rows = np.random.default_rng(seed).permutation(len(whole))
    return whole.subset(np.sort(rows[JUDGED:])), whole.subset(np.sort(rows[:JUDGED]))


small = Training(
    f"{__name__}:MLP", epochs=40, batch=256, size=SIDE, settings={"lr": 5e-3, "optimizer": "adam"}
)
MECHANISM = Mechanism(
    "1,200 scans of digits at 8 x 8 pixels, others judge: the ten nearest by their pixels are nearly all of "
    "one digit, but a digit is not one heap of pixels, as k-means needs. A small network of two hidden "
    "layers gets no labels and no augmentation; of ten heads the one of the lowest loss is kept. Without the "
    "entropy one class for all costs nothing; without true neighbours nothing tells the classes. Settings, "
    "also the entropy's weight of 2, were chosen on seeds 100 to 102.",
    task=generated(digits, Metric("accuracy under the best matching of ten classes", accuracy)),
    arms={
        "paper": small(ByPixels),
        "no entropy": small(partial(ByPixels, entropy=0.0)),
        "neighbours at random": small(Strangers),
        "k-means on the pixels": kmeans_on_pixels,
        "untrained": small.untrained,
    },
)
PARITY = Parity(
    "official",
    "github.com/wvangansbeke/Unsupervised-Classification, SCANLoss and ConfidenceBasedCE of losses/losses.py "
    "and mine_nearest_neighbors of utils/memory.py: losses of three heads on one network and their gradients "
    "by all weights, losses of self-labelling, and neighbours, five random batches, float32 (Eq. 2 in "
    "float64 3.6e-15)",
    commit="952ec31eee2c38e7233d8ad3ac0de39bb031877a",
    max_abs=1.9e-06,
    max_rel=1.9e-06,
)

sorts = Training(
    "resnet-tiny", {"width": 32}, epochs=10, batch=128, size=32, settings={"optimizer": "adam", "lr": 1e-3}
)


@cache
def pretext(seed: int) -> nn.Module:
    """Train SimCLR on the photos that all arms of a seed sort."""
    options = {"width": 32}
    train = TASK.data(seed)[0]
    return simclr(train, epochs=PRETEXT, seed=seed, encoder_options=options)


def sorted_by(**options: Any) -> Arm:
    """Return the arm of heads on the features of SimCLR, which stay as they are."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        train, test = task.data(seed)
        encoder = copy.deepcopy(pretext(seed))
        torch.manual_seed(seed)
        method = SCAN(encoder, heads=HEADS, pretext=False, frozen=True, self_label=False, **options)
        return task.judge(sorts.train(method, train, seed), train, test, seed)

    return arm


def by_kmeans(task: Task, seed: int) -> dict[str, Score | float]:
    return task.judge(pretext(seed), *task.data(seed), seed)


TASK = cifar10(Metric("accuracy under the best matching of ten classes", accuracy))

RECORD = Record(
    key="scan",
    claim="Neighbours that are to agree, and classes that are all to be used, sort photos better than "
    "k-means does by the same features.",
    task=TASK,
    arms={
        "paper": sorted_by(),
        "no entropy": sorted_by(entropy=0.0),
        "k-means on the same features": by_kmeans,
        "untrained": sorts.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note=f"5,000 photos, features of a small SimCLR of {PRETEXT} epochs; heads of 10 epochs, without "
    "self-labelling. The paper: SimCLR for 500 epochs on all photos by a ResNet-18, then the whole network. "
    "Here 32 % of a photo's 20 nearest are of its class (seed 0): what neighbours agree on is no class, and "
    "k-means does better.",
    mechanism=MECHANISM,
    parity=PARITY,
)
