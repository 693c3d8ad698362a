"""The one training loop."""

from __future__ import annotations

import contextlib
import math
import signal
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vergence.core import Clock, Interrupted, Method, Recipe, VergenceError, unknown
from vergence.data.source import Source
from vergence.engine.distributed import mean_over_processes, rank, world
from vergence.engine.embed import best_precision
from vergence.engine.files import load_checkpoint, save_checkpoint, told, write_yaml
from vergence.engine.health import Checkup, Health
from vergence.engine.journal import Journal, Silence
from vergence.engine.optim import optimizer, set_rates
from vergence.engine.run import Run, save_encoder
from vergence.nets import Teacher


class _Parcel:
    """Carries a batch past Fabric, which would take dataclasses apart and convert what is in them."""

    __slots__ = ("batch",)

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class _Step(nn.Module):
    """Views and loss in one forward call, so that the data-parallel wrapper sees all of it."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, parcel: _Parcel) -> dict[str, Tensor]:
        batch = parcel.batch
        device = batch.index.device if hasattr(batch, "index") else next(self.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            views = self.method.views(batch)  # type: ignore[operator]
        return self.method.loss(views)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch from (seed, step, process): a resumed step draws what it would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying by them; a second one acts as usual."""
    seen: list[int] = []
    kept: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        signal.signal(number, kept[number])

    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            kept[number] = signal.getsignal(number)
            signal.signal(number, note)
    try:
        yield seen
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
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


def make_fabric(precision: str = "auto", devices: int | str = "auto", nodes: int = 1, strategy: str = "auto") -> Fabric:
    """Start Fabric with the precision that the hardware is good at.

    Args:
        precision: "auto", "bf16" or "fp32".
        devices: How many a node; "auto" takes every GPU, or one CPU process.
        nodes: Machines.
        strategy: "auto", "ddp" or "fsdp".
    """
    if devices == "auto":
        devices = max(1, torch.cuda.device_count())
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if best_precision(torch.device(accelerator)) == torch.bfloat16 else "fp32"
    names = {"bf16": "bf16-mixed", "fp32": "32-true"}
    if precision not in names:
        raise unknown("precision", precision, ["auto", *names])
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=names[precision],  # type: ignore[arg-type]
        strategy=strategy if (int(devices) * nodes > 1 or strategy != "auto") else "auto",
    )
    if int(devices) * nodes > 1:
        fabric.launch()
    return fabric


