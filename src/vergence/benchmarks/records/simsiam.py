"""SimSiam on CIFAR-10 and in a world of things seen twice: what keeps agreement from collapse?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import (
    CHANGES,
    COLUMNS,
    DIM,
    JUDGED,
    STAYS,
    THINGS,
    BothLooks,
    looks,
    other_look,
)
from vergence.benchmarks.tasks import Metric, generated
from vergence.methods.pairs.simsiam import SimSiam


class Twice(BothLooks, SimSiam):  # type: ignore[misc]
    """Both looks at a thing are the views."""


STRENGTH = 1.0  # deviation of what changes
small = partial(Twice, dim=32, predictor_hidden=16)
linear = Training(
    "linear",
    {"dim": DIM},
    epochs=60,
    batch=100,
    settings={"optimizer": "adamw", "lr": 3e-3, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{THINGS:,} things, each seen twice in {COLUMNS} numbers that mix {STAYS} causes that stay, {CHANGES} "
    f"that change, and noise. A linear map to {DIM} numbers is to find the other look among {2 * JUDGED:,}. "
    "Only agreement is asked for, and vectors that say little agree best: where gradients flow to both "
    "sides, or no predictor stands between them, nothing but batch norm stands against that. Settings were "
    "chosen on seed 100, where with few steps the predictor lags behind, and more is learned without it.",
    task=generated(partial(looks, strength=STRENGTH), Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(small),
        "gradient not stopped": linear(partial(small, stop_gradient=False)),
        "no predictor": linear(partial(small, predictor=False)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/simsiam, SimSiam of simsiam/builder.py and the loss of main_simsiam.py: "
    "losses and gradients over four steps of SGD, four seeds, float32 (in float64 1.2e-14 of the largest)",
    commit="a7bc1772896d0dad0806c51f0bb6f3b16d290468",
    max_abs=1.5e-07,
    max_rel=2.6e-06,
)
train = short(epochs=12)

RECORD = Record(
    key="simsiam",
    claim="A predictor, and no gradient to what it predicts, keep agreement without negatives from collapse.",
    task=cifar10(),
    arms={
        "paper": train(SimSiam),
        "gradient not stopped": train(partial(SimSiam, stop_gradient=False)),
        "no predictor": train(partial(SimSiam, predictor=False)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's SGD, 5,000 photos for 12 epochs in place of 800 on all.",
    mechanism=MECHANISM,
    parity=PARITY,
)
