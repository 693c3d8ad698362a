"""The batches of training: those of an epoch, wherever it is gone on from, and of a part that is held out."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.core import BadInput, InputSpec, Method, RunConfig, input_spec
from vergence.data.source import Source
from vergence.engine.devices import on_device
from vergence.engine.distributed import rank, world


def loader_spec(encoder: nn.Module, config: RunConfig) -> InputSpec:
    """Return what a loader must deliver: what the encoder says, else the size that was asked for."""
    return input_spec(encoder) or ({} if config.size is None else {"size": config.size})


class Batches:
    """The batches that a method learns from: of its own sampler, else of the source's loader.

    Their order depends on the seed and the epoch alone.

    Args:
        method: Asked for a sampler.
        source: All of it is learned from.
        config: The settings really used, with their ``batch_size``.
        device: Where the batches go.

    Attributes:
        per_epoch: Steps an epoch.

    Raises:
        BadInput: If a batch does not divide among processes and accumulated parts.
    """

    def __init__(
        self,
        method: Method,
        source: Source,
        *,
        config: RunConfig,
        device: torch.device,
    ) -> None:
        assert config.batch_size is not None
        self.source, self.batch_size, self.accumulate = source, config.batch_size, config.accumulate
        self.seed, self.workers, self.device = config.seed, config.workers, device
        self.spec = loader_spec(method.encoder, config)
        parts = world() * self.accumulate
        self.share, rest = divmod(self.batch_size, parts)  # samples a forward pass and process
        if rest:
            raise BadInput(
                f"A batch of {self.batch_size} does not divide into {parts} equal parts "
                f"({world()} processes, --accumulate {self.accumulate}); choose other numbers."
            )
        method.batch_size, method.workers = self.share, self.workers
        self.sampler = method.batches(source)
        steps = len(source) // self.batch_size
        if self.sampler is not None:
            steps = len(self.sampler) // self.accumulate
        self.per_epoch = max(1, steps)

    def epoch(self, epoch: int, *, start: int = 0) -> Generator[Any]:
        """Yield the batches of an epoch, on the device, but for those of its first ``start`` steps."""
        done = start * self.accumulate
        if self.sampler is not None:
            batches = self.sampler.epoch(epoch, seed=self.seed, start=done, rank=rank(), world=world())
        else:
            full = len(self.source) >= self.batch_size
            batches = self.load(
                shuffle=True, seed=self.seed, epoch=epoch, start=done, drop_last=full,
                rank=rank(), world=world(),
            )  # fmt: skip
        return on_device(batches, self.device)

    def endless(self, start: int) -> Generator[Any]:
        """Yield the batches of all epochs one after the other, but for those of the first ``start`` steps."""
        epoch, done = divmod(start, self.per_epoch)
        while True:
            missing, batch = (self.per_epoch - done) * self.accumulate, None
            for batch in itertools.islice(self.epoch(epoch, start=done), missing):
                yield batch
                missing -= 1
            if batch is None and not done:
                raise BadInput(f"No held-out sample of {self.source.uri} can be read: repair or remove them.")
            if batch is not None:  # where fewer came the last is repeated, so that epochs begin where they do
                yield from itertools.repeat(batch, missing)
            epoch, done = epoch + 1, 0

    def plain(self) -> Iterable[Any]:
        """Return all samples once, unaugmented and in order, as often as it is iterated."""
        return _Plain(self)

    def probe_batch(self, count: int, source: Source) -> Any:
        """Return one batch of ``count`` samples to look at now and then, or None where none can be read."""
        return source.probe_batch(count, seed=self.seed + 1, spec=self.spec, workers=self.workers)

    def load(self, **options: Any) -> Iterator[Any]:
        return self.source.loader(self.share, spec=self.spec, workers=self.workers, **options)


class _Plain:
    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return on_device(self.batches.load(), self.batches.device)


def parts_of(source: Source, config: RunConfig) -> tuple[Source, Source | None]:
    """Return what is trained on and what is held out, None where nothing is."""
    share = config.recipe.val_share if config.recipe is not None else 0.0
    return split(source, share, config.seed) if share else (source, None)


def split(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Split a source at random into a part to train on and one that is held out.

    The same seed gives the same parts. What cannot be read is recorded with the source itself.

    Args:
        source: To be split.
        share: Of its samples that are held out, in (0, 1); at least one is, and one stays.
        seed: Of the draw.
    """
    count = min(len(source) - 1, max(1, round(share * len(source))))
    held = np.zeros(len(source), dtype=bool)
    held[np.random.default_rng([seed % 2**64, len(source)]).permutation(len(source))[:count]] = True
    parts = source.subset(np.flatnonzero(~held)), source.subset(np.flatnonzero(held))
    for part in parts:
        part.skipped = source.skipped
    return parts
