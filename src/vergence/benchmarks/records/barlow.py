"""Barlow Twins on CIFAR-10 and in a world of things seen twice: what does reducing redundancy add?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Fitted, Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import DIM, BothLooks, looks, other_look
from vergence.benchmarks.records.tldr import Principal
from vergence.benchmarks.tasks import Metric, generated
from vergence.methods.pairs.barlow import BarlowTwins


class Twice(BothLooks, BarlowTwins):  # type: ignore[misc]
    """Both looks at a thing are the views."""


linear = Training(
    "linear",
    {"dim": DIM},
    epochs=40,
    batch=200,
    settings={"optimizer": "adamw", "lr": 1e-2, "warmup": 1},
)
MECHANISM = Mechanism(
    "VICReg's world (1,000 things, each seen twice in 64 numbers that mix causes that stay with stronger "
    "ones that change): a linear map to 8 numbers is to find the other look among 2,000. Features that "
    "agree may all be one and the same cause; where they must not repeat each other, all that stays is "
    "kept. Of 128 features redundancy weighs .02; the paper's .005 is of 8,192. Settings were chosen on "
    "seed 100.",
    task=generated(looks, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(partial(Twice, hidden=128, weight=2e-2)),
        "no redundancy reduction": linear(partial(Twice, hidden=128, weight=0.0)),
        "principal components": Fitted(partial(Principal, dim=DIM)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/barlowtwins, BarlowTwins.forward of main.py: loss and gradients of five "
    "random pairs of views, float32 (in float64 1.1e-15 of the largest)",
    commit="8e8d284ca0bc02f88b92328e53f9b901e86b4a3c",
    max_abs=4.8e-06,
    max_rel=7.7e-07,
)

train = short(epochs=6)

RECORD = Record(
    key="barlow",
    claim="Features that do not repeat each other, not agreement alone, make a useful embedding.",
    task=cifar10(),
    arms={
        "paper": train(BarlowTwins),
        "no redundancy reduction": train(partial(BarlowTwins, weight=0.0)),  # λ = 0
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's LARS, which wants a batch of 2,048 and 1,000 epochs.",
    mechanism=MECHANISM,
    parity=PARITY,
)
