"""Sources: the one interface through which every modality's data is read."""

from __future__ import annotations

import copy
import csv
import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from vergence.core.errors import BadInput, escaped, unknown
from vergence.core.lists import cell
from vergence.data.loading import batches, order

if TYPE_CHECKING:
    from vergence.core.features import InputSpec
    from vergence.data.targets import Target

LabelName = Literal["class", "folder"]


@dataclass
class Skipped:
    """The samples that could not be read, each once, with the reason.

    Args:
        limit: Largest share of a source that may be unreadable, in [0, 1], before reading stops.
        apart: How many of them are no samples, such as a whole file, and were judged when it was opened.
    """

    limit: float = 0.5
    reasons: dict[str, str] = field(default_factory=dict)
    apart: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, name: str, reason: str) -> None:
        with self._lock:
            self.reasons.setdefault(name, " ".join(reason.split()))

    def check(self, total: int, uri: str) -> None:
        """Raise ``BadInput`` when more than ``limit`` of ``total`` samples could not be read."""
        bad = len(self.reasons) - self.apart
        if bad and (bad >= total or bad > self.limit * total):
            name, reason = list(self.reasons.items())[self.apart]
            raise BadInput(
                f"{bad} of {total} samples of {uri} cannot be read, for instance {name}: {reason}. "
                f"Repair or remove them; up to {self.limit:.0%} are skipped."
            )

    def table(self) -> str:
        """Return ``name,reason`` rows as csv, header included, even when there are none.

        No spreadsheet reads a name as a formula; ``core.lists.read_cell`` gives it back.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["name", "reason"])
        rows.writerows((cell(name), cell(reason)) for name, reason in self.reasons.items())
        return text.getvalue()


class Source(ABC):
    """Data of one modality, labelled or not.

    Attributes:
        uri: What it was opened with; opening it again gives the same samples in the same order.
        modality: Name of the folder in ``learn`` whose views and encoders fit it.
        labels: ``(n,)`` int64, -1 where unknown; None when nothing is labelled.
        classes: Names of the labels, or None.
        label_name: What a label is: "class", or "folder" where it is but the name of a folder, which may be a
            class, a year or whatever the owner sorts by.
        names: One stable name a sample (a relative path, or ``file.parquet#17``).
        skipped: What could not be read so far.
        view_options: Defaults of the modality's views that fit this data better than the general
            ones, such as no mirror images of digits.
        stable_names: Whether a name stands for the same sample still when others are added to the data, as
            the path of a file does, and a number does not.
        out_of: Of a subset, how many samples the data hold in all; 0 of what is whole.
        reads: Names of the targets that its batches carry beside labels; see ``with_targets``.
        precision: In which learning computes unless the user says otherwise; "auto" goes by the hardware.
        notes: What was put right while reading, in words.
        root: The folder in which names are files, where the uri does not say it by itself.
        reading: What each column was read as, and why, in words; nothing where there are no columns.
    """

    uri: str
    modality: str
    labels: np.ndarray | None
    classes: list[str] | None
    label_name: LabelName = "class"
    names: Sequence[str]
    skipped: Skipped
    view_options: dict[str, Any]
    stable_names: bool = False
    out_of: int = 0
    reads: tuple[str, ...] = ()
    precision: str = "auto"
    notes: Sequence[str] = ()
    root: str = ""
    reading: str = ""
    reading_batch: int = 512  # samples a forward pass when nothing is learned

    def read_as(self) -> list[str]:
        """Return how the samples were read and what was put right, a line each."""
        return [escaped(f"{self.uri}: {note}.") for note in (self.reading, *self.notes) if note]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what there is beside the samples; ``data.targets.KINDS`` are all that there may be."""
        return () if self.labels is None else ("labels",)

    def target(self, name: str, index: np.ndarray | None = None) -> Target:
        """Return a target of the samples ``index``, or of all.

        Raises:
            BadInput: If there is none of that name.
        """
        import torch

        from vergence.data.targets import Values

        self.require([name], "This")
        assert self.labels is not None
        labels = torch.from_numpy(self.labels if index is None else self.labels[index])
        return Values(labels, None if self.classes is None else tuple(self.classes))

    def require(self, names: Iterable[str], who: str) -> None:
        """Raise ``BadInput`` if a target is missing that ``who``, a method or protocol, needs."""
        for name in names:
            if name not in self.targets:
                from vergence.data.targets import KINDS

                if name not in KINDS:
                    raise unknown("target", name, KINDS)
                has = f"it has {', '.join(self.targets)}" if self.targets else "it has none"
                raise BadInput(f"{who} needs {name}, which {self.uri} does not hold: of targets {has}.")

    def with_targets(self, names: Iterable[str], who: str) -> Self:
        """Return the same samples with batches that carry these targets.

        Args:
            names: Of targets; labels are in every batch anyhow.
            who: The method or protocol that needs them, for the error.

        Raises:
            BadInput: If one of them is not there.
        """
        self.require(names := tuple(names), who)
        reads = tuple(dict.fromkeys([*self.reads, *(name for name in names if name != "labels")]))
        if reads == self.reads:
            return self
        source = copy.copy(self)
        source.reads = reads
        return source

    def fitting_batch(self, paper: int, most: int) -> int:
        """Return how many samples a step learns from unless the user says otherwise.

        Args:
            paper: What the method's paper takes.
            most: What a machine of this kind does in a reasonable time.
        """
        return max(2, min(paper, most, len(self) // 4))

    def probe_batch(
        self, count: int, *, seed: int, spec: InputSpec | None = None, workers: int | None = None
    ) -> Any:
        """Return one batch of ``count`` samples to look at now and then, or None where none can be read."""
        return next(self.loader(count, shuffle=True, seed=seed, spec=spec, workers=workers), None)

    def work(self, batch: Any) -> int:
        """Return how many samples a forward pass of ``batch`` costs as much as."""
        return len(batch.index)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def sample(self, i: int) -> Any:
        """Return sample ``i`` as a person would look at it (an image: ``(H, W, 3)`` uint8).

        Raises:
            BadInput: If it cannot be read.
        """

    def small_sample(self, i: int) -> Any:
        """Return sample ``i`` as a store's small picture of it is drawn from; may be smaller than ``sample``.

        Raises:
            BadInput: If it cannot be read.
        """
        return self.sample(i)

    def store_columns(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Return what a store of samples ``index`` says of each beside its name and label, by column."""
        return {}

    def content(self, i: int) -> bytes:
        """Return bytes that are others when sample ``i`` has changed; none where that cannot be told.

        All that it holds, or a file's length with its first and last bytes; cheap.
        """
        return b""

    @abstractmethod
    def subset(self, rows: Sequence[int] | np.ndarray) -> Source:
        """Return these rows as a source of its own; shares whatever is already in memory."""

    @abstractmethod
    def loader(
        self,
        batch_size: int,
        *,
        spec: InputSpec | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[Any]:
        """Yield the batches of one epoch.

        The order depends on ``(seed, epoch)`` alone, so that a run can be resumed inside an epoch.

        Args:
            batch_size: Samples a batch and process.
            spec: What the encoder must be given, its ``input_spec``; None gives the samples as they are.
            shuffle: A new order each epoch; unreadable samples are then replaced by the next
                readable ones, so that batches stay full. Without it they are left out.
            seed: Of the order.
            epoch: Counted from 0.
            start: Batches of this epoch that are already done and are not read.
            drop_last: Leave out a last batch that is not full.
            workers: Decoding threads or processes; None takes as many as there are cores.
            rank: This process among ``world``; the processes share out each global batch.
            world: Number of processes.
        """


class RowSource(Source):
    """A source that keeps its data whole; a subset of it is a choice of rows.

    Attributes:
        rows: ``(n,)`` int64, which samples of the data these are.
    """

    rows: np.ndarray

    @abstractmethod
    def choose_rows(self, rows: np.ndarray) -> None:
        """Set ``rows`` and what goes with them: names and labels."""

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, rows: Sequence[int] | np.ndarray) -> Self:
        part = copy.copy(self)
        part.skipped, part.out_of = Skipped(self.skipped.limit), self.out_of or len(self)
        chosen = np.asarray(rows)
        part.choose_rows(self.rows[chosen if chosen.dtype == bool else chosen.astype(np.int64)])
        return part

    def labels_of(self, index: np.ndarray) -> np.ndarray:
        """Return the labels ``(B,)`` int64 of some samples, -1 where unknown."""
        labels = np.full(len(index), -1) if self.labels is None else self.labels[index]
        return labels.astype(np.int64)


class ArraySource(RowSource):
    """A source whose samples lie in memory: any of them make up a batch at once."""

    @abstractmethod
    def batch(self, index: np.ndarray) -> Any:
        """Return these samples ``(B,)``, in this order, as one batch."""

    def loader(
        self,
        batch_size: int,
        *,
        spec: InputSpec | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[Any]:
        places = order(len(self), shuffle=shuffle, seed=seed, epoch=epoch)
        shares = batches(
            len(self), batch_size, fill=shuffle, drop_last=drop_last, start=start, rank=rank, world=world
        )
        for share in shares:
            if len(share):
                yield self.batch(places[share])
