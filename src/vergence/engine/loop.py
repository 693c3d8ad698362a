"""The one training loop."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vergence.core import (
    BadInput,
    Clock,
    Interrupted,
    Method,
    RunConfig,
    VergenceError,
)
from vergence.data.source import Source
from vergence.engine import process_monitor
from vergence.engine.batches import Batches, parts_of
from vergence.engine.checkpoint import Checkpoint, StagePlace
from vergence.engine.devices import divides, make_fabric, put_channels_last, repeatable
from vergence.engine.distributed import StopVote, merged, rank, world
from vergence.engine.files import write_text, write_yaml
from vergence.engine.health import Health, HealthProbe
from vergence.engine.logger import Logger, NullLogger
from vergence.engine.loss_spikes import LossSpikes
from vergence.engine.means import Means
from vergence.engine.run import Run, save_encoder
from vergence.engine.shapes import Shapes
from vergence.engine.shard import load_optimizer, shard, whole
from vergence.engine.signals import stop_requests
from vergence.engine.sync_norm import synchronise_norms
from vergence.engine.trackers import Callback, open_tracker
from vergence.engine.turns import Objective, Turns
from vergence.nets import Teacher

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SECONDS_BETWEEN_SAVES = 15
PROBES = 50  # of the encoder's health, at most, in one run
PROBED = 256  # samples
PROBE_SHARE = 20  # times as many samples are trained on between probes, which so cost a few percent


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
    place: StagePlace | None = None,
    callbacks: Sequence[Callback] = (),
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
        place: Of a stage in a run of several, whose checkpoint it leaves instead of an encoder.
        callbacks: Called with each row of metrics and health; see ``trackers``.

    Raises:
        Interrupted: After SIGINT, SIGTERM or SIGHUP, once the state is saved.
        VergenceError: If the loss stops being a number, the disk refuses, memory does not suffice, or too
            much data is unreadable.
    """
    training = TrainingLoop(method, source, config, out, fabric or make_fabric(), place, callbacks)
    with training.checkpoint.explaining_failures(lambda: training.step):
        training.prepare(resume, pair, quiet)
        try:
            training.run()
        finally:
            training.logger.close()
            if rank() == 0 and out.exists():
                with contextlib.suppress(VergenceError):  # what went wrong before is the news
                    write_text(out / "skipped.csv", source.skipped.table())
        return training.finish()


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch from (seed, step, process): a resumed step draws what it would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1))


