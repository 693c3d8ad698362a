"""All methods that learn image features, beside each other: the same photos drawn, one machine.

``vergence bench image`` trains what is missing in ``benchmarks/results/image-table.json``, and so goes on
where it was broken off.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence import catalog
from vergence.benchmarks.arms import PAPER, UNTRAINED
from vergence.benchmarks.environment import machine, results_folder, versions
from vergence.benchmarks.paired_difference import margin, not_beaten, summary
from vergence.benchmarks.published import IMAGE_TABLE
from vergence.benchmarks.records._images import ADAMW
from vergence.benchmarks.tasks import KNN, LINEAR, Task, images
from vergence.core.errors import BadInput
from vergence.engine.files import write_json
from vergence.evaluate.score import Score
from vergence.methods.image.encoders import build
from vergence.train import learn

YARDSTICK = "simclr"
WIDTH, SIDE, BATCH, EPOCHS, LEARNED, JUDGED, SEEDS = 32, 32, 128, 6, 5_000, 5_000, 3
QUEUE = {"queue": 2048, "momentum": 0.99}
SELF_DISTILLED: dict[str, Any] = {
    "prototypes": 512, "hidden": 256, "bottleneck": 64, "n_local": 4, "local_size": 16,
    "teacher_temperature": (0.04, 0.04),
}  # fmt: skip
ENTRANTS: dict[str, dict[str, Any]] = {
    "simclr": {},
    "vicreg": {},
    "barlow": {},
    "byol": {"momentum": 0.99},
    "simsiam": {},
    "nnclr": {"queue": 2048},
    "lejepa": {},
    "mocov2": QUEUE,
    "npid": {},
    "swav": {"prototypes": 100, "hidden": 256, "dim": 64, "n_local": 4, "local_size": 16},
    "dino": {"prototypes": 1024, "momentum": 0.99, "n_local": 4, "local_size": 16},
    "densecl": QUEUE,
    "wmse": {},
    "care": {},
    "kernelinfonce": {},
    "all4one": {"queue": 2048, "momentum": 0.97},
    "mls": QUEUE,
    "saliencyssl": {},
    "rotnet": {},
    "context": {"hidden": 512},
    "contextplus": {"hidden": 512},
    "cdjp": {"permutations": 64, "hidden": 512},
    "lens": {"penalty": 100.0, "width": 8, "depth": 2, "lens_lr": 2e-3},
    "pirl": {"negatives": 2048},
    "gsimclr": {"clusters": BATCH},
    "deepercluster": {"clusters": 200, "components": 64},
    "seer": {"prototypes": 100, "hidden": 256, "dim": 64, "local_size": 16, "freeze_steps": 40},
    "cmd": {**SELF_DISTILLED, "momentum": 0.99},
    "mvmr": {"hidden": 512},
    "pcd": {"teacher": "vergence:conv-tiny", "hidden": 256, "queue": 2048},
    "amdim": {},
    "mae": {"width": 64, "depth": 2, "heads": 4},
    "gmml": {},
    "ijepa": {"width": 48, "depth": 2, "momentum": 0.98},
    "cim": {"context_size": SIDE, "exemplar_size": 16, "width": 96, "heads": 4, "momentum": 0.99},
    "sit": {"hidden": 512, "momentum": 0.99},
    "udi": {**SELF_DISTILLED, "momentum": 0.98},
    "mmc": {"prototypes": 512, "hidden": 256, "bottleneck": 64, "dim": 64, "n_local": 2, "momentum": 0.99},
}
"""Key -> options that differ from the paper's, as far as 5,000 photos and a small network need it.

