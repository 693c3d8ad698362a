"""DINOv2 on CIFAR-10: what do hidden patches, spread embeddings and a slow teacher add?"""

from __future__ import annotations

from functools import partial
from typing import Any

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import KNN, Metric
from vergence.data import Source
from vergence.engine import embed
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.methods.image.dinov2 import DINOv2
from vergence.nets.image_encoder import ImageEncoder

small = partial(DINOv2, prototypes=512, hidden=256, bottleneck=64, n_local=4, local_size=16, momentum=0.95)


def patches(encoder: Any, train: Source, test: Source, seed: int) -> Score:
    """Vote among neighbours by the mean patch token: iBOT is about patches."""
    if not isinstance(encoder, ImageEncoder):  # pixels have no patches
        return KNN.protocol(encoder, train, test, seed)  # type: ignore[misc, return-value]
    bank, queries = (
        embed(encoder, part, read=lambda batch: encoder.tokens(batch).mean(1)) for part in (train, test)
    )
    return knn(bank.vectors, bank.labels, queries.vectors, queries.labels)  # type: ignore[arg-type]


PATCHES = Metric("weighted k-NN accuracy of the mean patch token, k=20", patches)


PARITY = Parity(
    "official",
    "github.com/facebookresearch/dinov2, DinoVisionTransformer, DINOHead, DINOLoss, iBOTPatchLoss (over "
    "the masked photos) and KoLeoLoss, put together as in SSLMetaArch.forward_backward: the three terms "
    "and all gradients, with Sinkhorn and with a centre, one head and two, with and without registers; "
    "two steps each, float32 (in float64 6.1e-10 of the largest: KoLeo's eps)",
    commit="b8931f7bf91576930313be2c6d6af376033b35f0",
    max_abs=2.8e-04,
    max_rel=5.3e-06,
)

train = Training(
    "vit-micro",
    {"patch": 4},
    epochs=40,
    size=32,
    batch=128,
    settings={"lr": 1e-3, "warmup": 1.0, "weight_decay": 0.04},
)

RECORD = Record(
    key="dinov2",
    claim="A slow teacher's word on crops and on hidden patches, with embeddings kept apart, teaches.",
    task=cifar10(PATCHES, Metric(f"{KNN.name}, of the class token", KNN.protocol)),
    arms={
        "paper": train(small),
        "no iBOT": train(partial(small, ibot=0.0, masked=0.0)),
        "no KoLeo": train(partial(small, spread=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="40 epochs on 5,000 photos with a ViT of 64 patches and width 96, 4 local crops of 16 patches "
    "and 512 prototypes; the paper: a ViT-g on 142 million photos. Results of 2026-11-21 are of 10 epochs "
    "with 16 patches, local crops of 4, a teacher that kept .99, and rates of tokens, jitter and gains "
    "other than the paper's; they await a repetition.",
    parity=PARITY,
)
