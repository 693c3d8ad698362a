"""Methods that need nothing but pairs of views, on Cora beside GRACE: one encoder, one kind of views.

    python -m vergence.benchmarks.stress.cora_table

GRACE keeps its own settings. The others, made for images, get GRACE's views, optimizer and learning rate;
nothing was tuned for them.
"""

from functools import partial

from vergence.benchmarks import RESULTS
from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.runner import run_record
from vergence.benchmarks.tasks import RANDOM_NODES, opened
from vergence.engine.files import write_json
from vergence.methods.graph.grace import GRACE
from vergence.methods.pairs.barlow import BarlowTwins
from vergence.methods.pairs.byol import BYOL
from vergence.methods.pairs.simclr import SimCLR
from vergence.methods.pairs.vicreg import VICReg

train = Training(
    "gcn",
    {"width": [256, 128]},
    epochs=200,
    settings={"optimizer": "adam", "lr": 5e-4, "weight_decay": 1e-5, "warmup": 0},
)
TABLE = Record(
    key="grace",
    claim="What learns from pairs of images learns from pairs of corrupted graphs, unchanged.",
    task=opened("scaled:planetoid:planetoid/cora", RANDOM_NODES),
    arms={
        "paper": train(GRACE),
        "simclr": train(partial(SimCLR, temperature=0.4)),
        "vicreg": train(VICReg),
        "barlow": train(BarlowTwins),
        "byol": train(partial(BYOL, momentum=0.99)),
        "untrained": train.untrained,
        "raw": raw,
    },
    note="'paper' is GRACE.",
)


def main() -> None:
    result = run_record(TABLE) | {"command": "python -m vergence.benchmarks.stress.cora_table"}
    for arm, score in result["arms"].items():
        print(f"{'grace' if arm == 'paper' else arm:10} {100 * score['mean']:.1f} ± {100 * score['std']:.1f}")
    path = RESULTS / "cora_table.json"
    write_json(path, result)


if __name__ == "__main__":
    main()
