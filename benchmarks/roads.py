"""GAIN on the roads of Linköping: the paper's own data, split and measure.

    git clone https://github.com/zahrag/GAIN
    VERGENCE_DATA=GAIN/graph_data_GainRepo python benchmarks/roads.py

The data is 5 MB of that repository; nothing of it is kept here.
"""

from dataclasses import replace
from typing import Any

import torch
from sklearn.preprocessing import StandardScaler

from vergence.engine.files import write_json
from vergence.learn.graph.views import with_x
from vergence.measure.record import CHECKOUT
from vergence.measure.records.gain import RECORD
from vergence.measure.repeat import run_record


def standardised(source: Any, seed: int) -> tuple[Any, Any]:
    """Scale each feature by its mean and deviation over the roads that teach, as the released code does."""
    x = source.x.double().numpy()
    scaled = StandardScaler().fit(x[source.splits()[0].train]).transform(x)
    graph = source.with_graph(with_x(source.data, torch.from_numpy(scaled).float()))
    return graph, graph


ROADS = replace(
    RECORD,
    source="graphsage:osm_transductive/linkoping-osm",
    batch=1024,
    prepare=standardised,
    protocol="nodes",
    note="6,903 roads of five classes, 1,000 of them judge in the released split: accuracy is the paper's "
    "micro-F1. 60 of the paper's 1,000 epochs, at a learning rate of 1e-3 where its grid ends at 2e-5.",
)


def main() -> None:
    found: dict[str, Any] = run_record(ROADS) | {"command": "python benchmarks/roads.py"}
    path = CHECKOUT / "benchmarks" / "roads.json"
    write_json(path, found)


if __name__ == "__main__":
    main()
