"""The one training loop."""

from __future__ import annotations

import contextlib
import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import (
    BadInput,
    Clock,
    InputSpec,
    Interrupted,
    Method,
    RunConfig,
    VergenceError,
    input_spec,
)
from vergence.core.errors import out_of_memory
from vergence.data.source import Source
from vergence.engine import process_monitor
from vergence.engine.devices import divides, make_fabric, on_device, repeatable
from vergence.engine.distributed import StopVote, mean_over_processes, merged, rank, world
from vergence.engine.files import (
    DiskTrouble,
    first_line,
    load_checkpoint,
    save_checkpoint,
    write_text,
    write_yaml,
)
from vergence.engine.health import Health, HealthProbe
from vergence.engine.logger import Logger, NullLogger
from vergence.engine.optim import optimizer, set_rates
from vergence.engine.run import Run, save_encoder
from vergence.engine.shard import load_optimizer, shard, whole
from vergence.engine.signals import stop_requests
from vergence.engine.sync_norm import synchronise_norms
from vergence.nets import Teacher

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SECONDS_BETWEEN_SAVES = 15
LOOKS = 50  # at the encoder's health, at most, in one run
LOOKED_AT = 256  # samples
BETWEEN_LOOKS = 20  # times as many samples are trained on, lest looking costs more than a few percent


