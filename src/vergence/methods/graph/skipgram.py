"""Skip-gram with negative sampling over random walks: what node2vec and CoreWalk share.

A pair (u, c) of nodes at most ``window`` steps apart on a walk costs −log σ(f_u·g_c) − Σ_K log σ(−f_u·g_n),
with K negatives n drawn ∝ count^0.75 (Mikolov et al., arXiv:1310.4546, Eq. 4). f is kept, g is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from vergence.core import BadInput
from vergence.data.graph.walks import GOLDEN, Walker, below, mixed, stream, unit
from vergence.data.loading import cores

_REACH, _STEPS = 8, 64  # σ is read off a table from -8 to 8 with 64 entries a unit, and is 0 or 1 beyond
SIGMOID = (1 / (1 + np.exp(-np.arange(-_REACH * _STEPS, _REACH * _STEPS + 1) / _STEPS))).astype(np.float32)
TOKENS = 1 << 22  # nodes of the walks that are in memory at a time
_ZERO, _UNIT, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_LOW, _FINE = np.float32(_REACH), np.float32(_STEPS)


def skip_gram(
    walker: Walker,
    starts: np.ndarray,
    length: int,
    *,
    dim: int,
    window: int,
    negatives: int,
    lr: float,
    epochs: int = 1,
    seed: int = 0,
    repeatable: bool = True,
) -> np.ndarray:
    """Return a vector a node, learned from one walk from each of ``starts``, in that order.

    Walks are made a block at a time while the last block is learned from, and once before, to count
    nodes for the negatives: memory is two tables of N x ``dim`` and two blocks, however many walks.

    As word2vec does: each position's window is drawn uniformly from 1 to ``window``; the rate falls
    linearly to a ten-thousandth; f starts uniform in ±1/(2 dim), g at 0. Unlike it, the negatives are
    drawn once for all pairs with the same c at one position (Ji et al., arXiv:1604.04661).

    Args:
        walker: Makes the walks.
        starts: ``(W,)`` nodes.
        length: Nodes a walk.
        dim: Width of the vectors.
        window: Farthest context, in steps.
        negatives: K.
        lr: First learning rate, of plain gradient descent by pairs.
        epochs: Passes over the walks; each pass makes the same ones.
        seed: Of walks, windows, negatives and first vectors.
        repeatable: Learn in one thread, beside those that walk, so that a seed repeats the vectors to
            the last bit. Otherwise all cores update the tables without locks (Hogwild).

    Returns:
        f ``(N, dim)`` float32.

    Raises:
        BadInput: If a number is out of its range.
    """
    for name, value in {"dim": dim, "window": window, "negatives": negatives, "epochs": epochs}.items():
        if value < 1:
            raise BadInput(f"Skip-gram needs {name} of 1 or more; got {value}.")
    if not lr > 0:
        raise BadInput(f"Skip-gram needs a learning rate above 0; got {lr}.")
    n, block = walker.graph.nodes, max(1, TOKENS // length)
    counts = np.zeros(n, np.int64)
    for _, walks in _blocks(walker, starts, length, block, seed):
        counts += np.bincount(walks[walks >= 0], minlength=n)
    share, other = alias_table(counts**0.75)
    rng = np.random.default_rng(seed)
    f = (rng.random((n, dim), dtype=np.float32) - _HALF) / np.float32(dim)
    g = np.zeros_like(f)
    total = epochs * len(starts)
    threads = 1 if repeatable else cores()
    for epoch in range(epochs):
        for first, walks in _blocks(walker, starts, length, block, seed):
            done = epoch * len(starts) + first

            def work(part: slice, walks: np.ndarray = walks, done: int = done) -> None:
                at = done + part.start
                learn_walks(
                    f, g, walks[part], window, negatives, lr, at, total, share, other, seed % 2**63, SIGMOID
                )

            _share_out(work, len(walks), threads)
    return f


def _blocks(
    walker: Walker, starts: np.ndarray, length: int, block: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the walks block by block with the number of each block's first; one block is made ahead."""

    def make(first: int) -> tuple[int, np.ndarray]:
        numbers = np.arange(first, min(first + block, len(starts)))
        return first, walker.walks(starts[numbers], length, seed=seed, numbers=numbers)

    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for first in range(0, len(starts), block):
            following = ahead.submit(make, first)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _share_out(work: Callable[[slice], None], count: int, threads: int) -> None:
    if threads == 1:
        work(slice(0, count))
        return
    cuts = np.linspace(0, count, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [slice(a, b) for a, b in pairwise(cuts)]))


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prepare drawing i with probability ``weights[i] / sum`` in constant time (Walker 1977).

    Returns:
        ``share (N,)`` float32 and ``other (N,)`` int32: draw i uniformly, keep it with chance
        ``share[i]``, else take ``other[i]``.
    """
    scaled = np.asarray(weights, np.float64) * (len(weights) / np.sum(weights))
    share, other = np.ones(len(scaled), np.float32), np.arange(len(scaled), dtype=np.int32)
    _pair_up(scaled, share, other)
    return share, other


@njit(cache=False, nogil=True)
def _pair_up(scaled: np.ndarray, share: np.ndarray, other: np.ndarray) -> None:
    """Fill each cell below 1 from a node above 1, until all hold 1."""
    order = np.argsort(scaled)
    low, high, small = 0, len(scaled) - 1, order[0]
    waiting = False  # whether ``small`` is a node that has given so much that it is below 1 itself
    while low < high or (waiting and low <= high):
        if not waiting:
            small = order[low]
            low += 1
        if scaled[small] >= 1.0:
            break
        large = order[high]
        share[small], other[small] = scaled[small], large
        scaled[large] -= 1.0 - scaled[small]
        waiting = scaled[large] < 1.0
        if waiting:
            small = large
            high -= 1


@njit(inline="always")
def _sigmoid(x: np.float32, table: np.ndarray) -> np.float32:
    if x >= _LOW:
        return _UNIT
    if x <= -_LOW:
        return _ZERO
    return table[np.int64((x + _LOW) * _FINE + _HALF)]


@njit(fastmath=True, nogil=True, cache=False)
def _dot(x: np.ndarray, y: np.ndarray) -> np.float32:
    total = _ZERO
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@njit(fastmath=True, nogil=True, cache=False)
def _add(scale: np.float32, x: np.ndarray, y: np.ndarray) -> None:
    for k in range(len(x)):
        y[k] += scale * x[k]


@njit(fastmath=True, nogil=True, cache=False)
def learn_walks(
    f: np.ndarray,
    g: np.ndarray,
    walks: np.ndarray,
    window: int,
    negatives: int,
    lr: float,
    done: int,
    total: int,
    share: np.ndarray,
    other: np.ndarray,
    seed: int,
    table: np.ndarray,
) -> None:
    """Take one step of gradient descent for every pair of every walk, in order.

    Position i is the context c of every position j in its window, which are the u of the pairs: the
    window is symmetric, so these are the same pairs as the other way round.
    """
    step = np.empty(f.shape[1], np.float32)
    drawn = np.empty(negatives + 1, np.int64)
    for r in range(len(walks)):
        walk, state = walks[r], stream(seed + 1, done + r)
        rate = np.float32(lr * max(1e-4, 1.0 - (done + r) / total))
        length = 0
        while length < len(walk) and walk[length] >= 0:
            length += 1
        for i in range(length):
            state += GOLDEN
            reach = int(1 + below(mixed(state), window))
            drawn[0] = walk[i]
            for k in range(1, negatives + 1):
                state += GOLDEN
                node = below(mixed(state), len(share))
                state += GOLDEN
                drawn[k] = node if unit(mixed(state)) < share[node] else other[node]
            for j in range(max(0, i - reach), min(length, i + reach + 1)):
                if j == i:
                    continue
                u = f[walk[j]]
                step[:] = _ZERO
                for k in range(negatives + 1):
                    if k > 0 and drawn[k] == drawn[0]:
                        continue
                    v = g[drawn[k]]
                    wanted = _UNIT if k == 0 else _ZERO
                    slope = (wanted - _sigmoid(_dot(u, v), table)) * rate
                    _add(slope, v, step)
                    _add(slope, u, v)
                _add(_UNIT, step, u)
