"""SimCLR from JPEG files, whole steps: ours, lightly's parts in a loop, and the bare passes.

"lightly" is its dataset, transform and loss in the loop of its documentation, with a worker a core,
the same encoder and projector, bfloat16 and channels-last. "bare" is what ``step`` compares with:
the same encoder, forward and backward, on images that are there already. Photos are those of
``photos``, 256 pixels a side.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vergence.benchmarks.speed.harness import Contest, Contestant, Round, cpu_seconds
from vergence.benchmarks.speed.photos import write_photos
from vergence.benchmarks.speed.step import WARM, Case, bare, device, trained
from vergence.data.loading import cores
from vergence.engine.devices import best_precision
from vergence.methods.image.encoders import build

WIDTH = 128  # of what lightly's projector, as ours, answers with


def contests(quick: bool) -> Iterator[Contest]:
    if quick:
        cases = [Case("resnet-tiny", 32, 4, 1)]
    elif torch.cuda.is_available():
        cases = [Case("resnet50", 224, 256, 20), Case("vit_small_patch16_224", 224, 256, 20)]
    else:
        cases = [Case("resnet18", 64, 128, 4)]
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            write_photos(Path(folder), 256, 256, case.batch * (WARM + case.steps))
            lightly = _Lightly(case, folder)
            yield Contest(
                name=f"training-{case.encoder}",
                what=f"{case}, from JPEG files",
                amount=case.batch * case.steps,
                unit="photos",
                contestants=(
                    Contestant("vergence", partial(partial, trained, case, folder)),
                    Contestant(
                        f"lightly, {cores()} workers",
                        lightly.prepare,
                        needs=("lightly",),
                        bar=1.0,
                        close=lightly.close,
                    ),
                    Contestant("bare", partial(bare, case), bar=0.95),
                ),
                note="Every photo is read once a round.",
            )


class _Lightly:
    """lightly's parts in a plain loop; the workers of its ``DataLoader`` stay from round to round."""

    def __init__(self, case: Case, folder: str) -> None:
        self.case, self.folder = case, folder
        self.loader: Any = None

    def prepare(self) -> Round:
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform

        case, where = self.case, device()
        transform = SimCLRTransform(input_size=case.size, min_scale=0.2, cj_strength=0.5)
        self.loader = torch.utils.data.DataLoader(
            LightlyDataset(self.folder, transform=transform),
            batch_size=case.batch,
            shuffle=True,
            drop_last=True,
            num_workers=cores(),
            persistent_workers=True,
            pin_memory=where.type == "cuda",
        )
        encoder: Any = build(case.encoder, size=case.size).train()
        encoder.to(where, memory_format=torch.channels_last)
        head = SimCLRProjectionHead(encoder.out_dim, encoder.out_dim, WIDTH).to(where)
        loss = NTXentLoss(temperature=0.1)
        descend = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.06, momentum=0.9)
        kind = best_precision(where)

        def round_() -> Mapping[str, float]:
            laps = []
            for (first, second), *_ in self.loader:
                views = [
                    x.to(where, non_blocking=True).contiguous(memory_format=torch.channels_last)
                    for x in (first, second)
                ]
                with torch.autocast(where.type, kind, enabled=kind != torch.float32):
                    a, b = (head(encoder(x).pooled) for x in views)
                    cost = loss(a.float(), b.float())
                cost.backward()
                descend.step()
                descend.zero_grad(set_to_none=True)
                if where.type == "cuda":
                    torch.cuda.synchronize()
                laps.append((time.perf_counter(), cpu_seconds()))
            (began, busy), (ended, all_) = laps[WARM - 1], laps[WARM + case.steps - 1]
            return {"seconds": ended - began, "cpu": all_ - busy}

        return round_

    def close(self) -> None:
        self.loader = None  # its workers end with it
