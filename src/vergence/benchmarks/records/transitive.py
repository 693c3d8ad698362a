"""Transitive invariance on turning things that look different from each side: is the chain worth drawing?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import short
from vergence.benchmarks.records._looks import SIDE
from vergence.benchmarks.records._turning import solid_clips
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.core import Method, Stage
from vergence.data import open as open_source
from vergence.data.image.batch import ImageBatch
from vergence.data.image.source import ImageSource
from vergence.engine import embed
from vergence.evaluate.score import Score, mean_score
from vergence.losses.margin import hard_triplets
from vergence.methods.image.transitive import Transitive, mutual_links
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.augment import View, centre_view

KINDS, SIDES, SEEN = 8, 8, 3  # of things; from which a thing is seen; of them in one clip
THINGS, JUDGED = 400, 300
OWN, NOISE = 0.5, 0.3  # deviation of a thing from its kind, and of a picture; that of kinds and sides is 1


class TwoLayers(ImageEncoder):
    """8 x 8 pictures to 16 numbers by way of 128."""

    def __init__(self) -> None:
        super().__init__(size=SIDE)
        self.out_dim, self.depth = 16, 1
        self.layer = nn.Sequential(nn.Linear(3 * SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, self.out_dim))

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Tensor:  # type: ignore[override]
        self.check(need)
        return self.layer(self.pixels(images).flatten(1))


class AsTheyAre:
    """Views of whole pictures."""

    size = SIDE

    def __call__(self, batch: ImageBatch) -> View:
        return centre_view(batch, SIDE)


def sides(source: None, seed: int) -> tuple[ImageSource, ImageSource]:
    """Generate clips of things from three sides that follow each other, and others to judge."""
    random = np.random.default_rng(seed)
    things, shape = THINGS + JUDGED, (3 * SIDE * SIDE,)
    pattern = random.normal(size=(KINDS, SIDES, *shape))
    kind, start = np.arange(things) % KINDS, random.integers(SIDES, size=things)
    side = (start[:, None] + np.arange(SEEN)) % SIDES
    x = pattern[kind[:, None], side] + OWN * random.normal(size=(things, 1, *shape))
    x = x + NOISE * random.normal(size=x.shape)
    pixels = (128 + 35 * x).clip(0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    thing = np.arange(things).repeat(SEEN)
    targets = {"group": thing, "pose": side.reshape(-1)}
    whole = open_source(pixels, labels=kind[thing], targets=targets)
    learned = thing < THINGS
    return whole.subset(learned), whole.subset(~learned)  # type: ignore[return-value]


def other_sides(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> Score:
    """Every picture asks for those of other things of its kind from sides 90° away or more.

    What is of its kind from nearer sides, or of the thing itself, is neither right nor wrong.
    """
    embedded = embed(encoder, test)
    x, kind = torch.as_tensor(embedded.vectors).double(), torch.as_tensor(embedded.labels)
    thing, side = (test.target(name).values for name in ("group", "pose"))  # type: ignore[attr-defined]
    x = normalize(x - x.mean(0), dim=1)
    steps = (side[:, None] - side).abs()
    far = torch.minimum(steps, SIDES - steps) >= 2
    same = kind[:, None] == kind
    wanted = same & far & (thing[:, None] != thing)
    likeness = (x @ x.T).masked_fill(same & ~wanted, -torch.inf)
    order = likeness.argsort(1, descending=True)
    right = wanted.gather(1, order).double()
    precision = right.cumsum(1) / torch.arange(1, len(x) + 1)
    return mean_score((precision * right).sum(1) / right.sum(1))


class Nothing(Method):
    """Learns nothing."""

    def views(self, batch: ImageBatch) -> None:
        return None

    def loss(self, views: None) -> dict[str, Tensor]:
        return {}


class Mined(Transitive):
    """Links are mined by the encoder as it begins: in this world pictures tell what looks the same.

    Pictures are seen as they are: a crop or a mirror image would be another pattern.
    """

    crop: Any

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, first="simclr", first_weight=0.0, **options)
        self.first = Nothing(encoder)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = AsTheyAre()

    def stages(self, source: ImageSource) -> Sequence[Stage] | None:  # type: ignore[override]
        return None


class Tracks(Mined):
    """Pairs of one clip alone."""

    kinds = (0,)


class Links(Mined):
    """Pairs of two clips alone, or a picture and itself where it has no link."""

    kinds = (1,)

    def draw(self, index: Tensor) -> tuple[Tensor, Tensor]:
        first, second = super().draw(index)
        linked = torch.isin(index, self.links[:, 0].cpu())
        return first, torch.where(linked, second, index)


class Direct(Mined):
    """Pairs of one clip and of two, without what follows from both."""

    kinds = (0, 1)


small: dict[str, Any] = {"apart": 1, "neighbours": 5, "hard_from": 16}
learns = Training(
    f"{__name__}:TwoLayers",
    epochs=16,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
MECHANISM = Mechanism(
    "700 things of 8 kinds, seen from 3 of 8 sides, 300 of them to judge: a kind looks like another random "
    "pattern of 8 x 8 pixels from each side, of which things and pictures deviate. Clips tell that one thing "
    "looks different; links tell that two things look the same. Which of other things belong together from "
    "sides 90° apart or more follows from both. Links are mined by the untrained network, all arms from the "
    "same ones; views are the pictures as they are. Settings were chosen on seed 100.",
    task=generated(sides, Metric("mAP of other things of the kind from sides 90° away or more", other_sides)),
    arms={
        "paper": learns(partial(Mined, **small)),
        "clips and links, no chain": learns(partial(Direct, **small)),
        "clips alone": learns(partial(Tracks, **small)),
        "links alone": learns(partial(Links, **small)),
        "untrained": learns.untrained,
        "raw": raw,
    },
)


def compare() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield triplet losses, their gradients and links, ours and those of loops."""
    for seed in range(5):
        draw = torch.Generator().manual_seed(seed)
        x, positive, others = torch.randn(3, 9, 5, generator=draw, dtype=torch.float64).unbind(0)
        allowed = torch.rand(9, 9, generator=draw) < 0.6
        gradients: list[np.ndarray] = []
        both: list[Callable[..., Tensor]] = [partial(hard_triplets, margin=0.5, negatives=3), by_loops]
        for loss in both:
            leaf = x.clone().requires_grad_()
            value = loss(leaf, positive, others, allowed)
            (gradient,) = torch.autograd.grad(value, leaf)
            gradients += [value.detach().numpy(), gradient.numpy()]
        yield gradients[0], gradients[2]
        yield gradients[1], gradients[3]
        clip = torch.arange(9) // 3
        yield mutual_links(x, clip, 3).numpy().astype(float), links_by_loops(x, clip, 3)


