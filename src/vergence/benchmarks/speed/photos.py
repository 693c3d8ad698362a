"""Photos from JPEG files to two SimCLR views of 224 pixels: read, decode, crop, recolour.

Ours is the loader that training uses, which shrinks while it decodes and hands whole batches of bytes
to the views; it starts from the files in every round and keeps no decoded photo. lightly's is its
dataset and transform in a ``DataLoader`` with a worker a core, which decodes at full size, once for
both views. Photos are made up: soft shapes with some grain, as large as a camera's once compressed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vergence.benchmarks.speed.harness import Contest, Contestant, LoaderPasses, Round
from vergence.data import open as open_source
from vergence.data.loading import cores
from vergence.methods.image.views import pair

SIZE, BATCH = 224, 32


def contests(quick: bool) -> Iterator[Contest]:
    for name, height, width, count in (("256px", 256, 256, 512), ("12mp", 3000, 4000, 32)):
        count = 2 if quick else count
        with tempfile.TemporaryDirectory() as folder:
            bytes_ = write_photos(Path(folder), height, width, count)
            lightly = LoaderPasses(partial(_lightly, folder))
            yield Contest(
                name=f"photos-{name}",
                what=f"two SimCLR views of {SIZE} pixels of {count} JPEG files of {width} x {height} pixels "
                f"and {bytes_ / count / 1000:,.0f} kB, in batches of {BATCH}, decoding included",
                amount=count,
                unit="photos",
                contestants=(
                    Contestant("vergence", partial(_ours, folder)),
                    Contestant(
                        f"lightly, {cores()} workers",
                        lightly.prepare,
                        needs=("lightly",),
                        bar=2.0,
                        close=lightly.close,
                    ),
                ),
            )


def write_photos(folder: Path, height: int, width: int, count: int) -> int:
    """Write ``count`` JPEG files into one class of ``folder`` and return their bytes."""
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    total = 0
    for i in range(count):
        soft = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        grain = random.integers(-6, 7, (height, width, 1), np.int16)
        pixels = np.clip(np.asarray(soft, np.int16) + grain, 0, 255).astype(np.uint8)
        path = folder / "photos" / f"{i:04}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        total += path.stat().st_size
    return total


def _ours(folder: str) -> Round:
    views = pair(SIZE)

    def round_() -> None:
        source = open_source(folder)  # a source keeps what it decoded: a new one starts from the files
        for batch in source.loader(BATCH, spec={"size": SIZE}, shuffle=True):
            views(batch)

    return round_


def _lightly(folder: str) -> torch.utils.data.DataLoader[Any]:
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=SIZE, min_scale=0.2, cj_strength=0.5)
    return torch.utils.data.DataLoader(
        LightlyDataset(folder, transform=transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=cores(),
        persistent_workers=True,
    )
