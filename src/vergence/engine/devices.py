"""Where and how exactly to compute: devices, processes, precision, the way of a batch to the device."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vergence.core import unknown

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # of mallopt, in glibc's malloc.h
PRECISIONS = {"bf16": "bf16-mixed", "fp32": "32-true"}


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters live, the CPU when it has none."""
    first = next(module.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


def best_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes with it (GPU, AMX, AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def in_best_precision(device: torch.device) -> torch.autocast:
    """Return the context in which a forward pass runs in the hardware's best precision."""
    best = best_precision(device)
    return torch.autocast(device.type, best, enabled=best != torch.float32)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step; fresh pages took a fifth of a step on a CPU."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for setting, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**28)):
            mallopt(setting, value)


def make_fabric(
    precision: str = "auto", devices: int | str = "auto", nodes: int = 1, strategy: str = "auto"
) -> Fabric:
    """Start Fabric, and the other processes where there are to be any.

    Args:
        precision: "auto" (what the hardware is good at), "bf16" or "fp32".
        devices: How many a node; "auto" takes every GPU, or one CPU process.
        nodes: Machines.
        strategy: "auto", "ddp" or "fsdp".
    """
    from lightning_fabric import Fabric  # half the time of importing vergence.engine

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the journal says it better
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if best_precision(torch.device(accelerator)) == torch.bfloat16 else "fp32"
    if precision not in PRECISIONS:
        raise unknown("precision", precision, ["auto", *PRECISIONS])
    if accelerator == "cpu":
        keep_freed_memory()
    count = max(1, torch.cuda.device_count()) if devices == "auto" else int(devices)
    fabric = Fabric(
        accelerator=accelerator,
        devices=count,
        num_nodes=nodes,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        strategy=strategy,
    )
    if count * nodes > 1:
        fabric.launch()
    return fabric


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield batches on the device; on a GPU the next one is copied while the present one computes."""
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    coming = None
    for batch in batches:
        following = batch.pin_memory().to(device, non_blocking=True)
        if coming is not None:
            yield coming
        coming = following
    if coming is not None:
        yield coming
