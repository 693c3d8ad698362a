"""MoCo v3 on CIFAR-10: a frozen patch projection and a slow teacher, at a high learning rate."""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.core import Clock
from vergence.methods.image.mocov3 import MoCoV3


class NoMomentum(MoCoV3):
    """Keys come from the student as it is, not from a slow copy."""

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(keep=0.0)


PARITY = Parity(
    "official",
    "github.com/facebookresearch/moco-v3, MoCo_ViT of moco/builder.py around this library's ViT, and the "
    "positions of vits.py: losses, gradients and teacher over eight steps of SGD from three random "
    "starts, float64",
    commit="c349e6e24f40d3fedb22d973f92defa4cedf37a7",
    max_abs=7.2e-12,
    max_rel=2.7e-11,
)

# Small heads and large crops: 32 pixels leave nothing to crop to a twelfth.
small = partial(MoCoV3, hidden=512, crop=0.2)

train = Training(
    "vit_tiny_patch16_224",
    {"patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3},
    epochs=20,
    size=32,
    batch=128,
    settings={"lr": 1e-3, "warmup": 1.0, "precision": "fp32"},
)

RECORD = Record(
    key="mocov3",
    claim="A ViT trains steadily against momentum keys while its patch projection stays random.",
    task=cifar10(),
    arms={
        "paper": train(partial(small, momentum=0.9)),
        "trained patches": train(partial(small, momentum=0.9, train_patches=True)),
        "no momentum": train(partial(NoMomentum, hidden=512, crop=0.2)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="20 epochs of a ViT of 16 patches and width 96, at 13 times the paper's learning rate for this "
    "batch, and a teacher of which .9 is kept at the start. The gradient norm of the first layer is in "
    "each run's metrics. Results of 2026-11-20 are of 4 epochs with .99, after which half of the teacher "
    "was still its random start, and their arm without momentum had a teacher that slowed down; they "
    "await a repetition.",
    parity=PARITY,
)
