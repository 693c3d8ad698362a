"""BYOL on CIFAR-10 and in a world of things seen twice: what do the predictor and a moving teacher do?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Fitted, Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import DIM, BothLooks, looks, other_look
from vergence.benchmarks.records.tldr import Principal
from vergence.benchmarks.tasks import Metric, generated
from vergence.methods.pairs.byol import BYOL


class Twice(BothLooks, BYOL):  # type: ignore[misc]
    """Both looks at a thing are the views."""


linear = Training(
    "linear",
    {"dim": DIM},
    epochs=40,
    batch=200,
    settings={"optimizer": "adamw", "lr": 1e-2, "warmup": 1},
)
small = partial(Twice, dim=16, hidden=64, momentum=0.9)
MECHANISM = Mechanism(
    "VICReg's world (1,000 things, each seen twice in 64 numbers that mix causes that stay with stronger "
    "ones that change): a linear map to 8 numbers is to find the other look among 2,000. Nothing but the "
    "predictor keeps student and teacher from saying the same of everything; a teacher that never moves "
    "is its own random start, and to predict it (the paper's first experiment, Sec. 3) teaches little. "
    "Settings were chosen on seed 100.",
    task=generated(looks, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(small),
        "no predictor": linear(partial(small, predictor=False)),
        "a teacher that stays": linear(partial(small, momentum=1.0)),
        "principal components": Fitted(partial(Principal, dim=DIM)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "port",
    "github.com/lightly-ai/lightly, BYOLProjectionHead, BYOLPredictionHead and NegativeCosineSimilarity "
    "(twice its sum and 4, which is Eq. 2), with the teacher of Sec. 3.3: losses, gradients and teacher "
    "over eight steps of SGD from three random starts, float64",
    commit="e8d317fc5a87f4387a85a35e689869039ec249ee",
    max_abs=8.9e-16,
    max_rel=7.4e-15,
)

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
    mechanism=MECHANISM,
    parity=PARITY,
)
