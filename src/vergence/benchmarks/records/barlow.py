"""Barlow Twins on CIFAR-10: what does reducing redundancy add to agreement?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.methods.pairs.barlow import BarlowTwins

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
)