def train(
    method: Method,
    source: Source,
    config: RunConfig,
    *,
    out: Path,
    fabric: Fabric | None = None,
    pair: Callable[[Any], Any] | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Train ``method`` on ``source`` and leave a run at ``out``.

    Args:
        method: With its views bound.
        source: Unlabelled data.
        config: The settings really used, with their ``recipe`` and ``batch_size``; see
            ``training.resolved``. Written to ``config.yaml``.
        out: The run's folder, made when missing.
        fabric: Devices and precision; None decides by the hardware.
        pair: Makes two views for the alignment that health reports.
        resume: Go on from ``out/checkpoint/last.pt``.
        quiet: Print nothing.

    Raises:
        Interrupted: After SIGINT, SIGTERM or SIGHUP, once the state is saved.
        VergenceError: If the loss stops being a number, the disk refuses, memory does not suffice, or too
            much data is unreadable.
    """
    training = _Training(method, source, config, out, fabric or make_fabric())
    with training.explaining_failures():
        training.prepare(resume, pair, quiet)
        try:
            training.run()
        finally:
            training.logger.close()
            if rank() == 0 and out.exists():
                with contextlib.suppress(VergenceError):  # what went wrong before is the news
                    write_text(out / "skipped.csv", source.skipped.table())
        return training.finish()


def loader_spec(encoder: nn.Module, config: RunConfig) -> InputSpec:
    """Return what a loader must deliver: what the encoder says, else the size that was asked for."""
    return input_spec(encoder) or ({} if config.size is None else {"size": config.size})


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch from (seed, step, process): a resumed step draws what it would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1))


class _BatchHolder:
    """Carries a batch past Fabric, which would take dataclasses apart and convert what is in them."""

    __slots__ = ("batch",)

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class _Step(nn.Module):
    """Views and loss in one forward call, so that the data-parallel wrapper sees all of it."""

    def __init__(self, method: Method, device: torch.device) -> None:
        super().__init__()
        self.method, self.device = method, device

    def forward(self, held: _BatchHolder | Callable[[], None]) -> dict[str, Tensor]:
        if not isinstance(held, _BatchHolder):
            held()  # with the networks in one piece, should they be divided among processes
            return {}
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            views = self.method.views(held.batch)  # type: ignore[operator]
        return self.method.loss(views)


class _Plain:
    """The source's unaugmented batches, on the device, as often as asked."""

    def __init__(self, load: Callable[[], Iterable[Any]], device: torch.device) -> None:
        self.load, self.device = load, device

    def __iter__(self) -> Iterator[Any]:
        return on_device(self.load(), self.device)


class _Means:
    """Running means of named scalars, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.since = 0, time.monotonic()

    def add(self, values: dict[str, Tensor], share: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float() * share

    def take(self) -> tuple[dict[str, float], float]:
        """Return the means over steps and processes and the steps a second; start anew."""
        found = {name: float(mean_over_processes(total / self.steps)) for name, total in self.sums.items()}
        rate = self.steps / max(1e-9, time.monotonic() - self.since)
        self.reset()
        return found, rate


class _Training:
    """One run from its first step, or its last checkpoint, to its end."""

    def __init__(self, method: Method, source: Source, config: RunConfig, out: Path, fabric: Fabric) -> None:
        if config.recipe is None or config.batch_size is None:
            raise ValueError("train needs settings with their recipe and batch_size: see training.resolved.")
        self.method, self.source, self.config, self.out = method, source, config, out
        self.recipe, self.batch_size, self.fabric = config.recipe, config.batch_size, fabric
        self.seed, self.workers, self.spec = config.seed, config.workers, loader_spec(method.encoder, config)
        self.accumulate, self.save_every = config.accumulate, config.save_every
        parts = world() * self.accumulate
        self.share, rest = divmod(self.batch_size, parts)  # samples a forward pass and process
        if rest:
            raise BadInput(
                f"A batch of {self.batch_size} does not divide into {parts} equal parts "
                f"({world()} processes, --accumulate {self.accumulate}); choose other numbers."
            )
        self.sampler = method.batches(source)
        samples = len(source) if self.sampler is None else len(self.sampler) * self.batch_size
        self.per_epoch = max(1, samples // self.batch_size)
        self.total = self.recipe.epochs * self.per_epoch
        self.look_every = max(1, self.recipe.epochs // LOOKS)  # epochs
        self.log_every = max(1, min(50, self.per_epoch // 4))
        self.checkpoint = out / "checkpoint" / "last.pt"
        self.step, self.saved_step, self.lr, self.seconds = 0, 0, 0.0, 0.0
        self.means, self.losses = _Means(), deque[float](maxlen=50)

    @property
    def clock(self) -> Clock:
        return Clock(self.step, self.total, self.per_epoch)

    def prepare(self, resume: bool, pair: Callable[[Any], Any] | None, quiet: bool) -> None:
        """Build the optimizer, read the checkpoint if there is to be one, open the logger, look once."""
        method, device = self.method, self.fabric.device
        method.setup(self.source)
        self.divided = divides(self.fabric)
        if not self.divided:
            method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if world() > 1:
            synchronise_norms(method, device)
        self.averaged = Teacher(method.encoder) if self.recipe.ema else None
        state = load_checkpoint(self.checkpoint) if resume else None
        if self.divided:
            self.divide(state)
        else:
            self.averaged = self.averaged and self.averaged.to(device)
            self.optimizer = optimizer(method, self.recipe)
            if state is not None:
                self.restore(state, self._parts())
            self.forward, self.update = self.fabric.setup(_Step(method, device), self.optimizer)
        self.logger: Logger | NullLogger = NullLogger()
        self.health_probe: HealthProbe | None = None
        if rank() == 0:
            self.logger = Logger(
                self.out, total=self.total, epochs=self.recipe.epochs, start=self.step, quiet=quiet
            )
        if rank() == 0 or self.divided:
            count = min(LOOKED_AT, len(self.source))
            few = self.source.few(count, seed=self.seed + 1, spec=self.spec, workers=self.workers)
            if few is None:
                self.source.skipped.check(len(self.source), self.source.uri)
            elif len(few.index) >= 8:
                self.health_probe = HealthProbe(few.to(device), pair, self.seed, self.source.precision)
                apart = BETWEEN_LOOKS * self.source.work(few) / (self.per_epoch * self.batch_size)
                self.look_every = max(self.look_every, math.ceil(apart))
                self.first_look = self.look(None)
        if not resume:
            self.save()  # a run can be resumed from the moment that it has a config.yaml
        if rank() == 0:
            write_yaml(self.out / "config.yaml", self.config.to_dict())

    def divide(self, state: dict[str, Any] | None) -> None:
        """Give each process its part of the networks, and of the checkpoint that is gone on from."""
        method, device = self.method, self.fabric.device
        self.entire = copy.deepcopy(method.encoder)  # to be filled at the end; stays in main memory
        if state is not None:
            networks = {"method": method, "averaged": self.averaged}
            self.restore(state, {name: part for name, part in networks.items() if part is not None})
        self.forward = self.fabric.setup_module(_Step(method, device))
        if self.averaged is not None:
            shard(self.averaged, self.fabric.strategy.device_mesh)  # type: ignore[attr-defined]
        self.optimizer = optimizer(method, self.recipe)
        if state is not None:
            load_optimizer(self.optimizer, state["optimizer"])
        self.update = self.fabric.setup_optimizers(self.optimizer)

    def restore(self, state: dict[str, Any], parts: dict[str, Any]) -> None:
        """Go back to where a checkpoint was made."""
        try:
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise BadInput(f"{self.checkpoint} is not of this run: {first_line(error)}.") from error
        if not 0 <= self.step <= self.total:
            raise BadInput(f"{self.checkpoint} is of step {self.step}, but this run has {self.total}.")
        self.saved_step = self.step
        process_monitor.advise(self.kept())

    @contextlib.contextmanager
    def explaining_failures(self) -> Iterator[None]:
        """Add to what stops a run which step is safe and how to go on."""
        try:
            yield
        except (DiskTrouble, BadInput) as error:
            raise type(error)(f"{error} {self.kept()}".rstrip()) from error
        except Exception as error:
            if not out_of_memory(error):
                raise
            advice = "lower --batch-size, or raise --accumulate."
            raise VergenceError(f"Out of memory after step {self.step}: {advice} {self.kept()}") from error

    def kept(self) -> str:
        """Say which step is safe, once there is one."""
        if not (self.checkpoint.exists() and (self.out / "config.yaml").exists()):
            return "Nothing of the run is left." if self.saved_step else ""
        return f"Step {self.saved_step} is saved; go on with: vergence learn --resume {self.out}"

    def run(self) -> None:
        """Take every step that is left, saving as time goes by."""
        began = self.saved = self.means.since = time.monotonic()
        self.stop = StopVote()
        before = self.seconds
        with stop_requests() as asked, repeatable(self.fabric.device):
            while self.step < self.total:
                epoch = self.step // self.per_epoch
                self.run_epoch(asked)
                self.flush()
                self.seconds = before + time.monotonic() - began
                reasons = self.source.skipped.reasons
                reasons.update(merged(reasons))
                if self.stop(bool(asked)) and self.step < self.total:
                    self.save()
                    by = asked[0] if asked else "another process"
                    raise Interrupted(
                        f"Stopped by {by} at step {self.step} of {self.total}; saved. "
                        f"Go on with: vergence learn --resume {self.out}"
                    )
                self.source.skipped.check(len(self.source), self.source.uri)
                last = self.step == self.total
                if last or (not self.save_every and time.monotonic() - self.saved > SECONDS_BETWEEN_SAVES):
                    self.save()
                if self.health_probe is not None and (last or (epoch + 1) % self.look_every == 0):
                    self.look(self.first_look)

    def run_epoch(self, asked: list[str]) -> None:
        """Take the steps that are left of the present epoch, or those until a stop is ``asked`` for."""
        method = self.method
        epoch, done = divmod(self.step, self.per_epoch)
        if done == 0:
            seed_step(self.seed, self.step, rank())
            method.clock = self.clock
            method.epoch_start(self.clock, _Plain(lambda: self._load(self.share), self.fabric.device))
        method.train()
        stream = on_device(self._batches(epoch, done * self.accumulate), self.fabric.device)
        for _ in range(self.per_epoch - done):
            if not self.take_step(stream):
                self.step = (epoch + 1) * self.per_epoch
                break
            if self.step % self.log_every == 0:
                self.flush()
            if self.save_every and self.step % self.save_every == 0:
                self.flush()
                self.save()
            if self.stop(bool(asked)):
                break
        stream.close()  # type: ignore[attr-defined]

    def take_step(self, stream: Iterator[Any]) -> bool:
        """Take one optimizer step; say whether there was data for it."""
        method = self.method
        method.clock = self.clock
        self.lr = set_rates(self.optimizer, self.recipe, self.clock, self.batch_size)
        seed_step(self.seed, self.step, rank())
        for part in range(self.accumulate):
            batch = next(stream, None)
            if batch is None:
                return False
            with self.fabric.no_backward_sync(self.forward, enabled=part < self.accumulate - 1):
                terms = self.forward(_BatchHolder(batch))
                loss = torch.stack(list(terms.values())).sum()
                self.fabric.backward(loss / self.accumulate)
            self.means.add({"loss": loss, **terms, **method.pop_logged()}, 1 / self.accumulate)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(
                self.forward, self.update, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        self.update.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.means.steps += 1
        method.step_end(self.clock)
        if self.averaged is not None and self.recipe.ema:
            self.averaged.follow(keep=self.recipe.ema)
        return True

    def flush(self) -> None:
        """Write the means since the last row; stop when the loss is no longer a number."""
        if not self.means.steps:
            return
        means, rate = self.means.take()
        if not math.isfinite(means["loss"]):
            terms = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
            saved = f"The checkpoint in {self.checkpoint.parent} is of step {self.saved_step}. "
            raise VergenceError(
                f"The loss is no longer a number at step {self.step} ({terms}). {saved}"
                f"Lower --lr (now {self.lr:.3g}) or use --precision fp32."
            )
        row = {"lr": self.lr, **means, "samples_per_second": rate * self.batch_size}
        self.logger.row(self.step, self.step // self.per_epoch, row)
        if len(self.losses) >= 10:
            middle = statistics.median(self.losses)
            spread = statistics.median(abs(loss - middle) for loss in self.losses)
            if means["loss"] - middle > 10 * spread + 0.1 * abs(middle):
                self.logger.say(
                    f"step {self.step}: the loss jumped to {means['loss']:.3g} from {middle:.3g}."
                )
        self.losses.append(means["loss"])

    def look(self, first: Health | None) -> Health:
        """Examine the encoder and write down what is seen, unless it was seen before a resume."""
        assert self.health_probe is not None
        found: list[Health] = []
        look = partial(self.health_probe, self.method.encoder)
        if self.divided:  # all processes look: none has all of the encoder
            self.forward(lambda: found.append(look()))
        seen = found[0] if found else look()
        if first is not None or self.step == 0:
            dim = int(getattr(self.method.encoder, "out_dim", 0))
            note = seen.trouble(first, dim) if first is not None else ""
            self.logger.check(self.step, self.step // self.per_epoch, seen.row(), note)
        return seen

    def save(self) -> None:
        """Put a checkpoint in place of the last one, in one piece."""
        if rank() == 0 or self.divided:
            state = whole({name: part.state_dict() for name, part in self._parts().items()})
        if rank() == 0:
            save_checkpoint(self.checkpoint, {"step": self.step, "seconds": self.seconds, **state})
        self.saved, self.saved_step = time.monotonic(), self.step
        self.fabric.barrier()
        process_monitor.advise(self.kept())

    def finish(self) -> Run:
        """Leave the encoder and the time it took; return the run."""
        encoder = self.averaged.network if self.averaged is not None else self.method.encoder
        if self.divided:
            self.entire.load_state_dict(whole(encoder.state_dict()))
            encoder = self.entire
        if rank() == 0:
            save_encoder(encoder, self.out / "encoder.safetensors")
            ended = self.config.replace(seconds=round(self.seconds, 1))
            write_yaml(self.out / "config.yaml", ended.to_dict())
            if bad := len(self.source.skipped.reasons):
                self.logger.say(f"{bad} samples could not be read; see {self.out / 'skipped.csv'}.")
        self.fabric.barrier()
        return Run(self.out, encoder)

    def _parts(self) -> dict[str, Any]:
        parts = {"method": self.method, "optimizer": self.optimizer, "averaged": self.averaged}
        return {name: part for name, part in parts.items() if part is not None}

    def _load(self, batch_size: int, **options: Any) -> Iterator[Any]:
        return self.source.loader(batch_size, spec=self.spec, workers=self.workers, **options)

    def _batches(self, epoch: int, done: int) -> Iterator[Any]:
        if self.sampler is not None:
            return self.sampler.epoch(epoch, seed=self.seed, start=done)
        whole = len(self.source) >= self.batch_size
        return self._load(
            self.share, shuffle=True, seed=self.seed, epoch=epoch, start=done, drop_last=whole,
            rank=rank(), world=world(),
        )  # fmt: skip
