"""Barlow Twins on CIFAR-10: what does reducing redundancy add to agreement?"""

from __future__ import annotations

from vergence.benchmarks.record import Record
from vergence.methods.pairs.barlow import BarlowTwins

RECORD = Record(
    key="barlow",
    claim="Features that do not repeat each other, not agreement alone, make a useful embedding.",
    arms={
        "paper": BarlowTwins,
        "no redundancy reduction": lambda encoder: BarlowTwins(encoder, weight=0.0),  # λ = 0
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
