"""DINOv2 on CIFAR-10: what do hidden patches, spread embeddings and a slow teacher add?"""

from __future__ import annotations

from functools import partial

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.tasks import Metric
from vergence.data import Source
from vergence.engine import embed
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.methods.image.dinov2 import DINOv2
from vergence.nets.image_encoder import ImageEncoder

small = partial(DINOv2, prototypes=512, hidden=256, bottleneck=64, n_local=4, local_size=16, momentum=0.99)


def patches(encoder: ImageEncoder, train: Source, test: Source, seed: int) -> Score:
    """Vote among neighbours by the mean patch token: iBOT is about patches."""
    bank, queries = (
        embed(encoder, part, read=lambda batch: encoder.tokens(batch).mean(1)) for part in (train, test)
    )
    return knn(bank.vectors, bank.labels, queries.vectors, queries.labels)  # type: ignore[arg-type]


PATCHES = Metric("weighted k-NN accuracy of the mean patch token, k=20", patches)


train = Training(
    "vit-micro",
    {"patch": 8},
    epochs=10,
    size=32,
    batch=128,
    settings={"lr": 1e-3, "warmup": 1.0, "weight_decay": 0.04},
)

RECORD = Record(
    key="dinov2",
    claim="A slow teacher's word on crops and on hidden patches, with embeddings kept apart, teaches.",
    task=cifar10(PATCHES),
    arms={
        "paper": train(small),
        "no iBOT": train(partial(small, ibot=0.0, masked=0.0)),
        "no KoLeo": train(partial(small, spread=0.0)),
        "untrained": train.untrained,
    },
    seeds=(0, 1, 2),
    note="10 epochs on 5,000 photos with a ViT of 16 patches and width 96, 4 local crops and 512 prototypes; "
    "the paper: a ViT-g on 142 million photos.",
)
