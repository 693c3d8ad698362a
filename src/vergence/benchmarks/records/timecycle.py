"""TimeCycle on real clips, and what it carries through DAVIS-2016."""

from __future__ import annotations

from functools import partial
from typing import Any

from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._davis import COPIED, NOTE, RAW, carries
from vergence.benchmarks.records.labelprop import JUDGED, PHOTOS
from vergence.methods.video.timecycle import TimeCycle

SIDE = 90  # pixels of frames, which have 18 cells a side; a patch has 6
real: dict[str, Any] = {"dim": 64, "kernel": 3, "widths": (64, 32)}

RECORD = Record(
    key="timecycle",
    claim="A tracker that must come back to where it began, and look for what is alike, teaches cells.",
    task=PHOTOS,
    arms={
        "paper": carries(partial(TimeCycle, **real), SIDE),
        "without likeness in the box": carries(partial(TimeCycle, **real, inlier=0.0), SIDE),
        "without leaps": carries(partial(TimeCycle, **real, skip=0.0), SIDE),
        "first mask copied": COPIED,
        "untrained": carries(None, SIDE),
        "raw": RAW,
    },
    seeds=tuple(range(len(JUDGED))),
    note=NOTE.replace("stride 8 on frames of 128", "stride 5 on frames of 90")
    + " The paper trains a ResNet-50 on VLOG.",
    parity=Parity(
        "official",
        "github.com/xiaolonw/TimeCycle, CycleTime of models/videos/model_simple.py with its losses: all "
        "three and all gradients, an encoder of ours in place of its ResNet, points between edges, offsets "
        "not lengthened, a leap's affinities in the order of the others, in float32 (in float64 9.0e-11, "
        "2.8e-9 of the largest)",
        commit="16d33ac0fb0a08105a9ca781c7b1b36898e3b601",
        max_abs=3.1e-06,
        max_rel=3.3e-05,
    ),
)
