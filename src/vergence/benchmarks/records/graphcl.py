"""GraphCL on proteins, molecules and film casts: what do the augmentations do, and which suit what?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import nn

from vergence.benchmarks.record import Record
from vergence.methods.graph.graphcl import GraphCL

ARMS: dict[str, Callable[[nn.Module], GraphCL]] = {
    "paper": GraphCL,
    "identity": lambda encoder: GraphCL(encoder, augment="identity"),
}
MORE = {
    **ARMS,
    "edge perturbation alone": lambda encoder: GraphCL(encoder, augment="perturb_edges"),
}

PROTEINS = Record(
    key="graphcl",
    claim="Graphs are told apart better across two augmented copies than by contrast of plain copies.",
    arms=ARMS,
    source="tu:tu/PROTEINS",
    encoder="gin",
    options={"width": 32, "layers": 3},
    batch=128,
    epochs=20,
    seeds=(0, 1, 2, 3, 4),
    protocol="graphs",
    note="The paper's settings and its ratio of 0.2. That edge perturbation alone helps "
    "social graphs (IMDB-B) and hurts molecules (MUTAG) is its claim. NCI1 is not at hand.",
)
RECORD = dataclasses.replace(
    PROTEINS,
    also=(
        dataclasses.replace(PROTEINS, source="tu:tu/MUTAG", arms=MORE),
        dataclasses.replace(PROTEINS, source="tu:tu/IMDB-BINARY", arms=MORE),
    ),
)
