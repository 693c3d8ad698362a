"""Explained similarity on Tiny-ImageNet: does the likeness of two photos lie where both show the same?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import simclr
from vergence.benchmarks.tasks import Metric, Task, generated, images
from vergence.core import Features
from vergence.engine import embed
from vergence.evaluate.score import Score, mean_score
from vergence.use.simvis import box_coverage, explain, part_vectors
from vergence.views.pixels.augment import plain

SIZE, TRAIN, EPOCHS = 64, 4_000, 5
PAIRS, SIDES = 400, (36, 46)  # the part's side in pixels
CELLS, SHOWN, CHANNELS = 8, 3, 32  # of generated maps: places a side, of those the thing's, and channels
COMMON, GROUND = 1.0, 1.5  # lengths of what all places share and of the ground's places; the thing's have 1
ON_THING = "share of the positive contributions that lie on the thing"
tiny = partial(images, "tiny-imagenet", train=100_000, test=10_000)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of photos that show one thing each, pasted into both.

    Args:
        maps: Of the first and of the second photos, ``(n, D, h, w)``.
        mean: ``(D,)`` vector of other photos.
        shares: Of each cell, how much of it is the thing, ``(n, h, w)``.
    """

    maps: tuple[Tensor, Tensor]
    mean: Tensor
    shares: tuple[Tensor, Tensor]

    @property
    def about_the_mean(self) -> nn.Linear:
        """The layer after pooling that takes the mean off, which all photos have in common."""
        layer = nn.Linear(len(self.mean), len(self.mean)).requires_grad_(False)
        layer.weight.copy_(torch.eye(len(self.mean)))
        layer.bias.copy_(-self.mean)
        return layer


@cache
def encoder() -> tuple[nn.Module, Tensor]:
    """Train SimCLR on other photos, where two stages leave a map of 8 x 8; return their mean vector too."""
    train = tiny().data(0)[0].subset(np.arange(TRAIN))
    options = {"width": 48, "blocks": (1, 1)}
    net = simclr(train, epochs=EPOCHS, seed=0, size=SIZE, encoder_options=options)
    return net, torch.as_tensor(embed(net, train).vectors.mean(0))


