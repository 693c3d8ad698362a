"""ProtoSim on CIFAR-10: two collections that share some classes; which images are of one alone?"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import roc_auc_score
from torch import nn

from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import cifar10, simclr
from vergence.benchmarks.tasks import Metric, Task
from vergence.data import Source
from vergence.data.image.joined import joined
from vergence.engine import embed
from vergence.train import learn
from vergence.use.protosim import Comparison, ProtoEncoder, ProtoSim, compare

K = 64
OWN, SHARED = 3, 4  # classes of each collection alone, and of both
TRAIN, TEST = 1_500, 1_000  # photos of a collection
SEEN, SEEN_EPOCHS = 6_000, 5
EPOCHS, BATCH, LR = 5, 128, 3e-3
TASK = cifar10(
    Metric("AUC: photos of classes of one collection alone among all of its, by their prototypes' shares"),
    train=50_000,
    test=10_000,
)


@cache
def backbone() -> nn.Module:
    """Train SimCLR on all classes alike."""
    return simclr(TASK.data(0)[0].subset(np.arange(SEEN)), epochs=SEEN_EPOCHS, seed=0)


@cache
def collections(seed: int, part: int) -> tuple[list[Source], list[np.ndarray]]:
    """Deal out two collections, to learn from (part 0) or to compare (part 1).

    Returns:
        The collections, and for each photo whether its class is that collection's alone.
    """
    source, count = TASK.data(seed)[part], (TRAIN, TEST)[part]
    assert source.labels is not None
    classes = np.random.default_rng(seed).permutation(10)
    both, random = classes[2 * OWN :], np.random.default_rng([seed, part])
    free, dealt, alone = np.ones(len(source), bool), [], []
    for own in (classes[:OWN], classes[OWN : 2 * OWN]):
        rows = []
        for label in (*own, *both):
            of_label = random.permutation(np.flatnonzero(free & (source.labels == label)))
            rows.append(of_label[: count // (OWN + SHARED)])
        chosen = np.sort(np.concatenate(rows))
        free[chosen] = False
        dealt.append(source.subset(chosen))
        alone.append(np.isin(source.labels[chosen], own))
    return dealt, alone


@cache
def tokens(seed: int, part: int) -> list[np.ndarray]:
    """Return the tokens of each collection as prototypes see them, ``(n, T, D)``."""
    seen = ProtoEncoder(backbone(), 2)
    vectors = []
    for source in collections(seed, part)[0]:
        flat = embed(seen, source, read=lambda batch: seen.tokens(batch).flatten(1)).vectors
        vectors.append(flat.reshape(len(flat), -1, seen.out_dim))
    return vectors


def auc(scores: list[np.ndarray], seed: int) -> float:
    """How well scores of photos tell those of one collection alone, mean of both collections."""
    alone = collections(seed, 1)[1]
    return float(np.mean([roc_auc_score(a, s) for a, s in zip(alone, scores, strict=True)]))


def by_shares(compared: Comparison, seed: int) -> float:
    """A photo's score: how far its tokens' prototypes are its own collection's, mean of its tokens."""
    shares = np.nan_to_num(compared.shares, nan=0.5)
    return auc([shares[which][rows].mean(1) for which, rows in enumerate(compared.assigned)], seed)


def learned(task: Task, seed: int, **options: bool | float) -> float:
    (first, second), _ = collections(seed, 0)
    method = ProtoSim(
        backbone(),
        prototypes=K,
        outputs=1024,
        hidden=256,
        bottleneck=64,
        **options,  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as folder:
        run = learn(
            method,
            joined([first, second], ["first", "second"]),
            epochs=EPOCHS,
            batch_size=BATCH,
            lr=LR,
            warmup=1,
            out=Path(folder) / "run",
            seed=seed,
            workers=1,
            quiet=True,
        )
    assert isinstance(run.encoder, ProtoEncoder)
    return by_shares(compare(run.encoder, collections(seed, 1)[0], ["first", "second"]), seed)


def kmeans(x: np.ndarray, seed: int) -> MiniBatchKMeans:
    return MiniBatchKMeans(K, n_init=3, batch_size=4096, random_state=seed).fit(x.reshape(-1, x.shape[2]))


def of_all(task: Task, seed: int) -> float:
    """k-means of the tokens of both in place of prototypes."""
    model = kmeans(np.concatenate(tokens(seed, 0)), seed)
    assigned = tuple(model.predict(x.reshape(-1, x.shape[2])).reshape(x.shape[:2]) for x in tokens(seed, 1))
    counts = np.stack([np.bincount(part.ravel(), minlength=K) for part in assigned])
    return by_shares(Comparison(("first", "second"), counts, assigned, ()), seed)


def matched(task: Task, seed: int) -> float:
    """k-means of each collection, matched one to one: what is far from its match is of one alone."""
    models = [kmeans(x, seed) for x in tokens(seed, 0)]
    centres = [model.cluster_centers_ for model in models]
    distance = np.linalg.norm(centres[0][:, None] - centres[1], axis=2)
    rows, columns = linear_sum_assignment(distance)
    apart = (distance[rows, columns], distance[rows, columns][np.argsort(columns)])
    scores = []
    for model, far, x in zip(models, apart, tokens(seed, 1), strict=True):
        scores.append(far[model.predict(x.reshape(-1, x.shape[2]))].reshape(x.shape[:2]).mean(1))
    return auc(scores, seed)


PARITY = Parity(
    "official",
    "github.com/Nanne/ProtoSim, ProtoAttention of protosim.py without noise: replaced tokens, soft and hard, "
    "gradients of tokens and prototypes, and the chosen prototypes, eight random batches, float32",
    commit="fa23ffd037ec437fb4e53d3c5fe024dc93f50383",
    max_abs=2.4e-07,
    max_rel=5.2e-07,
)

RECORD = Record(
    key="protosim",
    claim="Prototypes learned by DINO's loss tell what one collection shows alone from what both show.",
    task=TASK,
    arms={
        "paper": learned,
        "no Gumbel noise": partial(learned, noise=False),
        "soft throughout": partial(learned, hard_from=1.0),
        "k-means of the tokens of both": of_all,
        "k-means of each, matched": matched,
    },
    seeds=(0, 1, 2),
    note=f"{OWN} classes of CIFAR-10 in each collection alone, {SHARED} in both, drawn with the seed; "
    f"{TRAIN:,} training photos a collection teach {K} prototypes ({EPOCHS} epochs), {TEST:,} test photos "
    f"are compared. Frozen encoder: SimCLR (resnet-tiny, {SEEN_EPOCHS} epochs on {SEEN:,} photos), 4 x 4 "
    "tokens. The paper has DINO's ViT-S/16 and 8,192 prototypes.",
    parity=PARITY,
)
