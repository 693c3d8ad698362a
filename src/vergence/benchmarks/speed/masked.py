"""Steps of masked and distilled methods beside their own losses on views that are ready.

"vergence" is ``learn(KEY, ...)``: reading, views, the loss forward and backward, optimizer, teacher, logs.
"bare" takes the loss of one batch's views, forward and backward through encoder, teacher and heads, again
and again, and does nothing else. HeurPT is left out: noise has no tags to learn from.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import torch

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.benchmarks.speed.step import WARM, Case, device, photos, repeat, time_steps
from vergence.catalog import find_trained
from vergence.core import Method
from vergence.engine.devices import best_precision
from vergence.methods.image.encoders import build

PAIR = {"hidden": 512}
PROTOTYPES = {"prototypes": 1024}
OPTIONS: dict[str, dict[str, Any]] = {
    "mae": {"width": 128, "depth": 2, "heads": 4},
    "dino": PROTOTYPES,
    "sit": PAIR,
    "cim": {"width": 192, "heads": 6},
    "mmc": {**PROTOTYPES, **PAIR},
    "udi": {**PROTOTYPES, **PAIR},
    "cmd": {**PROTOTYPES, **PAIR},
    "synfgvr": {"start": 0.0},
}
"""Key -> options that differ from the paper's: heads no larger than an encoder for small pictures asks."""
CONVOLUTIONAL = {"cmd", "synfgvr"}
"""Keys of methods that a residual network learns by; the others take a vision transformer."""


def contests(quick: bool) -> Iterator[Contest]:
    for key in ("mae",) if quick else OPTIONS:
        encoder = "resnet-tiny" if key in CONVOLUTIONAL else "vit-small32"
        case = Case("vit-micro", 16, 8, 2) if quick else Case(encoder, 32, 128, 6)
        yield Contest(
            name=f"step-{key}",
            what=f"{key} with {case.encoder} at {case.size} pixels, {case.batch} images a step",
            amount=case.batch * case.steps,
            unit="images",
            contestants=(
                Contestant("vergence", partial(partial, _learn, key, case)),
                Contestant("bare", partial(_bare, key, case), bar=1 / 1.15),
            ),
            note="The bar is a step of at most 1.15 times the bare passes.",
        )


def _kind(key: str) -> type[Method]:
    module, name = (find_trained(key).code or "").split(":")
    return getattr(import_module(module), name)


def _source(case: Case) -> Any:
    return photos(case.batch * (WARM + case.steps), case.size)


def _learn(key: str, case: Case) -> Mapping[str, float]:
    return time_steps(_kind(key), build(case.encoder, size=case.size), case, _source(case), **OPTIONS[key])


def _bare(key: str, case: Case) -> Round:
    kept: list[tuple[Method, Any]] = []
    kind = _kind(key)

    class Keeping(kind):  # type: ignore[misc, valid-type]
        """Keeps the views of the last step."""

        def loss(self, views: Any) -> dict[str, torch.Tensor]:
            kept[:] = [(self, copy.deepcopy(views))]
            return super().loss(views)

    time_steps(Keeping, build(case.encoder, size=case.size), case, _source(case), **OPTIONS[key])
    method, views = kept[0]
    where = device()
    precision = best_precision(where)

    def step() -> None:
        with torch.autocast(where.type, precision, enabled=precision != torch.float32):
            terms = kind.loss(method, views)
        torch.stack(list(terms.values())).sum().backward()
        method.zero_grad(set_to_none=True)

    return partial(repeat, step, case.steps)
