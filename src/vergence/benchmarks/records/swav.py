"""SwAV on CIFAR-10, and things photographed twice: do balanced assignments and a queue of photos help?"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._looks import LOOKS, BothLooks, on_looks
from vergence.methods.image.swav import SwAV


class Unbalanced(SwAV):
    """Every photo goes to the prototypes that are nearest, however many others do."""

    def assign(self, scores: Tensor, crop: int) -> Tensor:
        return (scores / self.assignment_temperature).softmax(1)


class Twice(BothLooks, SwAV):
    """Both pictures of a thing are the large crops."""


class TwiceUnbalanced(BothLooks, Unbalanced):
    """The same, without balancing."""


small: dict[str, Any] = {
    "prototypes": 64,
    "hidden": 64,
    "dim": 32,
    "queue": 64,
    "queue_start": 0,
    "freeze_prototypes": 0,
}
learns = on_looks(epochs=4, batch=16, lr=2e-3)
MECHANISM = Mechanism(
    "1,000 things, each photographed twice: 8 x 8 pictures are linear mixtures of 6 causes that stay and of "
    "20, twice as strong, that change. A linear map to 8 numbers is to find the other picture among 2,000. "
    "Nothing but balance keeps all pictures from one prototype; batches of 16 are too few for 64 of them, "
    "and a queue of 64 pictures is assigned along. Settings were chosen on seeds 100 and 101.",
    task=LOOKS,
    arms={
        "paper": learns(partial(Twice, **small)),
        "no balancing": learns(partial(TwiceUnbalanced, **small)),
        "no queue": learns(partial(Twice, **{**small, "queue": 0})),
        "untrained": learns.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/swav, train() and distributed_sinkhorn() of main_swav.py with the head of "
    "src/resnet50.py: losses and gradients over 12 steps of SGD with 4 crops, without and with a queue, in "
    "float64 but for the queue (all in float32 2.9e-5 of the largest, by when the runs have parted)",
    commit="06b1b7cbaf6ba2a792300d79c7299db98b93b7f9",
    max_abs=1.6e-07,
    max_rel=1.4e-07,
)
train = short(epochs=6)
cifar = partial(SwAV, prototypes=100, hidden=256, dim=64, n_local=4, local_size=16)

RECORD = Record(
    key="swav",
    claim="Predicting the prototypes of other crops teaches, as long as all are used alike.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "no balancing": train(partial(Unbalanced, **cifar.keywords)),
        "two crops alone": train(partial(cifar, n_local=0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="A small ResNet for 234 steps at a batch of 128, AdamW in place of LARS, and 100 prototypes; the "
    "paper: a ResNet-50 for 250,000 steps at a batch of 4,096, with 3,000.",
    mechanism=MECHANISM,
    parity=PARITY,
)
