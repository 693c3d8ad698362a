"""MoCo v2 on CIFAR-10, and things seen twice in small batches: do the queue and the slow keys help?"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import DIM, BothLooks, looks, other_look
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import Clock
from vergence.losses import info_nce
from vergence.methods.pairs.mocov2 import MoCoV2


class Twice(BothLooks, MoCoV2):  # type: ignore[misc]
    """Both looks at a thing are the views."""


class BatchAlone(Twice):
    """The keys of the same batch are the negatives; nothing is queued."""

    def loss(self, views: Any) -> dict[str, Tensor]:
        query, key = self.projector(self.encode(views[0])), self.teacher(views[1])
        return {"contrast": info_nce(query, key, temperature=self.temperature)}

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(self.momentum)


small = partial(Twice, dim=16, hidden=64, queue=512, momentum=0.99)
linear = Training(
    "linear",
    {"dim": DIM},
    epochs=10,
    batch=8,
    settings={"optimizer": "adamw", "lr": 2e-3, "warmup": 1},
)
MECHANISM = Mechanism(
    "VICReg's world (1,000 things, each seen twice in 64 numbers), in batches of 8: a linear "
    "map to 8 numbers is to find the other look among 2,000. A queue of 512 keys gives the negatives that a "
    "batch lacks, and keys of a copy that moves slowly fit each other. Settings were chosen on seeds 100 "
    "and 101.",
    task=generated(looks, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(small),
        "no momentum": linear(partial(small, momentum=0.0)),
        "no queue": linear(partial(BatchAlone, dim=16, hidden=64, queue=1, momentum=0.99)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/moco, MoCo of moco/builder.py without its shuffling among GPUs: losses, "
    "gradients and queue over five steps of SGD in float32 (in float64 1.1e-7 of the largest, since keys are "
    "queued in float32)",
    commit="132aea9da9bb995a411c915c0420be3db62052f3",
    max_abs=7.2e-07,
    max_rel=1.7e-06,
)

train = short(epochs=6)
cifar = partial(MoCoV2, queue=2048, momentum=0.99)

RECORD = Record(
    key="mocov2",
    claim="A queue of keys that a slow copy made gives a small batch the negatives that it lacks.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "no momentum": train(partial(cifar, momentum=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's SGD, a queue of 2,048 of 5,000 photos, and a teacher of which .99 is "
    "kept, for 234 steps in place of 1 million.",
    mechanism=MECHANISM,
    parity=PARITY,
)
