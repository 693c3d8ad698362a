"""Registers on CIFAR-10: on small transformers they must change nothing, for there are no artifacts."""

from __future__ import annotations

import dataclasses

from vergence.benchmarks.records import dinov2
from vergence.methods.image.dinov2 import DINOv2
from vergence.methods.image.encoders import build
from vergence.nets.image_encoder import ImageEncoder


def without(encoder: ImageEncoder) -> DINOv2:
    return dinov2.small(build(**{**encoder.spec, "registers": 0}))


train = dataclasses.replace(dinov2.train, options={"patch": 8, "registers": 4})

RECORD = dataclasses.replace(
    dinov2.RECORD,
    key="registers",
    claim="Four registers leave the features of a small transformer as good as they were.",
    arms={
        "paper": train(dinov2.small),
        "no registers": train(without),
        "untrained": train.untrained,
    },
    note="The paper's repair shows on large, long-trained models only; here a difference within the seeds' "
    "spread is what is expected, so 'beats_rivals' false is no failure.",
)
