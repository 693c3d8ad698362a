"""Train, score and pack the encoders that come with the library.

    python -m vergence.benchmarks.shipping vit-tiny --epochs 20

What a shipped encoder learned from, for how long and how good it is stand in its card beside its weights.
Nothing here is read from labels but the scores; those of Tiny-ImageNet's validation photos and of the test
part of Caltech-101 play no part in training.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

import vergence
from vergence.benchmarks.environment import data_root
from vergence.core import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import embed
from vergence.engine.encoders import with_weights
from vergence.engine.files import write_json
from vergence.engine.shipped import FOLDER, pack
from vergence.evaluate.protocols.few_shot import few_shot
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.protocols.retrieval import retrieval
from vergence.methods.image.encoders import build
from vergence.methods.image.raw import LARGEST, RawPixels
from vergence.train import learn

TEACHER = "timm:tf_efficientnet_lite0"
SIZE, TEACHER_SIZE = 64, 192  # pixels
STUDENTS: dict[str, dict[str, Any]] = {
    "conv-tiny": {"name": "resnet-tiny", "size": SIZE, "width": 64},
    "vit-tiny": {"name": "vit-small32", "size": SIZE, "pool": "mean"},
}
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05, "warmup": 1,
    "views": {"scale": (0.4, 1.0), "jitter_p": 0.5, "grey": 0.05},
}  # fmt: skip
CIFAR = 10_000  # photos of it, besides 20,000 of Tiny-ImageNet: ten classes at half the size
DATA = (
    "Tiny-ImageNet: 20,000 photos of its training part (terms of ImageNet: research only); "
    "CIFAR-10: 10,000 of its training part (no terms stated); "
    "Caltech-101: 1,701 of its training part (photos of the web: research only)"
)


def training_photos() -> Source:
    """Return what the encoders learn from, without a look at labels."""
    root = data_root()
    tiny, cifar = (open_source(root / name / "train.parquet") for name in ("tiny-imagenet", "cifar10"))
    return open_source([tiny, cifar.subset(range(CIFAR)), caltech("train")])


def caltech(part: str) -> Source:
    """Return the training or test part of Caltech-101, as its index has it."""
    folder = data_root() / "caltech101"
    if not (folder / "index.csv").exists():
        raise BadInput(f"Shipped encoders are trained on {folder}, which is missing; set VERGENCE_DATA.")
    with (folder / "index.csv").open(newline="") as file:
        wanted = {row["file"] for row in csv.DictReader(file) if row["source_split"] == part}
    source = open_source(folder)
    return source.subset([i for i in range(len(source)) if source.names[i] in wanted])


def scores(net: nn.Module) -> dict[str, dict[str, Any]]:
    """Return k-NN, five labels a class and retrieval, with intervals, on photos that nothing learned from."""
    root = data_root() / "tiny-imagenet"
    pairs = {
        "Tiny-ImageNet": (open_source(root / "train.parquet"), open_source(root / "val.parquet")),
        "Caltech-101": (caltech("train"), caltech("test")),
    }
    result = {}
    for name, (train, test) in pairs.items():
        bank, queries = embed(net, train), embed(net, test)
        assert bank.labels is not None
        assert queries.labels is not None
        arrays = (bank.vectors, bank.labels, queries.vectors, queries.labels)
        measured = {
            "k-NN": knn(*arrays, k=5 if name == "Caltech-101" else 20),
            "5 labels a class": few_shot(*arrays, shots=5, draws=5),
            "retrieval mAP": retrieval(queries.vectors, queries.labels),
        }
        result[name] = {
            measure: {"value": round(s.value, 4), "low": round(s.low, 4), "high": round(s.high, 4)}
            for measure, s in measured.items()
        }
    return result


def train(name: str, epochs: int, out: Path) -> nn.Module:
    """Train a student at a low price: the teacher reads each photo once."""
    student = dict(STUDENTS[name])
    run = learn(
        "distill",
        training_photos(),
        encoder=student.pop("name"),
        size=student.pop("size"),
        encoder_options=student,
        teacher=TEACHER,
        teacher_size=TEACHER_SIZE,
        once=True,
        epochs=epochs,
        batch_size=256,
        out=out,
        **SETTINGS,
    )
    return run.encoder


def describe(name: str, net: nn.Module, epochs: int, minutes: float) -> dict[str, Any]:
    """Return the card of an encoder: how it is built and was made, and how good it is beside rivals."""
    rivals: dict[str, nn.Module] = {
        "untrained": build(**STUDENTS[name]).eval(),
        "raw pixels": RawPixels(LARGEST),
        TEACHER: with_weights(TEACHER, size=TEACHER_SIZE),
    }
    return {
        "name": name,
        "modality": "image",
        "spec": STUDENTS[name],
        "method": "distill",
        "teacher": f"{TEACHER} at {TEACHER_SIZE} pixels: an ImageNet classifier, with labels (Apache-2.0)",
        "data": DATA,
        "images": epochs * len(training_photos()),
        "epochs": epochs,
        "minutes": round(minutes, 1),
        "parameters": sum(p.numel() for p in net.parameters()),
        "scores": {name: scores(net)} | {rival: scores(other) for rival, other in rivals.items()},
        "version": metadata.version("vergence"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(STUDENTS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; a finished one is packed")
    parser.add_argument("--out", type=Path, default=Path(vergence.__file__).parent / "nets" / FOLDER)
    args = parser.parse_args()
    begun = time.time()
    finished = (args.run / "encoder.safetensors").exists()
    net = vergence.load(args.run) if finished else train(args.name, args.epochs, args.run)
    args.out.mkdir(exist_ok=True)
    (args.out / f"{args.name}.safetensors").write_bytes(pack(net))
    known = describe(args.name, net, args.epochs, (time.time() - begun) / 60)
    write_json(args.out / f"{args.name}.json", known)
    print(json.dumps(known["scores"], indent=1))


if __name__ == "__main__":
    main()
