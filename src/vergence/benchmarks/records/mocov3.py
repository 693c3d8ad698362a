"""MoCo v3 on CIFAR-10: a frozen patch projection and a slow teacher, at a high learning rate."""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10
from vergence.methods.image.mocov3 import MoCoV3

# Small heads and large crops: 32 pixels leave nothing to crop to a twelfth.
small = partial(MoCoV3, hidden=512, crop=0.2)

train = Training(
    "vit_tiny_patch16_224",
    {"patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3},
    epochs=4,
    size=32,
    batch=128,
    settings={"lr": 1e-3, "warmup": 1.0, "precision": "fp32"},
)

RECORD = Record(
    key="mocov3",
    claim="A ViT trains steadily against momentum keys while its patch projection stays random.",
    task=cifar10(),
    arms={
        "paper": train(small),
        "trained patches": train(partial(small, train_patches=True)),
        "no momentum": train(partial(small, momentum=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="4 epochs of a ViT of 16 patches and width 96, at 13 times the paper's learning rate for this "
    "batch. The gradient norm of the first layer is in each run's metrics.",
)