class TrainingLoop:
    """One run from its first step, or its last checkpoint, to its end."""

    def __init__(
        self,
        method: Method,
        source: Source,
        config: RunConfig,
        out: Path,
        fabric: Fabric,
        place: StagePlace | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if config.recipe is None or config.batch_size is None:
            raise ValueError("train needs settings with their recipe and batch_size: see training.resolved.")
        self.method, self.source, self.config, self.out = method, source, config, out
        self.recipe, self.batch_size, self.fabric = config.recipe, config.batch_size, fabric
        self.seed, self.accumulate, self.save_every = config.seed, config.accumulate, config.save_every
        self.train_source, held_out = parts_of(source, config)
        method.held_out = held_out
        batches = partial(Batches, method, config=config, device=fabric.device)
        self.batches = batches(self.train_source)
        self.val_batches = batches(held_out) if held_out is not None else None
        self.per_epoch = self.batches.per_epoch
        self.total = self.recipe.epochs * self.per_epoch
        self.probe_every = max(1, self.recipe.epochs // PROBES)  # epochs
        self.log_every = max(1, min(50, self.per_epoch // 4))
        self.checkpoint, self.step, self.place = Checkpoint(out), 0, place
        self.steps_before, self.seconds = (place.steps, place.seconds) if place else (0, 0.0)
        self.means, self.spikes = Means(), LossSpikes()
        self.callbacks = callbacks

    @property
    def clock(self) -> Clock:
        return Clock(self.step, self.total, self.per_epoch)

    def prepare(self, resume: bool, pair: Callable[[Any], Any] | None, quiet: bool) -> None:
        """Build the optimizer, read the checkpoint if there is to be one, open the logger, look once."""
        method, device = self.method, self.fabric.device
        method.setup(self.train_source)
        self.shapes = Shapes(method)
        state = self.checkpoint.read() if resume else None
        if state is not None and "shapes" in state:
            with self.checkpoint.restoring():
                self.shapes.load_state_dict(state["shapes"], state["method"])
        self.divided = divides(self.fabric)
        self.put_on_device()
        self.averaged = Teacher(method.encoder) if self.recipe.ema else None
        if self.divided:
            self.divide(state)
        else:
            self.averaged = self.averaged and self.averaged.to(device)
            self.turns = self.make_turns()
            if state is not None:
                self.restore(state, self._parts())
            self.wrap()
        self.logger: Logger | NullLogger = NullLogger()
        self.health_probe: HealthProbe | None = None
        if rank() == 0:
            total, start = (self.steps_before + step for step in (self.total, self.step))
            stage, whole_run = (self.place.stage, self.place.config) if self.place else ("", self.config)
            self.logger = Logger(
                self.out, total=total, epochs=self.recipe.epochs, start=start, quiet=quiet, stage=stage,
                tracker=open_tracker(self.config.log, self.out, whole_run), callbacks=self.callbacks,
            )  # fmt: skip
        if rank() == 0 or self.divided:
            batch = self.batches.probe_batch(min(PROBED, len(self.source)), self.source)
            if batch is None:
                self.source.skipped.check(len(self.source), self.source.uri)
            elif len(batch.index) >= 8:
                self.health_probe = HealthProbe(batch.to(device), pair, self.seed, self.source.precision)
                epochs = PROBE_SHARE * self.source.work(batch) / (self.per_epoch * self.batch_size)
                self.probe_every = max(self.probe_every, math.ceil(epochs))
                self.first_health = self.probe(None)
        if not resume:
            self.save()  # a run can be resumed from the moment that it has a config.yaml
        if rank() == 0:
            config = self.place.config if self.place else self.config
            write_yaml(self.out / "config.yaml", config.to_dict())

    def divide(self, state: dict[str, Any] | None) -> None:
        """Give each process its part of the networks, and of the checkpoint that is gone on from."""
        method, device = self.method, self.fabric.device
        self.entire = copy.deepcopy(method.encoder)  # to be filled at the end; stays in main memory
        if state is not None:
            networks = {"method": method, "averaged": self.averaged}
            self.restore(state, {name: part for name, part in networks.items() if part is not None})
        forward = self.fabric.setup_module(Objective(method, device))
        if self.averaged is not None:
            shard(self.averaged, self.fabric.strategy.device_mesh)  # type: ignore[attr-defined]
        self.turns = self.make_turns()
        if self.turns.several:
            raise BadInput("Methods with several optimizers take --strategy ddp, not fsdp.")
        (turn,) = self.turns
        if state is not None:
            load_optimizer(turn.optimizer, state["optimizer"])
        turn.accept(self.fabric, forward, self.fabric.setup_optimizers(turn.optimizer))

    def put_on_device(self) -> None:
        """Put the networks on the device; let norms see the samples of all processes."""
        if not self.divided:
            put_channels_last(self.method, self.fabric.device)
        if world() > 1:
            synchronise_norms(self.method, self.fabric.device)

    def wrap(self) -> None:
        for turn in self.turns:
            turn.wrap(self.fabric)

    def make_turns(self) -> Turns:
        """Make the optimizers, with nothing remembered."""
        turns = Turns(
            self.method, self.recipe, batch_size=self.batch_size, accumulate=self.accumulate, means=self.means
        )
        for turn in turns:
            turn.build()
        return turns

    def restore(self, state: dict[str, Any], parts: dict[str, Any]) -> None:
        """Go back to where a checkpoint was made."""
        with self.checkpoint.restoring():
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            for name, part in parts.items():
                part.load_state_dict(state[name])
        self.checkpoint.restored(self.step, self.total)

    def run(self) -> None:
        """Take every step that is left, saving as time goes by."""
        began = self.saved = self.means.since = time.monotonic()
        self.stop = StopVote()
        before = self.seconds
        with stop_requests() as signals, repeatable(self.fabric.device), self.held_out_stream():
            while self.step < self.total:
                epoch = self.step // self.per_epoch
                self.run_epoch(signals)
                self.flush()
                self.seconds = before + time.monotonic() - began
                reasons = self.source.skipped.reasons
                reasons.update(merged(reasons))
                if self.stop(bool(signals)) and self.step < self.total:
                    self.save()
                    by = signals[0] if signals else "another process"
                    raise Interrupted(
                        f"Stopped by {by} at step {self.step} of {self.total}; saved. "
                        f"Go on with: vergence learn --resume {self.out}"
                    )
                self.source.skipped.check(len(self.source), self.source.uri)
                last = self.step == self.total
                if last or (not self.save_every and time.monotonic() - self.saved > SECONDS_BETWEEN_SAVES):
                    self.save()
                if self.health_probe is not None and (last or (epoch + 1) % self.probe_every == 0):
                    self.probe(self.first_health)

    def renew_turns(self) -> None:
        """Make the optimizers anew after a part was replaced; what they know of other parameters stays."""
        if self.divided:
            raise BadInput("Methods that replace parts take --strategy ddp, not fsdp.")
        self.put_on_device()
        old, self.turns = self.turns, self.make_turns()
        self.turns.inherit(old)
        del old
        gc.collect()  # the old wrappers' hooks on gradients go with them
        self.wrap()

    @contextlib.contextmanager
    def held_out_stream(self) -> Iterator[None]:
        """Go on with held-out batches from the present step's; stop reading them in the end."""
        self.val_stream: Generator[Any] | None = None
        if self.val_batches is not None:
            self.val_stream = self.val_batches.endless(self.turns.val_steps(self.step))
        try:
            yield
        finally:
            if self.val_stream is not None:
                self.val_stream.close()

    def run_epoch(self, signals: list[str]) -> None:
        """Take the steps that are left of the present epoch, or those until a signal asks to stop."""
        method = self.method
        epoch, done = divmod(self.step, self.per_epoch)
        if done == 0:
            seed_step(self.seed, self.step, 0)  # all processes do the same
            method.clock = self.clock
            method.epoch_start(self.clock, self.batches.plain())
            if self.turns.outdated:
                self.renew_turns()
        method.train()
        stream = self.batches.epoch(epoch, start=done)
        for _ in range(self.per_epoch - done):
            if not self.take_step(stream):
                self.step = (epoch + 1) * self.per_epoch
                break
            if self.step % self.log_every == 0:
                self.flush()
            if self.save_every and self.step % self.save_every == 0:
                self.flush()
                self.save()
            if self.stop(bool(signals)):
                break
        stream.close()

    def take_step(self, stream: Generator[Any]) -> bool:
        """Take one optimizer step; say whether there was data for it."""
        method = self.method
        method.clock = self.clock
        seed_step(self.seed, self.step, rank())
        if not self.turns.take(self.clock, stream, self.val_stream):
            return False
        self.step += 1
        self.means.steps += 1
        method.step_end(self.clock)
        if self.averaged is not None and self.recipe.ema:
            self.averaged.follow(keep=self.recipe.ema)
        return True

    def flush(self) -> None:
        """Write the means since the last row; stop when a loss is no longer a number."""
        if not self.means.steps:
            return
        means, rate = self.means.take()
        rates = self.turns.rates()
        if not all(math.isfinite(means.get(name, 0.0)) for name in self.turns.losses()):
            terms = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
            saved = f"The checkpoint in {self.out / 'checkpoint'} is of step {self.checkpoint.step}. "
            now = ", ".join(f"{lr:.3g}" for lr in rates.values())
            raise VergenceError(
                f"The loss is no longer a number at step {self.step} ({terms}). {saved}"
                f"Lower --lr (now {now}) or use --precision fp32."
            )
        means = {"loss": sum(means[name] for name in self.turns.losses(every=1)), **means}
        row = {**rates, **means, "samples_per_second": rate * self.batch_size}
        self.logger.row(self.steps_before + self.step, self.step // self.per_epoch, row)
        if note := self.spikes.note(means["loss"]):
            self.logger.say(f"step {self.step}: {note}")

    def probe(self, first: Health | None) -> Health:
        """Examine the encoder's health and write it down, unless that was done before a resume."""
        assert self.health_probe is not None
        results: list[Health] = []
        probe = partial(self.health_probe, self.method.encoder)
        if self.divided:  # all processes take part: none has all of the encoder
            next(iter(self.turns)).forward(lambda: results.append(probe()))
        health = results[0] if results else probe()
        if first is not None or self.steps_before + self.step == 0:
            dim = int(getattr(self.method.encoder, "out_dim", 0))
            note = health.warning(first, dim) if first is not None else ""
            self.logger.check(self.steps_before + self.step, self.step // self.per_epoch, health.row(), note)
        return health

    def save(self) -> None:
        """Put a checkpoint in place of the last one, in one piece."""
        state: dict[str, Any] = {}
        if rank() == 0 or self.divided:
            state = whole({name: part.state_dict() for name, part in self._parts().items()})
        if any((shapes := self.shapes.state_dict()).values()):
            state["shapes"] = shapes
        stage = {"stage": self.place.stage} if self.place else {}
        self.checkpoint.write(self.step, {"seconds": self.seconds, **stage, **state})
        self.saved = time.monotonic()
        self.fabric.barrier()
        process_monitor.advise(self.checkpoint.advice())

    def finish(self) -> Run:
        """Leave the encoder and the time it took, or what a stage has come to; return the run."""
        if self.place is not None:
            return self.finish_stage(self.place.stage)
        encoder = self.averaged.network if self.averaged is not None else self.method.encoder
        if self.divided:
            self.entire.load_state_dict(whole(encoder.state_dict()))
            encoder = self.entire
        if rank() == 0:
            save_encoder(encoder, self.out / "encoder.safetensors")
            spec = getattr(encoder, "spec", None) or self.config.encoder  # parts may have been exchanged
            ended = self.config.replace(encoder=spec, seconds=round(self.seconds, 1))
            write_yaml(self.out / "config.yaml", ended.to_dict())
            if bad := len(self.source.skipped.reasons):
                self.logger.say(f"{bad} samples could not be read; see {self.out / 'skipped.csv'}.")
        self.fabric.barrier()
        return Run(self.out, encoder)

    def finish_stage(self, name: str) -> Run:
        """Leave the method as later stages see it: with the averaged encoder, where there is one."""
        if self.averaged is not None:
            self.method.encoder.load_state_dict(self.averaged.network.state_dict())
        state = {"method": self.method.state_dict(), "shapes": self.shapes.state_dict()}
        Checkpoint(self.out, name).write(self.step, {"seconds": self.seconds, **state})
        self.fabric.barrier()
        return Run(self.out, self.method.encoder)

    def _parts(self) -> dict[str, Any]:
        parts = {"method": self.method, **self.turns.optimizers(), "averaged": self.averaged}
        return {name: part for name, part in parts.items() if part is not None}
