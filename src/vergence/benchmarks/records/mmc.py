"""MMC on CIFAR-10, and pictures of four regions: who says what a patch belongs to, where it says little?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import TENTH, cifar10
from vergence.benchmarks.records._regions import SIDE, TILE, halves, judged, pixels_of_patches, regions
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.evaluate.dense import of_pictures
from vergence.evaluate.protocols.discrimination import discrimination, prompt_ious
from vergence.evaluate.score import Score, mean_score
from vergence.methods.image.dinov2 import Crops
from vergence.methods.image.mmc import MMC
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.vit import ViT

WORLD: dict[str, Any] = {"kinds": 4, "shown": 4, "contrast": 1.5, "colours": 4, "lights": 20}


class TinyViT(ViT):
    """2 blocks of width 48 on 4 x 4 patches."""

    def __init__(self) -> None:
        super().__init__(size=SIDE, patch=TILE, dim=48, depth=2, heads=3, positions="sincos")
        self.spec = {"name": f"{__name__}:TinyViT"}


class Looks(MMC):
    """The two halves of a picture are the large crops; there are no small ones."""

    def __init__(self, encoder: ImageEncoder, **options: Any) -> None:
        small: dict[str, Any] = {"prototypes": 64, "hidden": 128, "bottleneck": 32, "dim": 32}
        slow: dict[str, Any] = {"momentum": 0.98, "mask_ratio": (0.3, 0.6), "n_local": 0}
        super().__init__(encoder, **{**small, **slow, **options})

    def views(self, batch: ImageBatch) -> Crops:
        return Crops(halves(batch), [], self.hide(2 * len(batch), batch.pixels.device))


def overlap(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    return discrimination(*judged(encoder, test), seed=seed).overlap


def prompt_miou(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Mean IoU of regions pointed at, with one threshold: the best one of the pictures that do not count."""
    features, things = judged(encoder, test)
    pictures = torch.arange(len(things)) % 4 >= 2  # both looks at a picture are on one side
    chosen, counted = (
        prompt_ious(of_pictures(features, rows.nonzero()[:, 0]), things[rows], seed=seed)
        for rows in (~pictures, pictures)
    )
    return mean_score(counted[:, chosen.mean(0).argmax()], seed=seed)


tiny = Training(
    f"{__name__}:TinyViT",
    epochs=10,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 5e-3, "weight_decay": 0.04, "warmup": 1},
)
TASK = generated(
    lambda source, seed: regions(seed, **WORLD),
    Metric("overlap of likeness within and between regions", overlap, less_is_better=True),
    Metric("mIoU of regions pointed at, one threshold for all", prompt_miou),
)
MECHANISM = Mechanism(
    "1,024 pictures of 6 x 6 patches, seen twice: four regions, one of each of four kinds, laid out anew "
    "in each look. A patch's 48 pixels mix its kind, a colour that all patches of a picture share, and a "
    "light of its own of 20 numbers. All pictures have the same kinds, so that telling them apart, or "
    "saying the same of both looks, needs colours alone; what a hidden patch shows, beside the colour, "
    "only its region's other patches tell. Likeness is the cosine of two patches of one picture, of the "
    "512 looks that judge; a region is found by pointing at a pixel. Settings were chosen on seed 100.",
    task=TASK,
    arms={
        "paper": tiny(Looks),
        "no hidden patches' term": tiny(partial(Looks, parts=("momentum", "contrast"))),
        "pixels of patches": pixels_of_patches,
        "untrained": tiny.untrained,
    },
    rivals=("no hidden patches' term", "pixels of patches"),
)


def by_hand() -> Iterator[tuple[Any, Any]]:
    """Yield the three terms and their gradients as they are, and as NumPy has them from given scores."""
    random = np.random.default_rng(0)
    b, m, k, tau, sharp = 8, 20, 16, 0.1, 0.04
    method = MMC(TinyViT(), prototypes=k, hidden=8, bottleneck=4, dim=4, n_local=0).double()
    method.head = method.teacher_head = nn.Identity()  # type: ignore[assignment]
    centres = random.normal(size=(2, k))
    method.centre_images.copy_(torch.from_numpy(centres[0]))
    method.centre_patches.copy_(torch.from_numpy(centres[1]))

    def soft(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    seen, meant = random.normal(size=(2, m, k))
    mine = torch.from_numpy(seen).requires_grad_()
    loss = method.of_patches(mine, torch.from_numpy(meant))
    loss.backward()
    target, said = soft((meant - centres[1]) / sharp), soft(seen / tau)
    yield loss.item(), -(target * np.log(said)).sum(1).mean()
    yield mine.grad, (said - target) / (tau * m)
    yield method.centre_patches, 0.9 * centres[1] + 0.1 * meant.mean(0)

    seen, meant = random.normal(size=(2, 2 * b, k))
    mine = torch.from_numpy(seen).requires_grad_()
    whole: Any = SimpleNamespace(parts=[])
    loss = method.of_photos(mine, torch.from_numpy(meant), whole)
    loss.backward()
    target = soft((np.roll(meant, b, 0) - centres[0]) / sharp)  # the teacher's word on the other crop
    said = soft(seen / tau)
    yield loss.item(), -(target * np.log(said)).sum(1).mean()
    yield mine.grad, (said - target) / (tau * 2 * b)


PARITY = Parity(
    "second",
    "the terms of hidden patches and of the other crop from given scores, their gradients and the patches' "
    "centre, in NumPy; no code was published (the contrast is info_nce, which other records hold to theirs)",
    compare=by_hand,
)
train = Training(
    "vit-micro",
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.5},
)
options: dict[str, Any] = {"prototypes": 512, "hidden": 256, "bottleneck": 64, "dim": 64, "momentum": 0.99}

RECORD = Record(
    key="mmc",
    claim="Saying what hidden patches show makes patches of one thing alike and those of others less so.",
    task=cifar10(KNN, TENTH, train=10_000, test=2_000),
    arms={
        "paper": train(partial(MMC, n_local=2, **options)),
        "no hidden patches' term": train(partial(MMC, n_local=2, parts=("momentum", "contrast"), **options)),
        "no contrast": train(partial(MMC, n_local=2, parts=("masked", "momentum"), **options)),
        "untrained": train.untrained,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks on 10,000 photos of 32 pixels; the paper: ViT-S and ViT-B on "
    "ImageNet, judged on COCO, DAVIS, VOC and ADE20k.",
    mechanism=MECHANISM,
    parity=PARITY,
)