def by_loops(x: Tensor, positive: Tensor, others: Tensor, allowed: Tensor) -> Tensor:
    """Return the triplet loss with a margin of 0.5 and 3 negatives, pair by pair."""
    costs = []
    for i in range(len(x)):
        near = 1 - x[i] @ positive[i] / x[i].norm() / positive[i].norm()
        far = [1 - x[i] @ z / x[i].norm() / z.norm() for z, ok in zip(others, allowed[i], strict=True) if ok]
        each = [torch.relu(near - d + 0.5) for d in sorted(far, key=Tensor.item)[:3]]
        costs.append(sum(each, torch.zeros_like(near)) / max(1, len(each)))
    return torch.stack(costs).mean()


def links_by_loops(x: Tensor, clip: Tensor, neighbours: int) -> np.ndarray:
    """Return the pairs of rows that name each other among their nearest of other clips."""
    x, n, nearest = x - x.mean(0), len(x), []
    for i in range(n):
        likeness = {j: float(x[i] @ x[j] / x[i].norm() / x[j].norm()) for j in range(n) if clip[j] != clip[i]}
        nearest.append(sorted(likeness, key=likeness.__getitem__, reverse=True)[:neighbours])
    return np.array(
        [(i, j) for i in range(n) for j in range(n) if j in nearest[i] and i in nearest[j]], float
    )


def solids(source: None, seed: int) -> tuple[ImageSource, ImageSource]:
    """Render solids from twelve sides, and others to judge."""
    parts = ((0, 300), (300, 100))
    train, test = (solid_clips("turntable", seed, first, count, 12, 32) for first, count in parts)
    return train, test


class SolidTracks(Transitive):
    """Pairs of one clip alone."""

    kinds = (0,)


train = short(epochs=6)

RECORD = Record(
    key="transitive",
    claim="Pairs that follow from clips and likeness teach what neither of the two teaches.",
    task=generated(solids, KNN),
    arms={
        "paper": train(partial(Transitive, apart=2)),
        "clips alone": train(partial(SolidTracks, apart=2)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="Rendered solids of ten kinds, 32 x 32, each from 12 sides; a small ResNet for 168 steps of "
    "each stage. The paper: VGG-16 on patches of 100,000 videos.",
    mechanism=MECHANISM,
    parity=Parity("second", "loops over pairs, rows and neighbours in this record", compare=compare),
)
