"""GAIN on the roads of Linköping: the paper's own data, split and measure.

    git clone https://github.com/zahrag/GAIN
    VERGENCE_DATA=GAIN/graph_data_GainRepo python benchmarks/roads.py

The data is 5 MB of that repository; nothing of it is kept here.
"""

import json
from typing import Any

import numpy as np
import torch

from vergence.engine import embed
from vergence.learn.graph.gain import GAIN, LOCAL
from vergence.learn.graph.views import with_x
from vergence.measure.graphs import node_probe
from vergence.measure.record import CHECKOUT, Record, run_record
from vergence.measure.records.gain import of_equal_size


def standardised(source: Any, seed: int) -> tuple[Any, Any]:
    """Scale each feature by its mean and deviation over the roads that teach, as the released code does."""
    teaches = source.x[torch.from_numpy(source.splits()[0].train)].double()
    mean, deviation = teaches.mean(0), teaches.std(0, unbiased=False)
    x = (source.x - mean) / torch.where(deviation > 0, deviation, 1.0)
    graph = source.with_graph(with_x(source.data, x.float()))
    return graph, graph


def micro_f1(encoder: Any, train: Any, test: Any, seed: int) -> float:
    split, y = test.splits()[0], np.asarray(test.labels)
    found = node_probe(embed(encoder, test).vectors, y, split.train, split.val, split.test)
    return found["accuracy"].value


ROADS = Record(
    key="gain",
    claim="Attention with an injective self-term, taught by near and far walks, tells classes of roads.",
    arms={
        "paper": GAIN,
        "local walks only": lambda encoder: GAIN(encoder, walks=(LOCAL,)),
        "no attention": GAIN,
        "mean-SAGE": of_equal_size("sage"),
        "GIN": of_equal_size("gin"),
        "GAT": of_equal_size("gat"),
    },
    variants={"no attention": {"attention": False}},
    source="graphsage:osm_transductive/linkoping-osm",
    encoder="vergence.learn.graph.gain:GAINEncoder",
    options={"width": 64},
    batch=1024,
    epochs=60,
    seeds=(0, 1, 2, 3, 4),
    prepare=standardised,
    protocol=micro_f1,
    metric="micro-F1 of five classes of roads, softmax regression on frozen vectors, the released split",
    note="6,903 roads, 1,000 of them judge. 60 of the paper's 1,000 epochs, at a learning rate of 1e-3 where "
    "its grid ends at 2e-5.",
)


def main() -> None:
    found: dict[str, Any] = run_record(ROADS) | {"command": "python benchmarks/roads.py"}
    path = CHECKOUT / "benchmarks" / "roads.json"
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
