"""Devices and precision: where and how exactly to compute, and the way of a batch to the device."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor, nn

from vergence.core import BadInput, RunConfig, unknown
from vergence.data.loading import cores
from vergence.engine import launch, process_monitor
from vergence.engine.shard import shard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # of mallopt, in glibc's malloc.h
PRECISIONS = {"bf16": "bf16-mixed", "fp32": "32-true"}
STRATEGIES = ("auto", "ddp", "fsdp")


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters live, the CPU when it has none."""
    first = next(module.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


def best_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes with it (GPU, AMX, AVX512-BF16), else float32.

    A CPU whose AVX-512 torch leaves alone (``ATEN_CPU_CAPABILITY=default``) counts as one without.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        # torch has no public name for what a CPU is fast at
        known = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
        used = torch.backends.cpu.get_cpu_capability() == "AVX512"
        return torch.bfloat16 if known and used else torch.float32
    return torch.float32


def in_best_precision(device: torch.device, wanted: str = "auto") -> torch.autocast:
    """Return the context in which a forward pass runs in the hardware's best precision, or in ``wanted``."""
    best = torch.float32 if wanted == "fp32" else best_precision(device)
    return torch.autocast(device.type, best, enabled=best != torch.float32)


def chosen_precision(wanted: str = "auto") -> str:
    """Return "bf16" or "fp32"; "auto" is what the hardware is good at.

    Raises:
        BadInput: For any other word.
    """
    if wanted == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return "bf16" if best_precision(device) == torch.bfloat16 else "fp32"
    if wanted not in PRECISIONS:
        raise unknown("precision", wanted, ["auto", *PRECISIONS])
    return wanted


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step; fresh pages took a fifth of a step on a CPU."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for setting, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**28)):
            mallopt(setting, value)


def make_fabric(
    precision: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
    strategy: str = "auto",
    *,
    find_unused_parameters: bool = False,
) -> Fabric:
    """Start Fabric, and the other processes where there are to be any.

    Processes that torchrun or SLURM started are taken as they are. Otherwise this starts the others
    of this machine by running the program again; with several machines, start it on each, with
    ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` set.

    Args:
        precision: "auto" (what the hardware is good at), "bf16" or "fp32".
        devices: How many a node; "auto" takes every GPU, or one CPU process.
        nodes: Machines.
        strategy: "auto" or "ddp" (every process holds everything), or "fsdp" (each holds a part).
        find_unused_parameters: See ``Method``.

    Raises:
        BadInput: For an unknown precision or strategy, or processes that cannot be started.
    """
    from lightning_fabric import Fabric  # half the time of importing vergence.engine

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the logger says it better
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision = chosen_precision(precision)
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if accelerator == "cpu":
        keep_freed_memory()
    count, nodes = _processes(devices, nodes)
    several = count * nodes > 1
    fabric = Fabric(
        accelerator=accelerator,
        devices=count,
        num_nodes=nodes,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        strategy=_strategy(strategy, count * nodes, find_unused_parameters) if several else "auto",
    )
    if several:
        place = fabric.strategy.cluster_environment  # type: ignore[attr-defined]
        if not place.creates_processes_externally:
            launch.start_processes(count, place.main_address, place.main_port)
        with launch.Waiting():
            fabric.launch()
            process_monitor.connect(fabric)
    return fabric


def _processes(devices: int | str, nodes: int) -> tuple[int, int]:
    """Return the processes a machine and the machines, as asked for or as torchrun has them."""
    if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if devices != "auto" and not str(devices).isdecimal():
        raise BadInput(f"--devices needs a whole number or auto; got {devices!r}.")
    available = torch.cuda.device_count()
    count = max(1, available) if devices == "auto" else int(devices)
    if count < 1 or nodes < 1:
        raise BadInput(f"--devices and --nodes need 1 or more; got {count} and {nodes}.")
    if available and count > available:
        raise BadInput(f"This machine has {available} GPUs; --devices {count} asks for more.")
    if nodes > 1 and not {"SLURM_NTASKS", "MASTER_ADDR"} & os.environ.keys():
        raise BadInput(
            f"--nodes {nodes} needs the same command on each machine, by torchrun or with "
            "MASTER_ADDR, MASTER_PORT and NODE_RANK set."
        )
    return count, nodes


def _strategy(name: str, processes: int, find_unused_parameters: bool) -> Any:
    """Return Fabric's strategy: a copy of everything in each process, or a part in each."""
    from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy

    if name == "fsdp":
        return ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1)
    # After the start, buffers stay the same everywhere: norms, centres and queues see all samples.
    return DDPStrategy(forward_sync_buffers=False, find_unused_parameters=find_unused_parameters)


def divides(fabric: Fabric) -> bool:
    """Say whether each process holds but a part of the networks."""
    return hasattr(type(fabric.strategy), "device_mesh")


def on_device(batches: Iterable[Any], device: torch.device) -> Generator[Any]:
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


@contextlib.contextmanager
def threads_of(run: RunConfig) -> Iterator[str]:
    """Compute with as many threads as a run began with, for as long: the last bits on a CPU depend on it.

    Yields:
        What there is to say about it, "" where the number is the same, not known, or does not matter.
    """
    now, then = torch.get_num_threads(), run.threads
    if then in (None, now) or not run.device.startswith("CPU"):
        yield ""
    elif then > cores():
        yield f"it began with {then} threads, and here are {cores()} cores: the last bits will differ"
    else:
        torch.set_num_threads(then)
        try:
            yield f"it goes on with {then} thread{'' if then == 1 else 's'}, as it began, in place of {now}"
        finally:
            torch.set_num_threads(now)


def leave_busy_cores(seconds: float = 0.1) -> str:
    """Compute with one thread a core that is idle now, unless ``OMP_NUM_THREADS`` says with how many.

    One of several processes (``LOCAL_RANK``) leaves its threads as they are.

    A thread that shares its core holds up all others at every barrier: beside one busy process a core, two
    threads keep a third of their quiet rate, one thread half of it.

    Args:
        seconds: For how long the cores are watched.

    Returns:
        What there is to say about it, "" where all threads stay.
    """
    before = torch.get_num_threads()
    if os.environ.keys() & {"OMP_NUM_THREADS", "LOCAL_RANK"} or before == 1:
        return ""
    threads = min(before, max(1, round(idle_cores(seconds))))
    if threads == before:
        return ""
    torch.set_num_threads(threads)
    return (
        f"Other programs keep the cores busy: {threads} thread{'' if threads == 1 else 's'} instead of "
        f"{before} (OMP_NUM_THREADS={before} takes all; the last bits depend on it)"
    )


def idle_cores(seconds: float) -> float:
    """Return how many of the cores that this process may use are idle, watched for ``seconds``."""
    busy = psutil.cpu_percent(seconds, percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(busy))
    return sum(1 - busy[core] / 100 for core in mine)


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let a CPU add up gradients in one order, where those of ``z[rows]`` else come as its threads do.

    A GPU is left as it is: there it would take time.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # empty tensors may stay unwritten
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        memory.fill_uninitialized_memory = filled


def put_channels_last(module: nn.Module, device: torch.device) -> None:
    """Put a module on a device, with the weights of convolutions over images in channels-last order."""

    def moved(value: Tensor) -> Tensor:
        order = torch.channels_last if value.ndim == 4 else torch.preserve_format
        return value.to(device, memory_format=order)

    module._apply(moved)  # noqa: SLF001 - ``to`` asks it of every number of axes, and clips have five
