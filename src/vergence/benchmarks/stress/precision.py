"""Does bfloat16 learn as well as float32? SimCLR on CIFAR-10, the same epochs and seeds in both.

Settings are those of SimCLR's run of record; the test images only judge.

    python -m vergence.benchmarks.stress.precision [folder with train.parquet and test.parquet]
"""

import sys
import tempfile
from pathlib import Path

import vergence as vg
from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import machine
from vergence.benchmarks.paired_difference import margin, summary
from vergence.benchmarks.records import simclr
from vergence.engine.files import write_json

SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    train, test = simclr.RECORD.task.data(0)
    training = simclr.train
    scores: dict[str, list[float]] = {"bf16": [], "fp32": []}
    rates: dict[str, list[float]] = {"bf16": [], "fp32": []}
    for seed in SEEDS:
        for precision, accuracies in scores.items():
            with tempfile.TemporaryDirectory() as out:
                run = vg.learn(
                    "simclr",
                    train,
                    encoder=training.encoder,
                    epochs=training.epochs,
                    batch_size=training.batch,
                    seed=seed,
                    precision=precision,
                    out=Path(out) / "run",
                    quiet=True,
                    **training.settings,
                )
                rates[precision].append(run.metrics[-1]["samples_per_second"])
                table = vg.measure(run, train, test=test, protocols=("knn",))
            accuracies.append(table["learned"][table.columns[0]].value)
            print(f"seed {seed}, {precision}: {100 * accuracies[-1]:.1f}", file=sys.stderr)
    result = {
        "what": f"SimCLR, {training.epochs} epochs on {len(train)} CIFAR-10 images, k-NN on others",
        "accuracy": {precision: summary(values) for precision, values in scores.items()},
        "bf16_ahead": margin(scores["bf16"], scores["fp32"]),
        "samples_per_second": {precision: summary(values) for precision, values in rates.items()},
        "seeds": list(SEEDS),
        "machine": machine(),
    }
    path = RESULTS / "precision.json"
    write_json(path, result)


if __name__ == "__main__":
    main()