Not here is what photos alone do not teach: lorot, jigen and hib learn from labels, transitive from tracks,
trajssl and aassl from poses, hiergroup from regions within contours; invprobe, seeraudit and denseau judge.
"""

RESNET, VIT, VIT_MEAN, UNPADDED = "resnet-tiny", "vit-micro", "vit-micro, mean", "unpadded"
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    RESNET: ("resnet-tiny", {"width": WIDTH}),
    VIT: ("vit-micro", {"patch": 4}),
    VIT_MEAN: ("vit-micro", {"patch": 4, "positions": "sincos", "pool": "mean"}),
    UNPADDED: ("vergence.nets.unpadded:Unpadded", {"width": 16, "dim": 128, "blocks": 1}),
}
"""Name -> network and options: one for all, and what methods need that hide patches or look at small maps."""
NEEDS = {
    "amdim": UNPADDED,
    **dict.fromkeys(("sit", "udi", "mmc"), VIT),
    **dict.fromkeys(("mae", "gmml", "ijepa", "cim"), VIT_MEAN),
}
"""Key -> encoder, where it cannot be the one for all."""


@dataclass(frozen=True)
class Row:
    """What one method came to, with every seed.

    Args:
        key: Of the catalog, or "untrained", behind which stands the encoder if it is not the one for all.
        knn: Accuracies.
        linear: Accuracies.
        seconds: Of one core, that training took.
    """

    key: str
    knn: list[float]
    linear: list[float]
    seconds: list[float]


def image_table(
    keys: Sequence[str] = (),
    *,
    seeds: int = SEEDS,
    minutes: float | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Path:
    """Train what the table lacks, judge it, and write it after each training.

    Args:
        keys: Methods to train; none means all.
        seeds: Of each.
        minutes: Begin nothing after them; None trains all.
        out: File to write; None takes ``benchmarks/results/image-table.json``.
        quiet: Print nothing on the way.

    Raises:
        BadInput: If a key is none of the table's, or CIFAR-10 is not there.
    """
    if unknown := set(keys) - ENTRANTS.keys():
        raise BadInput(f"The table has no '{min(unknown)}'; it has {', '.join(ENTRANTS)}.")
    path = Path(out) if out is not None else results_folder() / IMAGE_TABLE
    task = images("cifar10", KNN, LINEAR, train=LEARNED, test=JUDGED)
    ends = None if minutes is None else time.monotonic() + 60 * minutes
    scores = json.loads(path.read_text())["scores"] if path.exists() else {}
    if scores:
        write_json(path, written(scores))  # what stands, as it is written now
    for key, seed in _missing(scores, keys or tuple(ENTRANTS), seeds):
        if ends is not None and time.monotonic() > ends:
            break
        scores.setdefault(key, {})[str(seed)] = _scored(key, task, seed)
        write_json(path, written(scores))
        if not quiet:
            print(f"{key}, seed {seed}: {_said(scores[key][str(seed)])}", file=sys.stderr, flush=True)
    return path


def written(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the table as it is written, with each method as a comparison with its untrained encoder.

    Args:
        scores: Row -> seed -> "knn", "linear" and "seconds".
    """
    return {**_about(scores), "comparisons": dict(_comparisons(scores)), "scores": scores}


def is_untrained(key: str) -> bool:
    """Say whether a row is that of an untrained encoder."""
    return key.startswith(UNTRAINED)


def rows(table: dict[str, Any]) -> list[Row]:
    """Return the rows of a written table, the best k-NN accuracy first."""
    made = [
        Row(key, *([one[name] for one in by_seed.values()] for name in ("knn", "linear", "seconds")))
        for key, by_seed in table["scores"].items()
    ]
    return sorted(made, key=lambda row: -float(np.mean(row.knn)))


def times(table: Sequence[Row]) -> dict[str, float]:
    """Return the time of each row as a ratio to SimCLR's; nothing where SimCLR is missing."""
    yardstick = [float(np.mean(row.seconds)) for row in table if row.key == YARDSTICK]
    if not yardstick:
        return {}
    return {row.key: float(np.mean(row.seconds)) / yardstick[0] for row in table if not is_untrained(row.key)}


