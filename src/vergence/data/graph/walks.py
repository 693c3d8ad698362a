"""Random walks over neighbour lists, on all cores; a seed repeats them on any number of cores.

Every walk draws from a counter of its own that starts at (seed, number of the walk), so a walk does
not depend on which thread makes it, nor on what other walks are made beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numba import njit

from vergence.core.errors import BadInput
from vergence.data.graph.csr import CSR
from vergence.data.loading import cores

NONE = -1  # after the end of a walk
GOLDEN, _ONE = np.uint64(0x9E3779B97F4A7C15), np.uint64(1)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_SHARES = 2.0**-32
Number: TypeAlias = int | np.integer[Any]


@njit(inline="always")
def mixed(state: np.uint64) -> np.uint64:
    """Scramble a counter, uint64 to uint64: the output function of SplitMix64."""
    z = state
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@njit(inline="always")
def stream(seed: int, number: int) -> np.uint64:
    """Return the state from which stream ``number`` of ``seed`` starts; add ``GOLDEN`` a draw."""
    return mixed(mixed(np.uint64(seed) + GOLDEN) ^ (np.uint64(number) * _M2 + _ONE))


@njit(inline="always")
def below(bits: np.uint64, count: Number) -> np.int64:
    """Turn 64 random bits into an integer in [0, count), count below 2^32."""
    return np.int64(((bits >> _S32) * np.uint64(count)) >> _S32)


@njit(inline="always")
def unit(bits: np.uint64) -> np.float64:
    """Turn the upper half of 64 random bits into a number in [0, 1)."""
    return np.float64(bits >> _S32) * _SHARES


@njit(inline="always")
def has_edge(indptr: np.ndarray, indices: np.ndarray, source: Number, target: Number) -> bool:
    """Say whether ``target`` stands in the ascending list of ``source``."""
    low, high = indptr[source], indptr[source + 1]
    while low < high:
        middle = (low + high) >> 1
        if indices[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low < indptr[source + 1] and indices[low] == target


@njit(inline="always")
def _drawn(indptr: np.ndarray, indices: np.ndarray, sums: np.ndarray, node: Number, bits: np.uint64) -> int:
    """Return the place in ``indices`` of a neighbour drawn by weight; ``node`` has one or more."""
    start, end = indptr[node], indptr[node + 1]
    if len(sums) == 0:
        return start + below(bits, end - start)
    aim = unit(bits) * sums[end - 1]
    low, high = start, end - 1
    while low < high:  # the first place whose running sum is above the aim
        middle = (low + high) >> 1
        if sums[middle] <= aim:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=False)
def _first_order(
    indptr: np.ndarray,
    indices: np.ndarray,
    sums: np.ndarray,
    starts: np.ndarray,
    numbers: np.ndarray,
    seed: int,
    restart: float,
    walks: np.ndarray,
) -> None:
    length = walks.shape[1]
    for i in range(len(starts)):
        state = stream(seed, numbers[i])
        node = starts[i]
        walks[i, 0] = node
        for step in range(1, length):
            if restart > 0.0:
                state += GOLDEN
                if unit(mixed(state)) < restart or indptr[node] == indptr[node + 1]:
                    node = starts[i]
                    walks[i, step] = node
                    continue
            if indptr[node] == indptr[node + 1]:
                walks[i, step:] = NONE
                break
            state += GOLDEN
            node = indices[_drawn(indptr, indices, sums, node, mixed(state))]
            walks[i, step] = node


@njit(nogil=True, cache=False)
def _second_order(
    indptr: np.ndarray,
    indices: np.ndarray,
    sums: np.ndarray,
    mutual: bool,
    starts: np.ndarray,
    numbers: np.ndarray,
    seed: int,
    p: float,
    q: float,
    walks: np.ndarray,
) -> None:
    """Walk by rejection: propose by weight, accept x with α(t, x) / max α.

    The way back is often the outlier of α. What it has above ``most``, the largest α of the others,
    is drawn apart, in each try, so that a small p costs no rejections.
    """
    length = walks.shape[1]
    back, far = 1.0 / p, 1.0 / q
    most = max(1.0, far)
    least = min(1.0, far)
    extra = max(0.0, back - most)
    back = min(back, most)
    sure = min(least, back) / most  # below this share every proposal is accepted: no test needed
    for i in range(len(starts)):
        state = stream(seed, numbers[i])
        before, node = np.int64(-1), np.int64(starts[i])
        walks[i, 0] = node
        for step in range(1, length):
            start, end = indptr[node], indptr[node + 1]
            if start == end:
                walks[i, step:] = NONE
                break
            if before < 0:
                state += GOLDEN
                chosen = np.int64(indices[_drawn(indptr, indices, sums, node, mixed(state))])
            else:
                chosen = np.int64(-1)
                total, above = 1.0, 0.0  # weight of all proposals, and what is drawn apart
                if extra > 0.0:
                    total, way_back = np.float64(end - start), 1.0
                    if len(sums) > 0 or not mutual:
                        place = start + np.searchsorted(indices[start:end], before)
                        here = place < end and indices[place] == before
                        way_back = 1.0 if here else 0.0
                        if len(sums) > 0:
                            total = sums[end - 1]
                            if here:
                                way_back = sums[place] - (sums[place - 1] if place > start else 0.0)
                    above = way_back * extra
                    total = total * most + above
                while chosen < 0:
                    if above > 0.0:
                        state += GOLDEN
                        if unit(mixed(state)) * total < above:
                            chosen = before
                            break
                    state += GOLDEN
                    x = np.int64(indices[_drawn(indptr, indices, sums, node, mixed(state))])
                    state += GOLDEN
                    luck = unit(mixed(state))
                    if luck < sure:
                        chosen = x
                    elif x == before:
                        if luck * most < back:
                            chosen = x
                    elif luck * most < least:
                        chosen = x
                    else:
                        # Either list answers where edges go both ways; the shorter one is faster.
                        swap = mutual and indptr[x + 1] - indptr[x] < indptr[before + 1] - indptr[before]
                        if swap:
                            near = has_edge(indptr, indices, x, before)
                        else:
                            near = has_edge(indptr, indices, before, x)
                        if luck * most < (1.0 if near else far):
                            chosen = x
            walks[i, step] = chosen
            before, node = node, chosen


class Walker:
    """Makes walks on one graph; what it prepares takes memory linear in the edges.

    Args:
        graph: The lists to walk along. A list may be empty: the walk ends there.
        p: Return parameter, above 0: the way straight back weighs 1/p.
        q: In-out parameter, above 0: a node that the last one has no edge to weighs 1/q.
        restart: Chance of a jump back to the start before each step, in [0, 1). Such a walk is of
            first order (p = q = 1), and jumps at dead ends too.

    Raises:
        BadInput: If a number is out of its range.
    """

    def __init__(self, graph: CSR, *, p: float = 1.0, q: float = 1.0, restart: float = 0.0) -> None:
        if not (p > 0 and q > 0 and np.isfinite([p, q]).all()):
            raise BadInput(f"Walks need p > 0 and q > 0; got {p} and {q}.")
        if not 0 <= restart < 1:
            raise BadInput(f"Walks need restart in [0, 1); got {restart}.")
        if restart and (p, q) != (1.0, 1.0):
            raise BadInput("A walk with restarts has no memory: leave p and q at 1.")
        self.graph, self.p, self.q, self.restart = graph, float(p), float(q), float(restart)
        self._sums = _running_sums(graph)
        self._mutual = graph.symmetric if (p, q) != (1.0, 1.0) else False

    def walks(
        self,
        starts: Any,
        length: int,
        *,
        seed: int = 0,
        numbers: np.ndarray | None = None,
        workers: int | None = None,
    ) -> np.ndarray:
        """Return one walk from each start.

        Args:
            starts: ``(W,)`` node numbers; a node may stand many times.
            length: Nodes a walk, the start among them, at least 1.
            seed: Of all draws.
            numbers: ``(W,)`` the walks' own numbers, from which they draw; None counts from 0.
            workers: Threads; None takes as many as there are cores. They change nothing but the time.

        Returns:
            ``(W, length)`` int32; -1 after a dead end.
        """
        starts = np.ascontiguousarray(starts, dtype=np.int32)
        if length < 1:
            raise BadInput(f"A walk needs a length of 1 or more; got {length}.")
        if len(starts) and (starts.min() < 0 or starts.max() >= self.graph.nodes):
            raise BadInput(f"Walks start at nodes 0 to {self.graph.nodes - 1}; got {starts.max()}.")
        numbers = np.arange(len(starts)) if numbers is None else np.asarray(numbers, dtype=np.int64)
        walks = np.empty((len(starts), length), np.int32)
        seed = int(seed) % 2**63
        shared = self.graph.indptr, self.graph.indices, self._sums

        def work(part: slice) -> None:
            if (self.p, self.q) == (1.0, 1.0):
                _first_order(*shared, starts[part], numbers[part], seed, self.restart, walks[part])
            else:
                lists = *shared, self._mutual
                _second_order(*lists, starts[part], numbers[part], seed, self.p, self.q, walks[part])

        over_parts(work, len(starts), workers)
        return walks


def over_parts(work: Callable[[slice], None], count: int, workers: int | None, part: int = 4096) -> None:
    """Call ``work`` on slices of ``range(count)`` in threads; for jitted work that lets go of the GIL."""
    parts = [slice(start, min(start + part, count)) for start in range(0, count, part)]
    if workers == 1 or len(parts) < 2:
        for each in parts:
            work(each)
        return
    with ThreadPoolExecutor(workers or cores()) as pool:
        list(pool.map(work, parts))


def _running_sums(graph: CSR) -> np.ndarray:
    """Return the weights summed up along each list ``(E,)`` float64; empty without weights."""
    if graph.weights is None:
        return np.empty(0)
    sums = np.cumsum(graph.weights, dtype=np.float64)
    before = np.concatenate([[0.0], sums])[graph.indptr[:-1]]
    return sums - np.repeat(before, graph.degrees)
