"""CRW on tiles in motion, where nobody says which is which from frame to frame, and on real clips."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._davis import COPIED, NOTE, RAW, UNTRAINED, carries
from vergence.benchmarks.records._moving import FRAMES, IN_MOTION, cut, on_tiles, raw
from vergence.benchmarks.records.labelprop import JUDGED, PHOTOS
from vergence.core import pooled
from vergence.data.video.batch import VideoBatch
from vergence.losses.walk import arrival_nce, step_chances
from vergence.methods.video.crw import CRW


class Still(CRW):
    """CRW on one frame, seen over and over in other crops."""

    def views(self, batch: VideoBatch) -> Tensor:
        length = batch.pixels.shape[1]
        return super().views(batch.take(torch.randint(length, (len(batch), 1)).expand(-1, length)))


class OfTiles(CRW):
    """CRW whose nodes are the tiles of frames as they are."""

    def views(self, batch: VideoBatch) -> Tensor:
        return cut(batch.pixels)


class OfStills(OfTiles):
    """Walks through one frame, over and over: time is off."""

    def views(self, batch: VideoBatch) -> Tensor:
        return cut(batch.pixels[:, :1].expand(-1, FRAMES, -1, -1, -1))


class InPlace(OfTiles):
    """Steps that are to end in the cell where they began: what is next is taken for known."""

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        vectors = self.project(pooled(self.nodes(views.flatten(0, 2))))
        nodes = normalize(vectors.unflatten(0, views.shape[:3]), dim=-1)
        chances = step_chances(
            nodes[:, :-1] @ nodes[:, 1:].mT, temperature=self.temperature, dropout=self.dropout
        )
        home = torch.arange(views.shape[2]).expand(chances.shape[:3])
        return {"in place": arrival_nce(chances, home)}


small: dict[str, Any] = {"dim": 16}
learns = on_tiles()

MECHANISM = Mechanism(
    "Clips of four frames of 16 tiles each. From frame to frame most tiles change places with a "
    "neighbour, and each is lit anew; light is more of its pixels than its look. The encoder is one "
    "linear map to 8 numbers, fewer than there are causes: what helps nobody home is lost. A single frame "
    "does not tell light from look, and who takes a cell's next tile for the same one is wrong two times "
    "in three. What counts is how many tiles of the last frame find themselves in the first. Tiles are seen "
    "as they are: crops, overlap and jitter of patches are not part of it. Settings were chosen on seed "
    "100; two shorter runs were broken off: one of five sixths of the steps by a limit "
    "of time, one of half of them as walks had not begun to come home on two of three seeds. The paper's "
    "ablations do not lose here: with so few nodes, walks of one step and walks that lose no edges are "
    "easier lessons (.73 and .96 against .35 after 96 steps, seed 0).",
    task=IN_MOTION,
    arms={
        "paper": learns(partial(OfTiles, **small)),
        "still frames": learns(partial(OfStills, **small)),
        "the cell's next tile": learns(partial(InPlace, **small)),
        "untrained": learns.untrained,
        "raw": raw,
    },
)

real: dict[str, Any] = {"dim": 64}

RECORD = Record(
    key="crw",
    claim="Who walks forth and back through a clip and has to come home learns what stays the same in time.",
    task=PHOTOS,
    arms={
        "paper": carries(partial(CRW, **real)),
        "still frames": carries(partial(Still, **real)),
        "first mask copied": COPIED,
        "untrained": UNTRAINED,
        "raw": RAW,
    },
    seeds=tuple(range(len(JUDGED))),
    note=NOTE + " The paper trains a ResNet-18 on Kinetics-400.",
    mechanism=MECHANISM,
    parity=Parity(
        "official",
        "github.com/ajabri/videowalk, CRW of code/model.py: loss and all gradients of a small ResNet and the "
        "head on random patches, float32, without dropout (in float64 3.9e-15, 1.6e-14 of the largest)",
        commit="047f3f40135a4b1be2f837793b89c3dbfe7a6683",
        max_abs=1.9e-06,
        max_rel=1.05e-05,
    ),
)