def as_text(table: Sequence[Row]) -> str:
    """Lay out rows for a terminal."""
    ratios = times(table)
    lines = [f"{'':26}{'k-NN':>12}{'linear':>12}{'time':>8}"]
    for row in table:
        cells = [f"{spread(values):>12}" for values in (row.knn, row.linear)]
        time_ratio = f"{ratios[row.key]:.2f}" if row.key in ratios else ""
        lines.append(f"{row.key:26}{''.join(cells)}{time_ratio:>8}")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Write the mean of shares in percent, with their standard deviation where there are several."""
    mean = f"{100 * float(np.mean(values)):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * float(np.std(values, ddof=1)):.1f}"


def _comparisons(scores: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and k-NN accuracy as of a run of record, by the seeds that the untrained encoder has, too."""
    for key in (key for key in ENTRANTS if key in scores):
        seeds = sorted(scores[key].keys() & scores.get(_untrained(key), {}).keys(), key=int)
        if not seeds:
            continue
        ours, theirs = ([scores[one][seed]["knn"] for seed in seeds] for one in (key, _untrained(key)))
        margins = {UNTRAINED: margin(ours, theirs)}
        lead = f"One seed: {100 * margins[UNTRAINED]['mean']:+.1f} points on 'untrained', of unknown spread."
        yield (
            key,
            {
                "shared": "image table",
                "source": "cifar10",
                "train": LEARNED,
                "test": JUDGED,
                "encoder": NEEDS.get(key, RESNET),
                "seeds": [int(seed) for seed in seeds],
                "metric": KNN.name,
                "less_is_better": False,
                "arms": {PAPER: summary(ours)},
                "untrained": summary(theirs),
                "margins": margins,
                "note": " ".join(not_beaten(margins)) if len(seeds) > 1 else lead,
            },
        )


def _untrained(key: str) -> str:
    """Return the row of the untrained encoder that a method begins with."""
    encoder = NEEDS.get(key, RESNET)
    return UNTRAINED if encoder == RESNET else f"{UNTRAINED} {encoder}"


def _missing(scores: dict[str, Any], keys: Sequence[str], seeds: int) -> Iterator[tuple[str, int]]:
    running = [key for key in keys if catalog.find(key).code]
    for seed in range(seeds):
        for row in dict.fromkeys(row for key in running for row in (_untrained(key), key)):
            if str(seed) not in scores.get(row, {}):
                yield row, seed


def _scored(key: str, task: Task, seed: int) -> dict[str, float]:
    train, test = task.data(seed)
    torch.manual_seed(seed)
    named = key.removeprefix(UNTRAINED).strip() if is_untrained(key) else NEEDS.get(key)
    name, options = ENCODERS[named or RESNET]
    encoder: nn.Module = build(name, size=SIDE, **options)
    begun = time.process_time()
    if not is_untrained(key):
        with tempfile.TemporaryDirectory() as folder:
            encoder = learn(
                key,
                train,
                encoder=encoder,
                epochs=EPOCHS,
                batch_size=BATCH,
                seed=seed,
                workers=1,
                quiet=True,
                out=Path(folder) / "run",
                **ADAMW,
                **ENTRANTS[key],
            ).encoder
    seconds = time.process_time() - begun
    scores = task.judge(encoder, train, test, seed)
    values = (score.value if isinstance(score, Score) else score for score in scores.values())
    knn, linear = (round(float(value), 4) for value in values)
    return {"knn": knn, "linear": linear, "seconds": round(seconds, 1)}


def _said(score: dict[str, float]) -> str:
    return f"k-NN {100 * score['knn']:.1f}, linear {100 * score['linear']:.1f}, {score['seconds']:.0f} s"


def _about(keys: Iterable[str]) -> dict[str, Any]:
    others = {key: NEEDS[key] for key in ENTRANTS if key in keys and key in NEEDS}
    return {
        "what": f"resnet-tiny of width {WIDTH} on {LEARNED:,} training photos of CIFAR-10 at {SIDE} pixels, "
        f"{EPOCHS} epochs at a batch of {BATCH} by AdamW, {LEARNED * EPOCHS:,} photos drawn by each method; "
        f"accuracy on {JUDGED:,} test photos; time of one core",
        "encoders": {
            encoder: {
                "options": ENCODERS[encoder][1],
                "of": [key for key in others if others[key] == encoder],
            }
            for encoder in dict.fromkeys(others.values())
        },
        "options": {key: options for key, options in ENTRANTS.items() if options and key in keys},
        "machine": machine(),
        "versions": versions(),
        "command": "vergence bench image",
    }
