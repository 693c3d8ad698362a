"""Folders and machine of runs of record: where data lie, where results go, what they ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

from vergence.benchmarks import CHECKOUT


def data_root() -> Path:
    """Return the folder of the real data: ``VERGENCE_DATA``, else ``../shared/data`` beside the checkout."""
    named = os.environ.get("VERGENCE_DATA")
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def results_folder() -> Path:
    """Return ``benchmarks/results`` of the checkout, or of the current folder where there is no checkout."""
    home = CHECKOUT if (CHECKOUT / "benchmarks").is_dir() else Path.cwd()
    return home / "benchmarks" / "results"


def machine() -> str:
    """Name the processor or accelerator."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    names = ("vergence", "torch", "numpy", "timm")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }
