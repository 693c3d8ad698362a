"""Batching and prefetching: which samples make up which batch, and reading some batches ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

T = TypeVar("T")
B = TypeVar("B")
P = TypeVar("P")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def order(
    n: int,
    *,
    shuffle: bool,
    seed: int = 0,
    epoch: int = 0,
    blocks: np.ndarray | None = None,
    together: int = 1,
) -> np.ndarray:
    """Return the order ``(n,)`` in which an epoch visits its samples; depends on nothing but the arguments.

    Args:
        n: Samples.
        shuffle: False gives 0, 1, 2, ...
        seed: Any whole number.
        epoch: Counted from 0.
        blocks: ``(n,)``, the piece of the data that each sample is read with, where only some of
            the pieces fit in memory. The pieces are shuffled, then the samples of every few.
        together: How many pieces those few are.
    """
    if not shuffle:
        return np.arange(n)
    random = np.random.default_rng([seed % 2**64, epoch])
    if blocks is None:
        return random.permutation(n)
    turn = random.permutation(int(blocks.max(initial=0)) + 1) // together  # when each piece is read
    return np.lexsort((random.permutation(n), turn[blocks]))


def batches(
    n: int, batch_size: int, *, fill: bool, drop_last: bool, start: int, rank: int, world: int
) -> Iterator[np.ndarray]:
    """Yield the places in the order that one process reads, a batch at a time.

    Args:
        n: Samples.
        batch_size: Samples a batch and process.
        fill: Repeat samples from the start of the order in the last batch, so that every process
            gets equally many; otherwise it is split as evenly as it goes and may be empty.
        drop_last: Leave out a last batch that is not full.
        start: First batch.
        rank: This process.
        world: Number of processes.
    """
    if batch_size < 1 or not 0 <= rank < world:
        raise ValueError(
            f"Batches need size >= 1 and 0 <= rank < world; got {batch_size}, {rank} of {world}."
        )
    stride = batch_size * world
    for first in range(start * stride, n, stride):
        last = first + stride
        if last <= n:
            yield np.arange(first + rank * batch_size, first + (rank + 1) * batch_size)
        elif not drop_last:
            rest = np.arange(first, n + (-(n - first) % world if fill else 0)) % n
            yield np.array_split(rest, world)[rank]


def stand_ins(place: int, n: int, stride: int) -> Iterator[int]:
    """Yield the places whose samples may stand in for an unreadable one, best first.

    The same slot of later batches comes before neighbours, which would put one sample into one
    batch twice.
    """
    for jump in range(1, n // stride + 1):
        yield (place + jump * stride) % n
    for jump in range(1, n):
        yield (place + jump) % n


def prefetch(
    shares: Iterable[np.ndarray],
    read: Callable[[P], T],
    assemble: Callable[[np.ndarray, list[T]], B],
    *,
    workers: int,
    depth: int,
    split: Callable[[np.ndarray], Sequence[P]] = np.ndarray.tolist,
) -> Generator[B]:
    """Yield ``assemble(share, [read(part), ...])`` of every share in order, made by threads.

    The threads are gone when the generator is closed, for whatever reason.

    Args:
        shares: Places a batch.
        read: Called once a part.
        assemble: Called once a share.
        workers: Threads.
        depth: Most batches that are under way or waiting.
        split: Share -> parts, each read by one thread; its single places unless said otherwise.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vergence-read")
    waiting: deque[Future[B]] = deque()

    def gather(share: np.ndarray, parts: list[Future[T]]) -> B:
        # All parts entered the queue before this task, so that other threads already run them.
        return assemble(share, [part.result() for part in parts])

    try:
        for share in shares:
            parts = [pool.submit(read, part) for part in split(share)]
            waiting.append(pool.submit(gather, share, parts))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