def pasted(ground: Tensor, things: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Put a thing into each photo, at a place, size and brightness of its own.

    Args:
        ground: ``(n, 3, S, S)`` photos.
        things: ``(n, 3, S, S)``, what is put into them.
        random: Draws.

    Returns:
        The photos, and boxes ``(n, 4)`` as shares: top, left, height, width.
    """
    shown, boxes = ground.clone(), []
    for row in range(len(ground)):
        side = int(random.integers(SIDES[0], SIDES[1] + 1))
        top, left = random.integers(0, SIZE - side + 1, size=2)
        thing = interpolate(things[row : row + 1], (side, side), mode="bilinear", antialias=True)[0]
        shown[row, :, top : top + side, left : left + side] = (thing * random.uniform(0.8, 1.2)).clamp(0, 1)
        boxes.append((top, left, side, side))
    return shown, torch.tensor(boxes) / SIZE


@cache
def pairs(seed: int) -> Pairs:
    (net, mean), (_, test) = encoder(), tiny().data(seed)
    random = np.random.default_rng(seed)
    rows = random.permutation(len(test))[: 3 * PAIRS]
    photos = torch.cat([plain(batch, SIZE) for batch in test.subset(rows).loader(256, spec={"size": SIZE})])
    first, second, things = photos.split(PAIRS)
    maps, shares = [], []
    for ground in (first, second):
        shown, boxes = pasted(ground, things, random)
        parts = []
        for part in shown.split(100):
            with torch.no_grad():
                features = net(part)
            assert isinstance(features, Features) and features.map is not None
            parts.append(features.map.float())
        maps.append(torch.cat(parts))
        shares.append(box_coverage(boxes, *maps[-1].shape[2:]))
    return Pairs((maps[0], maps[1]), mean, (shares[0], shares[1]))


def shown(task: Task, seed: int) -> Pairs:
    """Return the pairs of a task, of photos or drawn."""
    pairs: Pairs = task.data(seed)[0]
    return pairs


def drawn(source: None, seed: int) -> tuple[Pairs, Pairs]:
    """Generate maps in twos: one thing in both, at its own place, on grounds that have nothing in common.

    Places of the ground are longer than those of the thing, and all have a part in common.
    """
    random = torch.Generator().manual_seed(seed)
    common = COMMON * normalize(torch.randn(CHANNELS, generator=random), dim=0)
    things = normalize(torch.randn(PAIRS, CHANNELS, generator=random), dim=1)
    corner = torch.randint(CELLS - SHOWN + 1, (2, PAIRS, 2), generator=random) / CELLS
    maps, shares = [], []
    for place in corner:
        ground = GROUND * normalize(torch.randn(PAIRS, CHANNELS, CELLS, CELLS, generator=random), dim=1)
        share = box_coverage(torch.cat([place, torch.full_like(place, SHOWN / CELLS)], 1), CELLS, CELLS)
        thing = things[:, :, None, None] * share[:, None]
        maps.append(common[:, None, None] + thing + ground * (1 - share[:, None]))
        shares.append(share)
    pairs = Pairs((maps[0], maps[1]), torch.stack(maps).mean((0, 1, 3, 4)), (shares[0], shares[1]))
    return pairs, pairs


def within(heats: tuple[Tensor, Tensor], shares: tuple[Tensor, Tensor]) -> Score:
    """Score the share of what speaks for the likeness that lies on the thing, mean over both photos."""
    on_thing = []
    for heat, share in zip(heats, shares, strict=True):
        positive = heat.clamp_min(0)
        on_thing.append((positive * share).sum((1, 2)) / positive.sum((1, 2)).clamp_min(1e-12))
    return mean_score(torch.stack(on_thing).mean(0))


def contributions(task: Task, seed: int, *, centred: bool = True) -> Score:
    x = shown(task, seed)
    why = explain(*x.maps, layer=x.about_the_mean if centred else None)
    return within((why.first, why.second), x.shares)


def unrelated(task: Task, seed: int) -> Score:
    """Each photo explained beside the partner of another."""
    x = shown(task, seed)
    first, second = x.maps
    return within(
        (
            explain(first, second.roll(1, 0), layer=x.about_the_mean).first,
            explain(first.roll(1, 0), second, layer=x.about_the_mean).second,
        ),
        x.shares,
    )


def norms(task: Task, seed: int) -> Score:
    x = shown(task, seed)
    return within((x.maps[0].norm(dim=1), x.maps[1].norm(dim=1)), x.shares)


def area(task: Task, seed: int) -> Score:
    x = shown(task, seed)
    return within((torch.ones_like(x.shares[0]), torch.ones_like(x.shares[1])), x.shares)


def first_match(weights: Tensor, seed: int) -> Score:
    """Share of first photos, asked for by weighted places, whose nearest second photo is their partner."""
    x = pairs(seed)
    queries = part_vectors(x.maps[0], weights, layer=x.about_the_mean)
    gallery = part_vectors(x.maps[1], torch.ones_like(x.shares[1]), layer=x.about_the_mean)
    best = (queries @ gallery.T).argmax(1)
    return mean_score((best == torch.arange(len(best))).float())


def by_part(task: Task, seed: int) -> Score:
    return first_match(pairs(seed).shares[0], seed)


def by_whole(task: Task, seed: int) -> Score:
    return first_match(torch.ones_like(pairs(seed).shares[0]), seed)


def by_another_part(task: Task, seed: int) -> Score:
    """Places as large as the thing, those of another photo's."""
    return first_match(pairs(seed).shares[0].roll(1, 0), seed)


MECHANISM = Mechanism(
    f"{PAIRS} pairs of maps of {CELLS} x {CELLS} places and {CHANNELS} channels: a square of {SHOWN} x "
    f"{SHOWN} places shows the same vector of length 1 in both, elsewhere each other place has one of its "
    f"own, {GROUND} long, and all places have one of length {COMMON} in common. Long places do not make two "
    "maps alike, shared ones do; explained beside another map, nothing lies on the thing but its area. The "
    "mean of all places is taken off, but in one arm. Nothing was chosen.",
    task=generated(drawn, Metric(ON_THING)),
    arms={
        "paper": contributions,
        "beside an unrelated map": unrelated,
        "mean of all places not taken off": partial(contributions, centred=False),
        "norms of the map": norms,
        "every place alike (the thing's share of the area)": area,
    },
)

PARITY = Parity(
    "official",
    "github.com/GWUvision/Similarity-Visualization, compute_spatial_similarity of similarity_ops.py: both "
    "maps of five random pairs, mean pooling, float32",
    commit="db545bd12e5e4f277671c2acb49f00a12115b9c9",
    max_abs=1.8e-08,
    max_rel=2.7e-07,
)

RECORD = Record(
    key="simvis",
    claim="What makes two photos alike lies on the thing that both show.",
    task=tiny(Metric(ON_THING), deal=lambda source, seed: (pairs(seed), pairs(seed))),
    arms={
        "paper": contributions,
        "beside an unrelated photo": unrelated,
        "mean of other photos not taken off": partial(contributions, centred=False),
        "norms of the map": norms,
        "every place alike (the thing's share of the area)": area,
    },
    note=f"{PAIRS} pairs of Tiny-ImageNet's validation photos, a third photo of {SIDES[0]} to {SIDES[1]} of "
    f"{SIZE} pixels pasted into both, dealt anew with every seed. Encoder: SimCLR (resnet-tiny of two "
    f"stages, {EPOCHS} epochs on {TRAIN:,} photos), trained once; its map has 8 x 8 places, and the mean of "
    "those photos is taken off, as by a linear layer. The paper shows examples.",
    also=(
        Record(
            key="simvis",
            claim="Asked by the thing's places alone, the other photo that shows it is found more often.",
            task=tiny(
                Metric(
                    f"share of queries whose nearest of {PAIRS} photos is the one that shows the same thing"
                )
            ),
            arms={
                "paper": by_part,
                "the whole photo": by_whole,
                "as many other places": by_another_part,
            },
        ),
    ),
    mechanism=MECHANISM,
    parity=PARITY,
)
