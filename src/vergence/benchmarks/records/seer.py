"""SEER on a long-tailed stream that passes once, and on CIFAR-10: do balanced targets carry?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._looks import CHANGES, SIDE, STAYS, STRENGTH, BothLooks, on_looks, other_look
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.methods.image.seer import SEER
from vergence.methods.pairs.simclr import SimCLR

KINDS, THINGS, JUDGED = 32, 4_000, 640


class Unbalanced(SEER):
    """Every photo goes to the prototypes that are nearest, however many others do."""

    def assign(self, scores: Tensor, crop: int) -> Tensor:
        return (scores / self.assignment_temperature).softmax(1)


class Twice(BothLooks, SEER):
    """Both pictures of a thing are the large crops."""


class TwiceUnbalanced(BothLooks, Unbalanced):
    """The same, without balancing."""


def web(source: Any, seed: int) -> tuple[Source, Source]:
    """Generate pictures in twos, of one thing; kinds of things get rarer by a power law.

    Kinds of the second source are equally common.
    """
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, KINDS + 1)
    kind = np.concatenate([random.choice(KINDS, THINGS, p=share / share.sum()), np.arange(JUDGED) % KINDS])
    centre = 2 * random.normal(size=(KINDS, STAYS))
    things = np.arange(len(kind)).repeat(2)
    stays = (centre[kind] + random.normal(size=(len(kind), STAYS)))[things]
    changes = STRENGTH * random.normal(size=(len(things), CHANGES))
    mixed = np.concatenate([stays, changes], 1) @ random.normal(size=(STAYS + CHANGES, 3 * SIDE * SIDE))
    x = mixed / mixed.std() + 0.1 * random.normal(size=mixed.shape)
    pixels = (128 + 30 * x).clip(0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    whole = ImageSource(PixelReader(pixels, things, None, "look"), "memory:web", pixels=pixels)
    return whole.subset(np.arange(2 * THINGS)), whole.subset(np.arange(2 * THINGS, len(things)))


small: dict[str, Any] = {"prototypes": 64, "hidden": 64, "dim": 32, "freeze_steps": 10}
passes = on_looks(epochs=1, batch=64, lr=1e-2)
MECHANISM = Mechanism(
    f"{THINGS:,} things of {KINDS} kinds, the commonest {KINDS} times as many as the rarest, each "
    "photographed twice: 8 x 8 pictures are linear mixtures of 6 causes that stay and of 20, twice as "
    "strong, that change. They pass once, 64 pictures a step. A linear map to 8 numbers is then to find the "
    "other picture of things of which all kinds are equally common. Nothing but balance keeps all pictures "
    "from one prototype. Three rounds of balancing, as SwAV has, stand beside. Settings were chosen on seed "
    "100.",
    task=generated(web, Metric("mAP of the other picture", other_look)),
    arms={
        "paper": passes(partial(Twice, **small)),
        "no balancing": passes(partial(TwiceUnbalanced, **small)),
        "three rounds": passes(partial(Twice, **small, rounds=3)),
        "untrained": passes.untrained,
        "raw": raw,
    },
    rivals=("no balancing",),
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/vissl, SwAVCriterion of vissl/losses/swav_loss.py and SwAVPrototypesHead of "
    "vissl/models/heads: losses and gradients of projector and prototypes over 8 steps of SGD with 6 crops, "
    "without and with a queue, in float32 (in float64 3.8e-7 of the largest: there the released code rounds "
    "its targets to float32)",
    commit="09270ed25a6c2cf71263d955b64cbe076d34ac45",
    max_abs=6.0e-07,
    max_rel=1.8e-06,
)
train = short(epochs=10)
cifar = partial(SEER, prototypes=100, hidden=256, dim=64, local_size=16, freeze_steps=40)
RECORD = Record(
    key="seer",
    claim="Predicting the balanced prototypes of other crops teaches, without batch norm in the projector.",
    task=cifar10(KNN),
    arms={
        "paper": train(cifar),
        "no balancing": train(partial(Unbalanced, **cifar.keywords)),
        "two crops alone": train(partial(cifar, n_local=0)),
        "SimCLR": train(SimCLR),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("no balancing", "two crops alone"),
    seeds=(0, 1, 2),
    note="A small ResNet for 10 epochs of 5,000 photos at a batch of 128, AdamW in place of LARS, 100 "
    "prototypes that wait for 40 steps. The paper: RegNetY of 1.3 billion parameters, one pass over a "
    "billion photos that nobody chose.",
    mechanism=MECHANISM,
    parity=PARITY,
)
