"""Which optimizer learns most at a small batch? LARS by the papers' rule, by the square-root rule, and AdamW.

SimCLR, VICReg, Barlow Twins and BYOL see the same number of CIFAR-10's training images at batches of 128 and
256; others of the training images judge by k-NN. What is published already is not trained again.

    python -m vergence.benchmarks.stress.small_batches [--minutes 9]  # small_batches.json, as far as it gets
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vergence as vg
from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import data_root, machine
from vergence.benchmarks.tasks import KNN
from vergence.core import Recipe
from vergence.data import Source
from vergence.engine.files import write_json
from vergence.evaluate.score import Score
from vergence.methods import method_class

OUT = RESULTS / "small_batches.json"
METHODS, BATCHES = ("simclr", "vicreg", "barlow", "byol"), (128, 256)
EPOCHS, LEARNED, JUDGED, WIDTH = 6, 5_000, 5_000, 32
WARMUP = EPOCHS / 10  # of every arm but the papers' own
RATES = (1e-3, 2e-3, 4e-3)


def arms(method: str, batch: int) -> dict[str, dict[str, Any]]:
    """Return the settings of each arm, the papers' own first."""
    recipe: Recipe = method_class(method).recipe  # type: ignore[union-attr]  # methods all
    root = recipe.lr * math.sqrt(batch / recipe.batch)
    return {
        "LARS, linear rule": {"optimizer": "lars"},
        "LARS, square-root rule": {"optimizer": "lars", "lr": root, "warmup": WARMUP},
        **{
            f"AdamW {rate:g}": {"optimizer": "adamw", "lr": rate, "weight_decay": 1e-4, "warmup": WARMUP}
            for rate in RATES
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", default=[""], help='parts of names such as "simclr, batch 128, LARS"'
    )
    args = parser.parse_args()
    ends = time.monotonic() + 60 * args.minutes
    result = json.loads(OUT.read_text()) if OUT.exists() else {"accuracy": {}}
    for method, batch, arm, settings in _in_order():
        case = f"{method}, batch {batch}"
        done = result["accuracy"].get(case, {}).get(arm, {})
        wanted = any(part in f"{case}, {arm}" for part in args.only)
        if time.monotonic() < ends and wanted and str(args.seed) not in done:
            accuracy = _accuracy(method, batch, settings, args.seed)
            print(f"{case}, {arm}: {100 * accuracy:.1f}", file=sys.stderr, flush=True)
            result["accuracy"].setdefault(case, {})[arm] = {**done, str(args.seed): accuracy}
            write_json(OUT, {**result, **_about()})


def _in_order() -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    for method in METHODS:
        for batch in BATCHES:
            for arm, settings in arms(method, batch).items():
                yield method, batch, arm, settings


def _accuracy(method: str, batch: int, settings: dict[str, Any], seed: int) -> float:
    learned, judged = _photos()
    with tempfile.TemporaryDirectory() as folder:
        run = vg.learn(
            method,
            learned,
            encoder="resnet-tiny",
            encoder_options={"width": WIDTH},
            epochs=EPOCHS,
            batch_size=batch,
            seed=seed,
            workers=1,
            quiet=True,
            out=Path(folder) / "run",
            **settings,
        )
        assert KNN.protocol is not None
        score = KNN.protocol(run.encoder, learned, judged, seed)
    assert isinstance(score, Score)
    return round(score.value, 4)


def _photos() -> tuple[Source, Source]:
    """Return training images to learn from, and others of them to judge by."""
    source = vg.open(data_root() / "cifar10" / "train.parquet")
    drawn = np.random.default_rng(0).permutation(len(source))[: LEARNED + JUDGED]
    return source.subset(np.sort(drawn[:LEARNED])), source.subset(np.sort(drawn[LEARNED:]))


def _about() -> dict[str, Any]:
    return {
        "what": f"{LEARNED:,} training images of CIFAR-10, resnet-tiny of width {WIDTH}, {EPOCHS} epochs; "
        f"k-NN accuracy on {JUDGED:,} others of the training images, by seed",
        "machine": machine(),
        "command": "python -m vergence.benchmarks.stress.small_batches",
    }


if __name__ == "__main__":
    main()
