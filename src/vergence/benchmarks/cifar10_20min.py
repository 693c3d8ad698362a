"""What 20 minutes give: SimCLR on CIFAR-10, judged by k-NN and a linear probe.

``vergence bench cifar10-20min`` repeats it. How many epochs fit is measured first, so that every machine
takes the same time, and the result says how many images it saw. Settings are chosen on held-out training
photos; the test images only judge.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.environment import data_root, machine, results_folder
from vergence.core.errors import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.batch import ImageBatch
from vergence.engine import Run
from vergence.engine.files import write_json
from vergence.evaluate.table import measure
from vergence.methods.image.encoders import build
from vergence.methods.image.views import pair
from vergence.methods.pairs.simclr import SimCLR
from vergence.train import learn
from vergence.views.pixels.augment import View

FILE = "cifar10_20min.json"
SIDE, SMALL_SIDE = 32, 24
TRIED = 20  # steps that tell how fast this machine is
SPARE = 0.97  # share of the time that is planned for


class SmallFirst(SimCLR):
    """SimCLR whose views are small for the first part of the training, when coarse things are learned.

    Args:
        encoder: As of ``SimCLR``.
        small_share: Share of the training with small views, in [0, 1].
        **options: Those of ``SimCLR``.
    """

    def __init__(self, encoder: nn.Module, *, small_share: float = 0.6, **options: Any) -> None:
        super().__init__(encoder, **options)
        if not 0 <= small_share <= 1:
            raise BadInput(f"The share of the training with small views is in [0, 1]; got {small_share}.")
        self.small_share, self.small, self.large = small_share, pair(SMALL_SIDE), pair(SIDE)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.small, self.large = (views.with_options(options) for views in (self.small, self.large))

    def views(self, batch: ImageBatch) -> list[View]:  # type: ignore[override]  # no name of views
        return (self.small if self.clock.progress < self.small_share else self.large)(batch)


def cifar10_20min(
    *,
    minutes: float = 20.0,
    small_share: float = 0.0,
    temperature: float = 0.1,
    decoupled: bool = False,
    ema: float | None = None,
    batch: int = 256,
    lr: float = 2e-3,
    held_out: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train SimCLR for some minutes, judge it, and write and return the result.

    Args:
        minutes: Of training.
        small_share: Share of it with views of 24 pixels instead of 32, in [0, 1].
        temperature: Of the contrast.
        decoupled: Whether the other view is left out of what it is chosen from.
        ema: Decay of the averaged encoder that is kept, or None.
        batch: Samples a step.
        lr: Peak rate of AdamW.
        held_out: Training photos that judge in place of the test images, to choose settings by; 0 takes
            the test images.
        seed: Of weights, order, views, and of which photos are held out.
        folder: With train.parquet and test.parquet; None takes cifar10 of the data root.
        out: File to write; None takes ``benchmarks/results/cifar10_20min.json``, and none with ``held_out``.
        quiet: Print nothing on the way.

    Raises:
        BadInput: If the data is not there, or no step fits into the time.
    """
    learned, judged = _data(Path(folder) if folder is not None else data_root() / "cifar10", held_out, seed)
    options: dict[str, Any] = {
        "temperature": temperature,
        "decoupled": decoupled,
        "small_share": small_share,
    }
    settings: dict[str, Any] = {
        "optimizer": "adamw",
        "lr": lr,
        "weight_decay": 1e-4,
        "batch_size": batch,
        "seed": seed,
    }

    def train(source: Source, place: Path, **more: Any) -> Run:
        torch.manual_seed(seed)
        method = SmallFirst(build("resnet-tiny", size=SIDE), **options)
        method.recipe = dataclasses.replace(SimCLR.recipe, ema=ema)
        return learn(method, source, out=place, **settings, **more)

    with tempfile.TemporaryDirectory() as place:
        few = learned.subset(np.arange(min(len(learned), TRIED * batch)))
        rate = len(few) / max(
            1e-3, train(few, Path(place) / "tried", epochs=1, quiet=True).config.seconds or 0
        )
        fits = int(60 * minutes * SPARE * rate)
        if fits < batch:
            raise BadInput(
                f"{minutes:g} minutes are too few for a step of {batch} photos at {rate:.0f} a second."
            )
        epochs = max(1, fits // len(learned))
        source = learned.subset(np.arange(min(len(learned), fits)))  # less than an epoch takes fewer photos
        if not quiet:
            print(f"{rate:.0f} photos a second: {epochs} epochs of {len(source):,}.", file=sys.stderr)
        run = train(source, Path(place) / "run", epochs=epochs, warmup=min(1, epochs / 10), quiet=quiet)
        table = measure(run, learned, test=judged, protocols=("knn", "linear"), quiet=quiet)
        config = run.config
    result = {
        "what": f"SimCLR on {len(source):,} training photos of CIFAR-10, judged on {len(judged):,} "
        + ("held-out training photos" if held_out else "test images"),
        "images_seen": epochs * len(source),
        "minutes_of_training": round((config.seconds or 0) / 60, 1),
        "epochs": epochs,
        "settings": {**options, "ema": ema, "batch": batch, "lr": lr},
        "encoder": config.encoder,
        "parameters": config.parameters,
        "precision": config.precision,
        "table": table.to_dict(),
        "seed": seed,
        "versions": config.versions,
        "machine": machine(),
        "command": "vergence bench cifar10-20min",
    }
    if out is not None or not held_out:
        write_json(Path(out) if out is not None else results_folder() / FILE, result)
    return result


def as_text(result: Mapping[str, Any]) -> str:
    """Say in lines what came out, on which machine and after how many images."""
    rows = result["table"]["rows"]
    lines = [
        f"{name:18}" + "".join(f"{protocol} {100 * score['value']:.1f}   " for protocol, score in row.items())
        for name, row in rows.items()
    ]
    seen = f"{result['images_seen']:,} images seen in {result['minutes_of_training']} minutes"
    return "\n".join([result["what"], *(line.rstrip() for line in lines), f"{seen} on {result['machine']}"])


def _data(folder: Path, held_out: int, seed: int) -> tuple[Source, Source]:
    """Return what is learned from, and what judges."""
    for name in ("train", "test"):
        if not (folder / f"{name}.parquet").exists():
            raise BadInput(
                f"CIFAR-10 is not in {folder}: it needs train.parquet and test.parquet. Set VERGENCE_DATA to "
                "the folder that holds cifar10."
            )
    train = open_source(folder / "train.parquet")
    if not held_out:
        return train, open_source(folder / "test.parquet")
    if not 0 < held_out < len(train):
        raise BadInput(f"Of {len(train):,} training photos {held_out:,} cannot be held out.")
    order = np.random.default_rng(seed).permutation(len(train))
    return train.subset(np.sort(order[held_out:])), train.subset(np.sort(order[:held_out]))
