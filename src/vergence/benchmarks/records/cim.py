"""CIM on mosaics, whose tiles are found again though they are lit anew, and on CIFAR-10."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.records._mosaics import (
    CELLS,
    GRID,
    SIDE,
    TILE,
    BothLooks,
    halves,
    kinds,
    mosaics,
    on_tiles,
)  # fmt: skip
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.cim import CIM, Cuts
from vergence.methods.image.mae import MAE
from vergence.methods.pairs.simclr import SimCLR

LIT = 2.0


class Tiles(CIM):
    """Pieces are single tiles of the other look at a mosaic; the whole is the first look."""

    other = 1

    def views(self, batch: ImageBatch) -> Cuts:
        looks = halves(batch)
        context, shown = looks[0].pixels, looks[self.other].pixels
        tiles = shown.unfold(2, TILE, TILE).unfold(3, TILE, TILE).flatten(2, 3)  # (B, 3, N, t, t)
        rows = torch.arange(len(batch))
        chosen = torch.rand(len(batch), CELLS).argsort(1)[:, : self.exemplars].T.flatten()  # (E * B,)
        places = torch.zeros(len(chosen), CELLS, dtype=torch.bool)
        places[torch.arange(len(chosen)), chosen] = True
        masks = places.view(-1, GRID, GRID).repeat_interleave(TILE, 1).repeat_interleave(TILE, 2)
        return Cuts(context, tiles[rows.repeat(self.exemplars), :, chosen], masks)


class AsCut(Tiles):
    """Pieces are tiles of the whole itself, as they are lit there."""

    other = 0


class WholeMosaics(BothLooks, SimCLR):  # type: ignore[misc]
    """SimCLR of both looks at a mosaic."""


options: dict[str, Any] = {
    "exemplars": 4, "context_size": SIDE, "exemplar_size": TILE, "width": 32, "heads": 2, "momentum": 0.95,
}  # fmt: skip
learns = on_tiles(epochs=16)
MECHANISM = Mechanism(
    "Mosaics of 16 tiles, four of each of four kinds, seen twice: each tile stays in its place and is lit "
    "anew: each of 16 numbers of light deviates by 2, of 8 of kind and colour by about 1. A tile is to be "
    "found in the first look. Cut out of the second, it is found by what stays; cut out of the first look "
    "itself, as it is lit there, by its light as well, which is most of it. Told apart as whole mosaics, by "
    "SimCLR of both looks, nothing asks for kinds, of which each mosaic has as many. The encoder is one "
    "linear map of a tile's pixels to 8 numbers, fewer than it has causes. Kinds of tiles are told by "
    "those of 200 other "
    "mosaics. Turns, crops and colours of photos are not in this world. Settings were chosen on seed 100.",
    task=generated(
        partial(mosaics, moved=False, lit=LIT), Metric("mIoU of tiles' kinds by k-NN on cells", kinds)
    ),
    arms={
        "paper": learns(partial(Tiles, **options)),
        "pieces as cut": learns(partial(AsCut, **options)),
        "SimCLR of whole mosaics": learns(WholeMosaics),
        "untrained": learns.untrained,
    },
)
PARITY = Parity(
    "official",
    "github.com/weivision/Correlational-Image-Modeling, CorrelationalAutoencoderViT of models/cim.py without "
    "its contrast: loss, gradients and one step of the moving average on random inputs and weights, three "
    "exemplars, with this library's positions, in float32 (in float64 2.6e-15 of the largest)",
    commit="f00e35aab2d417219bb8dfad3c3ef54acbf5deb3",
    max_abs=1.4e-06,
    max_rel=1.2e-06,
)
train = Training(
    "vit-micro",
    {"patch": 4, "positions": "sincos"},
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 1},
)
cifar: dict[str, Any] = {
    "exemplars": 4, "context_size": 32, "exemplar_size": 16, "width": 96, "heads": 4, "momentum": 0.99,
}  # fmt: skip


class Plain(CIM):
    """Pieces are neither turned nor recoloured."""

    def __init__(self, encoder: Any, **options: Any) -> None:
        super().__init__(encoder, degrees=0.0, **options)
        self.configure_views({"jitter_p": 0.0, "grey": 0.0, "solarize": 0.0})


RECORD = Record(
    key="cim",
    claim="To find where a changed piece of a picture was cut out, an encoder learns what stays the same.",
    task=cifar10(KNN, train=5_000, test=2_000),
    arms={
        "paper": train(partial(CIM, **cifar)),
        "pieces as cut": train(partial(Plain, **cifar)),
        "MAE": train(partial(MAE, width=96, depth=2, heads=4)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks on 5,000 photos of 32 pixels, with pieces of 16; the paper: 300 "
    "epochs of ViT-B on ImageNet, judged by fine-tuning.",
    mechanism=MECHANISM,
    parity=PARITY,
)
