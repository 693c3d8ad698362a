"""Methods that need nothing but pairs of views, on Cora beside GRACE: one encoder, one kind of views.

    python -m vergence.benchmarks.stress.cora_table

GRACE keeps its own settings. The others, made for images, get GRACE's views, optimizer and learning rate;
nothing was tuned for them.
"""

from functools import partial
from typing import Any

from vergence.benchmarks.record import CHECKOUT, Record
from vergence.benchmarks.runner import run_record
from vergence.engine.files import write_json
from vergence.methods.graph.grace import GRACE
from vergence.methods.pairs.barlow import BarlowTwins
from vergence.methods.pairs.byol import BYOL
from vergence.methods.pairs.simclr import SimCLR
from vergence.methods.pairs.vicreg import VICReg

TABLE = Record(
    key="grace",
    claim="What learns from pairs of images learns from pairs of corrupted graphs, unchanged.",
    arms={
        "paper": GRACE,
        "simclr": partial(SimCLR, temperature=0.4),
        "vicreg": VICReg,
        "barlow": BarlowTwins,
        "byol": partial(BYOL, momentum=0.99),
    },
    source="scaled:planetoid:planetoid/cora",
    encoder="gcn",
    options={"width": [256, 128]},
    batch=None,
    epochs=200,
    seeds=(0, 1, 2, 3, 4),
    settings={"optimizer": "adam", "lr": 5e-4, "weight_decay": 1e-5, "warmup": 0},
    protocol="random nodes",
    note="'paper' is GRACE.",
)


def main() -> None:
    result: dict[str, Any] = run_record(TABLE) | {
        "command": "python -m vergence.benchmarks.stress.cora_table"
    }
    for arm, score in result["arms"].items():
        print(f"{'grace' if arm == 'paper' else arm:10} {100 * score['mean']:.1f} ± {100 * score['std']:.1f}")
    path = CHECKOUT / "benchmarks" / "cora_table.json"
    write_json(path, result)


if __name__ == "__main__":
    main()
