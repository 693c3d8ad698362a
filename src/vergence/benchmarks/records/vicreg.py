"""VICReg on CIFAR-10: what keeps all embeddings from becoming one?"""

from __future__ import annotations

from vergence.benchmarks.record import Record
from vergence.methods.pairs.vicreg import VICReg

RECORD = Record(
    key="vicreg",
    claim="Holding up each feature's standard deviation is what prevents collapse, without any negatives.",
    arms={
        "paper": VICReg,
        "no variance term": lambda encoder: VICReg(encoder, variance=0.0),
    },
    source="cifar10",
    train=5_000,
    test=5_000,
    epochs=6,
    batch=128,
    encoder="resnet-tiny",
    size=32,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
    note="AdamW in place of the paper's LARS, which wants a batch of 2,048 and 1,000 epochs.",
)
