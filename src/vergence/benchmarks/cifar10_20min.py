"""What 20 minutes on a CPU give: SimCLR on CIFAR-10, judged by k-NN on the 10,000 test images.

Settings were chosen on 10,000 held-out training images; the test images only judge.

    python -m vergence.benchmarks.stress.cifar10_20min [folder with train.parquet and test.parquet]
"""

import sys
import tempfile
from pathlib import Path

import vergence as vg
from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import data_root, machine
from vergence.engine.files import write_json

EPOCHS = 16


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else data_root() / "cifar10"
    with tempfile.TemporaryDirectory() as out:
        run = vg.learn(
            "simclr",
            folder / "train.parquet",
            epochs=EPOCHS,
            batch_size=256,
            optimizer="adamw",
            lr=2e-3,
            weight_decay=1e-4,
            warmup=1,
            out=Path(out) / "run",
        )
        table = vg.measure(
            run, folder / "train.parquet", test=folder / "test.parquet", protocols=("knn", "linear")
        )
        print(table)
        result = {
            "what": "SimCLR on CIFAR-10, 50,000 training images, judged on 10,000 test images",
            "minutes_of_training": round((run.config.seconds or 0) / 60, 1),
            "epochs": EPOCHS,
            "encoder": run.config.encoder,
            "parameters": run.config.parameters,
            "samples_per_second": run.metrics[-1]["samples_per_second"],
            "precision": run.config.precision,
            "table": table.to_dict(),
            "seed": run.config.seed,
            "health": {k: v for k, v in run.health[-1].items() if k != "note"},
            "versions": run.config.versions,
            "machine": machine(),
        }
    path = RESULTS / "cifar10_20min.json"
    write_json(path, result)


if __name__ == "__main__":
    main()