def train(
    method: Method,
    source: Source,
    *,
    out: Path,
    recipe: Recipe,
    batch_size: int,
    config: dict[str, Any],
    seed: int = 0,
    size: int | None = None,
    fabric: Fabric | None = None,
    workers: int | None = None,
    accumulate: int = 1,
    save_every: int | None = None,
    resume: bool = False,
    pair: Callable[[Any], Any] | None = None,
    quiet: bool = False,
) -> Run:
    """Train ``method`` on ``source`` and leave a run at ``out``.

    Args:
        method: With its views bound.
        source: Unlabelled data.
        out: The run's folder, made when missing.
        recipe: The settings really used.
        batch_size: Samples an optimizer step over all processes.
        config: Written to ``config.yaml``.
        seed: Of data order, views and whatever else is random in a step.
        size: Passed to the source's loader.
        fabric: Devices and precision; None decides by the hardware.
        workers: Passed to the source's loader.
        accumulate: Parts into which each step's batch is split, to save memory.
        save_every: Steps between checkpoints; None saves at the ends of epochs, 15 s or more apart.
        resume: Go on from ``out/checkpoint/last.pt``.
        pair: Makes two views for the alignment that health reports.
        quiet: Print nothing.

    Raises:
        Interrupted: After SIGINT or SIGTERM, once the state is saved.
        VergenceError: If the loss stops being a number, the disk refuses, or too much data is unreadable.
    """
    fabric = fabric or make_fabric()
    share = max(1, batch_size // (world() * accumulate))
    batch_size = share * world() * accumulate
    sampler = method.batches(source)
    per_epoch = max(1, (len(source) if sampler is None else len(sampler) * batch_size) // batch_size)
    total = max(1, recipe.epochs * per_epoch)
    log_every = max(1, min(50, per_epoch // 4))
    look_every = max(1, recipe.epochs // 50)
    first = rank() == 0

    device = fabric.device
    method.setup(source)
    method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    opt = optimizer(method, recipe)
    averaged = Teacher(method.encoder).to(device) if recipe.ema else None

    start = 0
    last = out / "checkpoint" / "last.pt"
    if resume:
        state = load_checkpoint(last)
        method.load_state_dict(state["method"])
        opt.load_state_dict(state["optimizer"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        start = state["step"]

    step_module, opt_ = fabric.setup(_Step(method), opt)
    if first:
        with told(out):
            out.mkdir(parents=True, exist_ok=True)
        write_yaml(out / "config.yaml", config)
    journal: Any = Journal(out, total=total, epochs=recipe.epochs, start=start, quiet=quiet) if first else Silence()
    looks = _looks(method, source, size, seed, device, pair) if first else None
    baseline: Health | None = None
    if looks is not None:
        baseline = looks(method.encoder)
        if start == 0:
            journal.check(0, 0, baseline.row(), "")

    sums: dict[str, Tensor] = {}
    counted, since = 0, time.monotonic()
    recent: deque[float] = deque(maxlen=50)
    began = time.monotonic()

    def flush(step: int, lr: float) -> None:
        nonlocal sums, counted, since
        if not counted:
            return
        means = {k: float(mean_over_processes(v / counted)) for k, v in sums.items()}
        if not math.isfinite(means["loss"]):
            kept = f"The checkpoint in {last.parent} is from before; " if last.exists() else ""
            terms = ", ".join(f"{k} {v:.3g}" for k, v in means.items())
            raise VergenceError(
                f"The loss is no longer a number at step {step} ({terms}). {kept}"
                f"Lower --lr (now {lr:.3g}) or use --precision fp32."
            )
        rate = counted * batch_size / max(1e-9, time.monotonic() - since)
        journal.row(step, step // per_epoch, {"lr": lr, **means, "samples_per_second": rate})
        if len(recent) >= 10:
            middle = statistics.median(recent)
            spread = statistics.median(abs(r - middle) for r in recent)
            if means["loss"] - middle > 10 * spread + 0.1 * abs(middle):
                journal.say(f"step {step}: the loss jumped to {means['loss']:.3g} from about {middle:.3g}.")
        recent.append(means["loss"])
        sums, counted, since = {}, 0, time.monotonic()

    saved = time.monotonic()

    def save(step: int) -> None:
        nonlocal saved
        if first:
            state = {"step": step, "method": method.state_dict(), "optimizer": opt.state_dict()}
            if averaged is not None:
                state["averaged"] = averaged.state_dict()
            save_checkpoint(last, state, kept="The last complete checkpoint is kept." if last.exists() else "")
        saved = time.monotonic()
        fabric.barrier()

    def batches_of(epoch: int, done: int) -> Iterator[Any]:
        if sampler is not None:
            return sampler.epoch(epoch, seed=seed, start=done)
        return source.loader(
            share, size=size, shuffle=True, seed=seed, epoch=epoch, start=done, drop_last=len(source) >= batch_size,
            workers=workers, rank=rank(), world=world(),
        )  # fmt: skip

    step, lr = start, 0.0
    try:
        with _stop_signals() as stop:
            while step < total:
                epoch, done = divmod(step, per_epoch)
                clock = Clock(step, total, per_epoch)
                if done == 0:
                    seed_step(seed, step, rank())
                    method.clock = clock
                    method.epoch_start(clock, _Plain(source, share, size, workers, device))
                method.train()
                stream = _ahead(batches_of(epoch, done * accumulate), device)
                for _ in range(per_epoch - done):
                    method.clock = clock = Clock(step, total, per_epoch)
                    lr = set_rates(opt, recipe, clock, batch_size)
                    seed_step(seed, step, rank())
                    for part in range(accumulate):
                        batch = next(stream, None)
                        if batch is None:
                            break
                        with fabric.no_backward_sync(step_module, enabled=part < accumulate - 1):
                            terms = step_module(_Parcel(batch))
                            loss = torch.stack(list(terms.values())).sum()
                            fabric.backward(loss / accumulate)
                        for name, value in {"loss": loss, **terms, **method.drain_watched()}.items():
                            sums[name] = sums.get(name, 0.0) + value.detach().float() / accumulate
                    if batch is None:
                        step = (epoch + 1) * per_epoch
                        break
                    if recipe.clip is not None:
                        fabric.clip_gradients(step_module, opt_, max_norm=recipe.clip, error_if_nonfinite=False)
                    opt_.step()
                    opt.zero_grad(set_to_none=True)
                    step += 1
                    counted += 1
                    method.step_end(Clock(step, total, per_epoch))
                    if averaged is not None:
                        averaged.follow(keep=float(recipe.ema))  # type: ignore[arg-type]
                    if step % log_every == 0 or step == total:
                        flush(step, lr)
                    if save_every and step % save_every == 0:
                        flush(step, lr)
                        save(step)
                    if stop:
                        break
                stream.close()
                flush(step, lr)
                if stop and step < total:
                    save(step)
                    name = signal.Signals(stop[0]).name
                    raise Interrupted(
                        f"Stopped by {name} at step {step} of {total}; saved. Go on with: vergence learn --resume {out}"
                    )
                source.skipped.check(len(source), source.uri)
                if step == total or (not save_every and time.monotonic() - saved > 15):
                    save(step)
                if looks is not None and baseline is not None and (epoch % look_every == 0 or step == total):
                    seen = looks(method.encoder)
                    journal.check(step, step // per_epoch, seen.row(), seen.trouble(baseline, _dim(method)))
    finally:
        journal.close()
        if first and out.exists():
            with contextlib.suppress(OSError):
                source.skipped.write(out / "skipped.csv")

    result = averaged.network if averaged is not None else method.encoder
    if first:
        save_encoder(result, out / "encoder.safetensors")
        config = {**config, "seconds": round(config.get("seconds", 0.0) + time.monotonic() - began, 1)}
        write_yaml(out / "config.yaml", config)
        if source.skipped.reasons:
            journal.say(f"{len(source.skipped.reasons)} samples could not be read; see {out / 'skipped.csv'}.")
    fabric.barrier()
    return Run(out, result)


class _Plain:
    """The source's unaugmented batches, on the device, as often as asked."""

    def __init__(self, source: Source, batch_size: int, size: int | None, workers: int | None, device: torch.device):
        self.source, self.batch_size, self.size = source, batch_size, size
        self.workers, self.device = workers, device

    def __iter__(self) -> Iterator[Any]:
        for batch in self.source.loader(self.batch_size, size=self.size, workers=self.workers):
            yield batch.to(self.device)


def _looks(
    method: Method, source: Source, size: int | None, seed: int, device: torch.device, pair: Callable[[Any], Any] | None
) -> Checkup | None:
    stream = source.loader(min(512, len(source)), size=size, shuffle=True, seed=seed + 1)
    batch = next(iter(stream), None)
    if batch is None or len(batch) < 8:
        source.skipped.check(len(source), source.uri)
        return None
    return Checkup(batch.to(device), pair, seed)


def _dim(method: Method) -> int:
    return int(getattr(method.encoder, "out_dim", 0))
