"""NNCLR on CIFAR-10 and in a world of kinds: does a neighbour teach what two views cannot?"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._kinds import (
    CHANGES,
    KINDS,
    NEAR,
    OF_KIND,
    OF_THING,
    THINGS,
    kinds,
    of_its_kind,
)
from vergence.benchmarks.records._looks import BothLooks, on_looks, other_look
from vergence.benchmarks.tasks import Metric, generated
from vergence.methods.pairs.nnclr import NNCLR
from vergence.methods.pairs.simclr import SimCLR


class Twice(BothLooks, NNCLR):  # type: ignore[misc]
    """Both pictures of a thing are the views."""


class Itself(Twice):
    """A view's own vector in the place of its neighbour's."""

    def nearest(self, z: Tensor) -> Tensor:
        return z


class TwiceSimCLR(BothLooks, SimCLR):  # type: ignore[misc]
    """The same for SimCLR."""


STRONG, CHANGE = 2.0, 2.0  # deviations of the causes that a kind shares and of those that change
small: dict[str, Any] = {"dim": 32, "hidden": 64, "predictor_hidden": 64, "queue": 1_000}
learns = on_looks(epochs=12, batch=200, lr=1e-2)
MECHANISM = Mechanism(
    f"{THINGS:,} things of {KINDS} kinds, each photographed twice. Pictures mix {OF_KIND} causes that a kind "
    f"shares, {OF_THING} that both pictures of a thing share, and {CHANGES} that change, of {STRONG:g}, 1 "
    f"and {CHANGE:g} times the same deviation. Both pictures of a thing agree in all that it keeps, and a "
    "linear map to 8 numbers spends itself on that. The nearest picture of another thing is often of the "
    "same kind, and shares with it what the kind shares: no way to photograph one thing twice tells that. "
    "Settings were chosen on seeds 100 and 101.",
    task=generated(
        partial(kinds, kind=STRONG, change=CHANGE),
        Metric("mAP of the kind", other_look),
        Metric(f"share of the {NEAR} nearest of other things that are of the kind", of_its_kind),
    ),
    arms={
        "paper": learns(partial(Twice, **small)),
        "itself in place of its neighbour": learns(partial(Itself, **small)),
        "SimCLR": learns(partial(TwiceSimCLR, dim=32, hidden=64)),
        "untrained": learns.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "port",
    "github.com/vturrisi/solo-learn, NNCLR of solo/methods/nnclr.py: losses, gradients and queue over five "
    "steps of SGD, four seeds, float64 (in float32 1.1e-5 of the largest)",
    commit="9187ea39c2c3f43c455ab06664d2b019a9802954",
    max_abs=2.6e-14,
    max_rel=2.5e-14,
)
train = short(epochs=6)
cifar = partial(NNCLR, queue=2_048)

RECORD = Record(
    key="nnclr",
    claim="To be found by the nearest of other samples teaches more than to be found by one's other view.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "SimCLR": train(SimCLR),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="AdamW in place of the paper's LARS, 5,000 photos for 6 epochs and a queue of 2,048.",
    mechanism=MECHANISM,
    parity=PARITY,
)
