"""MLS on pictures of several things: what many positives find that one does not, and on CIFAR-10.

All 192 pixels of a picture tell its things, too, by .997 with seed 100: what counts is what 8 numbers keep of
them. Where lights are strong enough to hide things in the pixels, positives that the encoder picks at the
start are alike in light, and MLS learns that: .63 with a light of deviation 2, .84 with one positive.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._looks import SIDE, BothLooks
from vergence.benchmarks.tasks import Metric, generated
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Tags
from vergence.engine import embed
from vergence.evaluate.protocols.multilabel import mean_average_precision
from vergence.evaluate.score import Score
from vergence.methods.image.mls import MLS
from vergence.methods.pairs.mocov2 import MoCoV2
from vergence.nets.convnets import ConvNet, Patches, conv
from vergence.nets.image_encoder import ImageEncoder
from vergence.use.topk import topk

LEARNED, PROBED, JUDGED = 1_000, 200, 200
KINDS, SHOWN = 6, 2  # of things, and how many of them a picture shows
OWN, LIGHTS = 20, 10  # numbers that only one scene has, in both of its pictures, and only one picture
CONTRAST, LIGHT = 3.0, 0.7  # of things, and deviation of what only one picture has; of its own: 1
NEIGHBOURS = 20


def scenes(source: None, seed: int) -> tuple[Source, tuple[Source, Source]]:
    """Generate two pictures of each scene, one after the other: a linear mixture of all that is in them."""
    random = np.random.default_rng(seed)
    count = LEARNED + PROBED + JUDGED
    tags = np.argsort(random.random((count, KINDS)), 1) < SHOWN
    stays = np.concatenate([CONTRAST * tags, random.normal(size=(count, OWN))], 1).repeat(2, 0)
    light = LIGHT * random.normal(size=(2 * count, LIGHTS))
    x = np.concatenate([stays, light], 1) @ random.normal(size=(KINDS + OWN + LIGHTS, 3 * SIDE**2))
    x -= x.mean(0)
    pixels = (128 + 30 * x / x.std()).clip(0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    known = torch.from_numpy(tags.repeat(2, 0))
    reader = PixelReader(pixels, None, None, "scene")
    targets = {"tags": Tags(known, torch.ones_like(known))}
    whole = ImageSource(reader, "memory:scenes", pixels=pixels, targets=targets)
    parts = np.split(np.arange(2 * count), [2 * LEARNED, 2 * (LEARNED + PROBED)])
    learned, probed, judged = (whole.subset(part) for part in parts)
    return learned, (probed, judged)


class SceneNet(ConvNet):
    """One linear map of the pixels to 8 numbers, and batch norm."""

    def __init__(self) -> None:
        super().__init__(
            [nn.Sequential(Patches(SIDE), conv(3 * SIDE**2, 8, 1, act=False))], size=SIDE, out_dim=8
        )


def things(encoder: ImageEncoder, train: Source, test: tuple[Source, Source], seed: int) -> Score:
    """Ask the most similar pictures of other scenes which things there are."""
    (x, known), (z, judged) = (
        (torch.as_tensor(embedded.vectors), part.target("tags", embedded.index))
        for part, embedded in ((part, embed(encoder, part)) for part in test)
    )
    assert isinstance(known, Tags) and isinstance(judged, Tags)
    _, rows = topk(z, x, NEIGHBOURS)
    return mean_average_precision(
        known.values[rows].float().mean(1).numpy(), judged.values.numpy(), judged.known.numpy(), seed=seed
    )


class Scenes(BothLooks, MLS):  # type: ignore[misc]
    """MLS of both pictures of a scene."""


class OwnAlone(Scenes):
    """The scene's other picture is the one positive; the batch's keys come first in the dictionary."""

    def label(self, seen: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return torch.eye(*super().label(seen, vectors).shape)


class ScenesOfMoCo(BothLooks, MoCoV2):  # type: ignore[misc]
    """MoCo v2 of both pictures of a scene."""


learns = Training(
    f"{__name__}:SceneNet",
    epochs=10,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 5e-3, "weight_decay": 1e-4, "warmup": 1},
)
common: dict[str, Any] = {"dim": 16, "hidden": 32, "queue": 512, "momentum": 0.99, "temperature": 0.1}
MECHANISM = Mechanism(
    "Pictures that show two of six things. Fifteen pairs of things make a thousand scenes, each of which has "
    "a look of its own besides, and is seen twice in another light. Told apart one by one, by MoCo v2 or by "
    "MLS's loss with the other picture as only positive, scenes with the same things repel each other, and "
    "the look of each is what serves. Ten scenes that the encoder picks have things in common and no look. "
    "The encoder is one linear map of the pixels to 8 numbers; things are told by the 20 most similar "
    "pictures of other scenes.",
    task=generated(scenes, Metric("mAP of things by k-NN", things)),
    arms={
        "paper": learns(partial(Scenes, **common, positives=10)),
        "other picture alone": learns(partial(OwnAlone, **common)),
        "MoCo v2": learns(partial(ScenesOfMoCo, **common)),
        "untrained": learns.untrained,
    },
)


def second() -> list[tuple[Any, Any]]:
    """Derive loss and gradient again in NumPy, from vectors and projections of both views and both queues."""
    random = np.random.default_rng(0)
    g, meant, z, key = (random.normal(size=(5, width)) for width in (7, 7, 4, 4))
    old_g, old_z = random.normal(size=(11, 7)), random.normal(size=(11, 4))
    old_g, old_z = unit(old_g), unit(old_z)
    with torch.random.fork_rng():
        method = MLS(Given(7), dim=4, queue=11, positives=3, temperature=0.5, bias=-1.5).double()
    said = torch.from_numpy(z).requires_grad_()
    method.projector, method.teacher = Given(4, said), Given(7, torch.from_numpy(meant))  # type: ignore[assignment]
    method.teacher_projector = Given(4, torch.from_numpy(key))  # type: ignore[assignment]
    method.queue.double().push(torch.from_numpy(old_g), torch.from_numpy(old_z))
    loss = method.loss([torch.from_numpy(g), None])["labels"]
    loss.backward()

    vectors, keys = np.concatenate([unit(meant), old_g]), np.concatenate([unit(key), old_z])
    likeness = unit(g) @ vectors.T
    labels = (likeness >= np.sort(likeness, 1)[:, -3, None]).astype(float)
    p = 1 / (1 + np.exp(-(unit(z) @ keys.T / 0.5 - 1.5)))
    theirs = -np.sum(labels * np.log(p) + (1 - labels) * np.log(1 - p)) / len(p)
    slope = (p - labels) @ keys / (0.5 * len(p))
    length = np.linalg.norm(z, axis=1, keepdims=True)
    along = (slope * unit(z)).sum(1, keepdims=True) * unit(z)
    return [(loss.detach().numpy(), theirs), (said.grad.numpy(), (slope - along) / length)]  # type: ignore[union-attr]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


class Given(nn.Module):
    """Says what it was given, or what it is asked."""

    def __init__(self, width: int, answer: torch.Tensor | None = None) -> None:
        super().__init__()
        self.out_dim, self.answer = width, answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.answer is None else self.answer


train = short(epochs=6, blocks=(1, 1))
cifar: dict[str, Any] = {"queue": 2048, "momentum": 0.99}

RECORD = Record(
    key="mls",
    claim="Many photos that count as alike, picked by the encoder, teach what things photos have in common.",
    task=cifar10(),
    arms={
        "paper": train(partial(MLS, **cifar)),
        "one positive": train(partial(MLS, **cifar, positives=1)),
        "MoCo v2": train(partial(MoCoV2, **cifar)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="A small ResNet for 234 steps at a batch of 128, AdamW in place of SGD, a queue of 2,048 of 5,000 "
    "photos, and a teacher of which .99 is kept. Photos of one thing each are not what the many "
    "positives are for.",
    mechanism=MECHANISM,
    parity=Parity(
        "second", "labels, loss and gradient in NumPy, from vectors and projections", compare=second
    ),
)
