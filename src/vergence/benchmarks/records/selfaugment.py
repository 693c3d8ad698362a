"""SelfAugment on CIFAR-10: do chosen policies teach, and does the probe rank encoders as labels would?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, Self

import numpy as np
from scipy.stats import spearmanr
from torch import nn

from vergence.benchmarks.record import Record, open_data
from vergence.benchmarks.records._photos import Finding, as_found, stand_in
from vergence.core import Estimator, Method
from vergence.data import Source
from vergence.evaluate.baselines import features
from vergence.evaluate.protocols.linear import linear
from vergence.methods.image.selfaugment import Judge, SelfAugment, Turns, rotation_probe, turned_features
from vergence.views.pixels.operations import Policy

IMAGES, TEST, EPOCHS, BATCH, FOLDS, TRIALS, LOOK = 1_500, 2_000, 5, 128, 2, 36, 128
WIDTH = 24


class Chooser(SelfAugment):
    """SelfAugment with a narrow network."""

    def network(self, source: Source) -> Any:
        from vergence.methods.image import encoders

        return encoders.build("resnet-tiny", size=32, width=WIDTH)


Objective = Literal["min-max", "rotation", "contrast"]


def chooser(objective: Objective = "min-max") -> Chooser:
    made = Chooser(
        objective=objective, bases=("crop",), folds=FOLDS, repeats=1, trials=TRIALS, keep=3, look=LOOK,
        batch_size=BATCH, lr=2e-3, optimizer="adamw", weight_decay=1e-4, epochs=EPOCHS, search_epochs=EPOCHS,
    )  # fmt: skip
    made.base = "crop"
    return made


@cache
def photos() -> tuple[Source, Source]:
    """Return photos to learn from and photos to judge by."""
    train, test = open_data(RECORD)
    return train, test


@cache
def judges(seed: int) -> list[Judge]:
    """Train the networks of every fold; all objectives share them."""
    train, _ = photos()
    parts = np.array_split(np.random.default_rng(seed).permutation(len(train)), FOLDS)
    made = chooser()
    return [
        made.judge(
            train.subset(np.sort(np.concatenate([*parts[:i], *parts[i + 1 :]]))),
            train.subset(np.sort(held)[:LOOK]),
            seed + i,
        )
        for i, held in enumerate(parts)
    ]


class Retrained(Estimator):
    """SimCLR on crops and a policy that was chosen in some way.

    Args:
        choose: Seed -> policy, or None for none.
    """

    def __init__(self, choose: Callable[[int], Policy | None]) -> None:
        self.choose = choose

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        train, _ = photos()
        self.encoder = chooser().train(train, self.choose(seed), epochs=EPOCHS, seed=seed).encoder
        return self


def searched(objective: Objective, seed: int) -> Policy:
    lists = [
        one for i, judge in enumerate(judges(seed)) for one in chooser(objective).search(judge, seed=seed + i)
    ]
    return Policy(lists)


def by_labels(encoder: nn.Module, seed: int) -> float:
    return linear(*features(encoder, *photos()).arrays, seed=seed).value


TRIED: tuple[tuple[str, Policy | None], ...] = (
    ("crop", None),
    ("crop", Policy([[("saturation", 0.8, 0.1), ("brightness", 0.8, 0.7)]])),
    (
        "crop",
        Policy(
            [[("invert", 0.5, 0.0), ("solarize", 0.8, 0.9)], [("cut-out", 1.0, 1.0), ("equalize", 1.0, 0.0)]]
        ),
    ),
    ("crop", Policy([[("brightness", 0.9, 0.0), ("contrast", 0.9, 0.0)]])),
    ("flip", None),
    ("jitter", None),
    ("grey", None),
    ("solarize", None),
)


@cache
def ranked(seed: int) -> dict[str, float]:
    """Train with every augmentation; return how the probe and the loss rank them beside labels."""
    train, test = photos()
    made, found = chooser(), []
    for base, policy in TRIED:
        method: Method = made.train(train, policy, base=base, epochs=EPOCHS, seed=seed)
        probe = rotation_probe(method.encoder, train, test.subset(np.arange(1_000))).mean()
        batches = list(test.subset(np.arange(512)).loader(256, spec={"size": 32}))
        judge = Judge(
            method, Turns.fit(*turned_features(method.encoder, train.subset(np.arange(64)))), batches, 0
        )
        found.append((by_labels(method.encoder, seed), probe, -judge(policy)[1]))
    labels, probes, losses = zip(*found, strict=True)
    return {
        "rotation": float(spearmanr(labels, probes).statistic),
        "contrast": float(spearmanr(labels, losses).statistic),
    }


def ranking(criterion: str) -> Finding:
    """An arm: the rank correlation of a criterion without labels with the probe with labels."""
    return Finding(lambda source, seed: ranked(seed)[criterion])


_COMMON: dict[str, Any] = {
    "source": "cifar10",
    "train": IMAGES,
    "test": TEST,
    "epochs": EPOCHS,
    "batch": BATCH,
    "encoder": None,
    "size": 32,
    "seeds": (0, 1, 2),
    "pixels": False,
    "prepare": stand_in,
}

RECORD = Record(
    key="selfaugment",
    claim="Policies that keep turns visible and yet are hard for the contrast teach more than those of "
    "either loss alone.",
    arms={
        "paper": lambda _: Retrained(partial(searched, "min-max")),
        "hardest for the contrast": lambda _: Retrained(partial(searched, "contrast")),
        "turns most visible": lambda _: Retrained(partial(searched, "rotation")),
        "base alone": lambda _: Retrained(lambda seed: None),
    },
    protocol=lambda encoder, train, test, seed: by_labels(encoder, seed),
    metric="linear probe accuracy",
    note=f"SimCLR (resnet-tiny of width {WIDTH}) on {IMAGES:,} photos, {EPOCHS} epochs; the base is a random "
    f"crop; {TRIALS} policies are tried in each of {FOLDS} folds on {LOOK} photos. The paper tries 200 in 5.",
    also=(
        Record(
            key="selfaugment",
            claim="The rotation probe ranks encoders as labels would, the contrast's loss does not.",
            arms={"paper": lambda _: ranking("rotation"), "contrast loss": lambda _: ranking("contrast")},
            protocol=as_found,
            metric="Spearman correlation with linear probes over labels",
            note=f"Of {len(TRIED)} augmentations, each trained anew with every seed.",
            **_COMMON,
        ),
    ),
    **_COMMON,
)
