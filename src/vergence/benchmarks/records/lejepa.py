"""LeJEPA on CIFAR-10 and in a world of corners: what does a Gaussian cloud hold that covariances do not?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, eye, nn, stack

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import BothLooks, other_look
from vergence.benchmarks.tasks import Metric, generated
from vergence.data.tables import TableSource, from_vectors
from vergence.methods.pairs.barlow import BarlowTwins
from vergence.methods.pairs.lejepa import LeJEPA
from vergence.methods.pairs.vicreg import VICReg
from vergence.nets import mlp

THINGS, JUDGED, COLUMNS = 1_000, 1_000, 64
SIDES, STAYS, CHANGES = 4, 8, 20  # causes of two values, causes that stay nearly, causes that change
WOBBLE, STRENGTH = 0.3, 2.0  # deviation between looks of what stays nearly; of what changes
DIM = 4


def corners(source: Any, seed: int) -> tuple[TableSource, TableSource]:
    """Generate rows in twos, the looks at one thing, which stands near one of 16 corners."""
    random = np.random.default_rng(seed)
    things = np.arange(THINGS + JUDGED).repeat(2)
    causes = [
        random.choice([-1.0, 1.0], size=(THINGS + JUDGED, SIDES))[things],
        random.normal(size=(THINGS + JUDGED, STAYS))[things],
        STRENGTH * random.normal(size=(len(things), CHANGES)),
    ]
    causes[1] = causes[1] + WOBBLE * random.normal(size=causes[1].shape)
    mixed = np.concatenate(causes, 1) @ random.normal(size=(SIDES + STAYS + CHANGES, COLUMNS))
    x = (mixed + 0.1 * random.normal(size=mixed.shape)).astype(np.float32)
    whole = from_vectors(x, things, name="corners", one_unit=False)
    return whole.subset(np.arange(2 * THINGS)), whole.subset(np.arange(2 * THINGS, len(things)))


class Moments(LeJEPA):
    """Mean 0 and covariance 1 in the place of the whole distribution."""

    def loss(self, views: Any) -> dict[str, Tensor]:
        z = stack([self.projector(self.encode(view)) for view in views])
        centred = z - z.mean(1, keepdim=True)
        apart = centred.mT @ centred / z.shape[1] - eye(z.shape[2], device=z.device)
        moments = (apart.square().sum((1, 2)) + z.mean(1).square().sum(1)).mean()
        agree = (z - z.mean(0)).square().mean()
        return {"agree": (1 - self.weight) * agree, "moments": self.weight * moments}


class Twice(BothLooks, LeJEPA):  # type: ignore[misc]
    """Both looks at a thing are the views."""


class TwiceMoments(BothLooks, Moments):  # type: ignore[misc]
    """The same for the first two moments."""


class TwiceVICReg(BothLooks, VICReg):  # type: ignore[misc]
    """The same for VICReg."""


class SameHead(TwiceVICReg):
    """VICReg's terms on a projector like LeJEPA's."""

    def __init__(self, encoder: nn.Module, *, hidden: int, dim: int) -> None:
        super().__init__(encoder, hidden=hidden)
        self.projector = mlp(encoder.out_dim, hidden, hidden, dim)  # type: ignore[arg-type]


class TwiceBarlow(BothLooks, BarlowTwins):  # type: ignore[misc]
    """The same for Barlow Twins."""


small: dict[str, Any] = {"dim": 4, "hidden": 64, "directions": 64}
linear = Training(
    "linear",
    {"dim": DIM},
    epochs=20,
    batch=200,
    settings={"optimizer": "adamw", "lr": 1e-2, "warmup": 1},
)
MECHANISM = Mechanism(
    f"{THINGS:,} things, each seen twice in {COLUMNS} numbers that mix {SIDES} causes of two values, {STAYS} "
    f"that stay but for {WOBBLE:g} of their deviation, {CHANGES} of {STRENGTH:g} times their deviation that "
    f"change, and noise. A linear map to {DIM} numbers is to find the other look among {2 * JUDGED:,}. The "
    f"causes of two values agree best, have mean 0 and covariance 1, and put every thing on one of "
    f"{2**SIDES} corners: a collapse that first and second moments do not see. A cloud that is Gaussian "
    "from every side must hold what varies smoothly. VICReg with a projector of 64 numbers is no rival, and "
    "leads here: its moments are those of 64 curved functions of the map's 4 numbers, and tell more than the "
    "distribution of 4. Settings were chosen on seeds 100 and 101.",
    task=generated(corners, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(partial(Twice, **small)),
        "no SIGReg": linear(partial(Twice, **small, weight=0.0)),
        "mean and covariance alone": linear(partial(TwiceMoments, **small)),
        "VICReg's terms on the same head": linear(partial(SameHead, hidden=64, dim=4)),
        "Barlow Twins": linear(partial(TwiceBarlow, hidden=64)),
        "VICReg, 64 wide": linear(partial(TwiceVICReg, hidden=64)),
        "untrained": linear.untrained,
        "raw": raw,
    },
    rivals=("no SIGReg", "mean and covariance alone", "VICReg's terms on the same head", "Barlow Twins"),
)
PARITY = Parity(
    "official",
    "github.com/rbalestr-lab/lejepa, SlicingUnivariateTest of EppsPulley and the invariance of MINIMAL.md: "
    "statistic, loss and all gradients of sixteen random pairs of views along the same directions, float32 "
    "(in float64 1.2e-15 of the largest)",
    commit="eddffdd857a19726342ef6526e01021fb3c32cae",
    max_abs=1.9e-06,
    max_rel=7.1e-07,
)
train = short(epochs=6)

RECORD = Record(
    key="lejepa",
    claim="Vectors that look Gaussian along every direction do not collapse, with no other device.",
    task=cifar10(),
    arms={
        "paper": train(LeJEPA),
        "no SIGReg": train(partial(LeJEPA, weight=0.0)),
        "mean and covariance alone": train(Moments),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="Two views of a kind at 32 pixels, 5,000 photos for 6 epochs at a batch of 128; the paper: 8 crops "
    "and 100 epochs of ImageNet.",
    mechanism=MECHANISM,
    parity=PARITY,
)
