"""A whole training step beside the bare forward and backward passes of the same encoder.

"vergence" is ``learn("simclr", ...)``: reading, views, both passes, loss, optimizer, logs. "bare" sends
as many images of noise through the same encoder, in the same precision and with the same memory
settings, and does nothing else. The clock starts after the second step of each, when everything is
compiled. Looks at the encoder's health come once in 20 steps of 256 samples or more seldom and add one
fortieth at most: three forward passes of 256 images to 20 x 512 forward and backward ones.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.speed.harness import Contest, Contestant, Round, cpu_seconds
from vergence.core import Clock, Method
from vergence.data import Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine.devices import best_precision, make_fabric
from vergence.methods.image.encoders import build
from vergence.methods.pairs.simclr import SimCLR
from vergence.train import learn

WARM = 2  # steps


@dataclass(frozen=True)
class Case:
    encoder: str
    size: int
    batch: int
    steps: int

    def __str__(self) -> str:
        return f"SimCLR with {self.encoder} at {self.size} pixels, two views of {self.batch} images a step"


def contests(quick: bool) -> Iterator[Contest]:
    small = Case("resnet-tiny", 16, 8, 2) if quick else Case("resnet-tiny", 32, 256, 20)
    large = (Case("resnet18", 32, 256, 8), Case("vit_small_patch16_224", 224, 64, 5))
    for case in (small,) if quick else large:
        yield Contest(
            name=f"step-{case.encoder}",
            what=str(case),
            amount=2 * case.batch * case.steps,
            unit="images",
            contestants=(
                Contestant("vergence", partial(partial, _learn, case)),
                Contestant("bare", partial(bare, case), bar=1 / 1.1),
            ),
            note="The bar is a step of at most 1.10 times the bare passes.",
        )
    if best_precision(device()) == torch.bfloat16:
        yield Contest(
            name="bf16",
            what=str(small),
            amount=2 * small.batch * small.steps,
            unit="images",
            contestants=(
                Contestant("vergence", partial(partial, _learn, small, "bf16")),
                Contestant("vergence in fp32", partial(partial, _learn, small, "fp32"), bar=1.5),
            ),
        )


class Enough(Exception):
    """The steps that are timed are done."""


class Timed(Method):
    """To mix into a method: notes when each step is done, and stops after ``steps``."""

    steps: int
    laps: list[tuple[float, float]]

    def step_end(self, clock: Clock) -> None:
        super().step_end(clock)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.laps.append((time.perf_counter(), cpu_seconds()))
        if len(self.laps) == self.steps:
            raise Enough


def _learn(case: Case, precision: str = "auto") -> Mapping[str, float]:
    return trained(case, photos(case.batch * (WARM + case.steps), case.size), precision)


def trained(case: Case, source: Source | str, precision: str = "auto") -> Mapping[str, float]:
    """Train SimCLR for ``steps`` after two and return the seconds they took."""
    return time_steps(SimCLR, build(case.encoder, size=case.size), case, source, precision)


def time_steps(
    kind: type[Method],
    encoder: torch.nn.Module,
    case: Case,
    source: Source | str,
    precision: str = "auto",
    **options: Any,
) -> Mapping[str, float]:
    """Train a kind of method for ``steps`` after two and return the seconds they took."""
    method = type(kind.__name__, (Timed, kind), {})(encoder, **options)
    method.steps, method.laps = WARM + case.steps, []
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        learn(
            method,
            source,
            size=case.size,
            epochs=1,
            batch_size=case.batch,
            precision=precision,
            out=Path(folder) / "run",
            quiet=True,
        )
    (began, busy), (ended, all_) = method.laps[WARM - 1], method.laps[-1]
    return {"seconds": ended - began, "cpu": all_ - busy}


def bare(case: Case) -> Round:
    where = device()
    make_fabric()  # sets how memory is kept, as in a run
    encoder: Any = build(case.encoder, size=case.size).train()
    encoder.to(where, memory_format=torch.channels_last)
    noise = torch.rand(2, case.batch, 3, case.size, case.size, device=where)
    images = [x.contiguous(memory_format=torch.channels_last) for x in noise]
    kind = best_precision(where)

    def step() -> None:
        with torch.autocast(where.type, kind, enabled=kind != torch.float32):
            vectors = [encoder(x).pooled for x in images]
        torch.stack([v.float().mean() for v in vectors]).sum().backward()
        encoder.zero_grad(set_to_none=True)

    return partial(repeat, step, case.steps)


def repeat(step: Callable[[], None], steps: int) -> Mapping[str, float]:
    """Take a step again and again and return the seconds of those after the first two."""
    for _ in range(WARM):
        step()
    began, busy = time.perf_counter(), cpu_seconds()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - began, "cpu": cpu_seconds() - busy}


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def photos(count: int, size: int) -> ImageSource:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return ImageSource(PixelReader(pixels, None, None, "noise"), "noise", pixels=pixels)
