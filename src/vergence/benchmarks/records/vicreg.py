"""VICReg on CIFAR-10: what keeps all embeddings from becoming one?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.methods.pairs.vicreg import VICReg

train = short(epochs=6)

RECORD = Record(
    key="vicreg",
    claim="Holding up each feature's standard deviation is what prevents collapse, without any negatives.",
    task=cifar10(),
    arms={
        "paper": train(VICReg),
        "no variance term": train(partial(VICReg, variance=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's LARS, which wants a batch of 2,048 and 1,000 epochs.",
)
