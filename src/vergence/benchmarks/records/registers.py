"""Registers on CIFAR-10: on small transformers they must change nothing, for there are no artifacts."""

from __future__ import annotations

import dataclasses

from vergence.benchmarks.record import Parity
from vergence.benchmarks.records import dinov2
from vergence.methods.image.dinov2 import DINOv2
from vergence.methods.image.encoders import build
from vergence.nets.image_encoder import ImageEncoder


def without(encoder: ImageEncoder) -> DINOv2:
    return dinov2.small(build(**{**encoder.spec, "registers": 0}))


train = dataclasses.replace(dinov2.train, options={"patch": 4, "registers": 4})

PARITY = Parity(
    "official",
    "github.com/facebookresearch/dinov2, DinoVisionTransformer with 4 register tokens and LayerScale: "
    "class and patch tokens of random images and the gradients of all weights, float32 (in float64 "
    "1.8e-15 of the largest)",
    commit="b8931f7bf91576930313be2c6d6af376033b35f0",
    max_abs=2.3e-04,
    max_rel=8.1e-07,
)

RECORD = dataclasses.replace(
    dinov2.RECORD,
    key="registers",
    claim="Four registers leave the features of a small transformer as good as they were.",
    arms={
        "paper": train(dinov2.small),
        "no registers": train(without),
        "untrained": train.untrained,
    },
    note="The paper's repair shows on large, long-trained models only; here a difference within the "
    "seeds' spread is what is expected, so 'beats_rivals' false is no failure. There is no world that "
    "shows the idea: a network that trains in seconds makes no artifacts to be cured of. Results of "
    "2026-11-21 are of 10 epochs with 16 patches, and of registers that learned at the rate of the last "
    "layer; they await a repetition.",
    parity=PARITY,
)
