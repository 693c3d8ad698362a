"""DINOv2 on CIFAR-10: what do hidden patches, spread embeddings and a slow teacher add?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.record import Record
from vergence.data import Source
from vergence.engine import embed
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.methods.image.dinov2 import DINOv2
from vergence.nets.image_encoder import ImageEncoder

small = partial(DINOv2, prototypes=512, hidden=256, bottleneck=64, n_local=4, local_size=16, momentum=0.99)


def patches(encoder: ImageEncoder, train: Source, test: Source, seed: int) -> Score:
    """Vote among neighbours by the mean patch token: iBOT is about patches."""
    bank, asked = (
        embed(encoder, part, read=lambda batch: encoder.tokens(batch).mean(1)) for part in (train, test)
    )
    return knn(bank.vectors, bank.labels, asked.vectors, asked.labels)  # type: ignore[arg-type]


RECORD = Record(
    key="dinov2",
    claim="A slow teacher's word on crops and on hidden patches, with embeddings kept apart, teaches.",
    arms={
        "paper": small,
        "no iBOT": partial(small, ibot=0.0, masked=0.0),
        "no KoLeo": partial(small, spread=0.0),
    },
    train=5_000,
    test=5_000,
    epochs=10,
    batch=128,
    encoder="vit-micro",
    options={"patch": 8},
    settings={"lr": 1e-3, "warmup": 1.0, "weight_decay": 0.04},
    protocol=patches,  # type: ignore[arg-type]
    metric="weighted k-NN accuracy of the mean patch token, k=20",
    pixels=False,
    note="10 epochs on 5,000 photos with a ViT of 16 patches and width 96, 4 local crops and 512 prototypes; "
    "the paper: a ViT-g on 142 million photos.",
)
