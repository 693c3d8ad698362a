"""The world of scenes: pictures a second of each truth at three sizes, from the seed to the target.

What truths have in common, such as which thing is in front at each pixel, is made anew for each; a source
that is asked for several makes it once a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.data.worlds.scenes.pictures import pictures
from vergence.data.worlds.scenes.scene import Options, generate
from vergence.data.worlds.scenes.truths import TRUTHS, View

BATCH, SIZES = 128, (32, 64, 128)
PLAIN = ("labels", "boxes", "masks", "instances", "depth", "captions")
PLAIN_SIZE, LEAST = 64, 2_000.0  # pictures a second that plain truths should reach


def contests(quick: bool) -> Iterator[Contest]:
    batch, sizes = (2, (32,)) if quick else (BATCH, SIZES)
    for name in ("pictures", *TRUTHS):
        for size in sizes:
            yield Contest(
                name=f"{name}-{size}",
                what=f"{name} of {batch} scenes, {size} pixels a side",
                amount=batch,
                unit="pictures",
                contestants=(Contestant("vergence", partial(_ours, name, batch, size)),),
                least=LEAST if name in PLAIN and size == PLAIN_SIZE else None,
            )


def _ours(name: str, batch: int, size: int) -> Round:
    rows = np.arange(batch)

    def round_() -> None:
        scene = generate(0, rows, Options())
        if name == "pictures":
            pictures(scene, size)
        else:
            TRUTHS[name](View(scene, size))

    return round_
