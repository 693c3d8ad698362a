"""Runs of record: a paper's idea against its own absence and its rivals, repeated by one command."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vergence import catalog
from vergence.benchmarks.arms import PAPER, RAW, UNTRAINED
from vergence.benchmarks.tasks import Arm, Task
from vergence.core.errors import BadInput, unknown

Kind = Literal["official", "port", "second"]
ENOUGH_SEEDS = 5  # of a mechanism that is called clear


@dataclass(frozen=True)
class Comparison:
    """Arms that do one task with the same seeds.

    Args:
        task: Data and metrics.
        arms: "paper", its ablations and baselines, and where there are some "untrained" and "raw". Each is a
            function (task, seed) -> score, or several scores by the names of the task's metrics.
        rivals: Arms that the paper's must beat. None takes all ablations and baselines; name them where an
            arm is none, such as another form of the paper's own or one with a larger budget.
        seeds: Every arm runs with each.
    """

    _: KW_ONLY
    task: Task
    arms: Mapping[str, Arm]
    rivals: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        if PAPER not in self.arms:
            raise ValueError(f"A comparison needs the arm 'paper', got {list(self.arms)}.")
        for rival in self.rivals or ():
            if rival not in self.arms or rival == PAPER:
                raise unknown("rival of a comparison", rival, set(self.arms) - {PAPER})

    @property
    def all_rivals(self) -> tuple[str, ...]:
        """Return the names of the arms that the paper's must beat, besides "untrained" and "raw"."""
        if self.rivals is not None:
            return self.rivals
        return tuple(arm for arm in self.arms if arm not in (PAPER, UNTRAINED, RAW))


@dataclass(frozen=True)
class Mechanism(Comparison):
    """The smallest world, often generated, in which the paper's idea must matter: on, off, and rivals.

    Args:
        world: In words: what is generated, and why the idea must matter there. The first metric of ``task``
            counts.
    """

    world: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.all_rivals:
            raise ValueError("A mechanism needs a rival.")


@dataclass(frozen=True)
class Parity:
    """How near the code is to another derivation of the paper's formulas, on random inputs.

    Args:
        kind: Of the other one: "official" code, a "port" of it by others, or a "second" derivation.
        against: Where it is, such as a repository and its function.
        commit: Of that repository.
        max_abs: Largest difference, measured outside this repository.
        max_rel: The same as a share of the largest absolute value of the other derivation's array.
        compare: () -> pairs of arrays (ours, theirs) in float64, in place of the two numbers.
    """

    kind: Kind
    against: str
    _: KW_ONLY
    commit: str = ""
    max_abs: float | None = None
    max_rel: float | None = None
    compare: Callable[[], Iterable[tuple[Any, Any]]] | None = None

    def __post_init__(self) -> None:
        if (self.max_abs is None) == (self.compare is None):
            raise ValueError("Parity needs max_abs, measured elsewhere, or a function that compares.")

    def measure(self) -> dict[str, Any]:
        """Return kind, against, commit, max_abs and max_rel; nan where a compared value is not finite."""
        largest, share = self.max_abs, self.max_rel
        if self.compare is not None:
            pairs = [(np.asarray(ours), np.asarray(theirs)) for ours, theirs in self.compare()]
            apart = [float(np.abs(ours - theirs).max()) for ours, theirs in pairs]
            sizes = [float(np.abs(theirs).max()) for _, theirs in pairs]
            largest = float(np.max(apart))
            share = float(np.max([a / size if size else a for a, size in zip(apart, sizes, strict=True)]))
        return {
            "kind": self.kind,
            "against": self.against,
            "commit": self.commit,
            "max_abs": largest,
            "max_rel": share,
        }


@dataclass(frozen=True)
class Record(Comparison):
    """A paper's run of record: what it claims, and its arms on real data.

    Args:
        key: Of the catalog.
        claim: The paper's idea in one sentence: what "paper" has and the other arms lack.
        note: What a reader should know, such as how the run is smaller than the paper's.
        also: The same paper on other data.
        mechanism: Where the idea must show.
        parity: How near the code is to another derivation.
    """

    key: str
    claim: str
    note: str = ""
    also: tuple[Record, ...] = ()
    mechanism: Mechanism | None = None
    parity: Parity | None = None

    @property
    def family(self) -> tuple[Record, ...]:
        """The record and those of its ``also``."""
        return (self, *self.also)


def record_keys() -> list[str]:
    """Return the keys that ``bench`` knows."""
    folder = Path(__file__).with_name("records")
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))


def find_record(key: str) -> Record:
    """Return the run of record of a paper.

    Raises:
        BadInput: If the catalog does not know the key, or there is no run of record yet.
    """
    if key not in record_keys():
        if key not in (paper.key for paper in catalog.PAPERS):
            raise unknown("run of record", key, record_keys())
        title = catalog.find(key).title
        raise BadInput(f"'{key}' ({title}) has no run of record yet; there are: {', '.join(record_keys())}.")
    return importlib.import_module(f"vergence.benchmarks.records.{key.replace('-', '_')}").RECORD
