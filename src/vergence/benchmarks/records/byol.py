"""BYOL on CIFAR-10: what does the predictor do?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.methods.pairs.byol import BYOL

train = short(epochs=12)

RECORD = Record(
    key="byol",
    claim="A predictor between student and moving-average teacher makes agreement without negatives work.",
    task=cifar10(),
    arms={
        "paper": train(partial(BYOL, momentum=0.9)),
        "no predictor": train(partial(BYOL, momentum=0.9, predictor=False)),  # Table 5b
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's LARS, which wants a batch of 4,096 and 1,000 epochs; "
    "the teacher keeps 0.9 a step, better than 0.97 for a run this short on held-back training images.",
)
