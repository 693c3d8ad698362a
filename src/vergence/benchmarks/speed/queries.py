"""Search in a million vectors of 128 values: exact beside faiss's flat index, approximate beside exact.

All hold the vectors in memory and answer 1,000 queries at once with their 10 nearest by inner product. The
vectors are made to lie as embeddings do: groups of unlike size on a curved surface of 16 dimensions, and a
little noise; the queries are drawn like them. Indices are built beforehand, in seconds that the result tells.

faiss comes with an OpenBLAS that takes some processors for an old one; ``OPENBLAS_CORETYPE`` is set to
SkylakeX where the processor has AVX-512, unless it is set already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.use.ivf import IVF, default_cells, neighbour_recall
from vergence.use.topk import topk

DIM, K = 128, 10
LATENT, GROUPS, SPREAD, NOISE = 16, 1_000, 0.5, 0.01
_BLOCK = 1 << 16


def contests(quick: bool) -> Iterator[Contest]:
    n, count = (20_000, 50) if quick else (1_000_000, 1_000)
    x, queries = np.split(drawn(n + count), [n])
    what = f"the {K} nearest of {n:,} vectors of {DIM} values, for {count:,} queries at once"
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    bank, questions = torch.from_numpy(x), torch.from_numpy(queries)
    truth = topk(questions, bank, K, "dot")[1].numpy()
    exact = partial(_exact, bank, questions, truth)
    yield Contest(
        name="exact",
        what=what,
        amount=count,
        unit="queries",
        contestants=(
            Contestant("vergence", exact),
            Contestant("faiss-cpu flat", partial(_flat, x, queries, truth), needs=("faiss",), bar=0.9),
        ),
    )
    yield Contest(
        name="approximate",
        what=f"{what}, with a recall of 0.95 or more",
        amount=count,
        unit="queries",
        contestants=(
            Contestant("vergence", partial(_cells, x, queries, truth)),
            Contestant("vergence, exact", exact, bar=20.0),
            Contestant("faiss-cpu IVF-Flat", partial(_inverted, x, queries, truth), needs=("faiss",)),
        ),
        note="faiss visits the fewest of 1, 2, 4, … cells with which it reaches 0.95 of these very queries; "
        "ours as many as it chose when it measured its recall on 200 of its rows.",
    )


def drawn(n: int, seed: int = 0) -> np.ndarray:
    """Return ``(n, 128)`` float32 of length 1, laid out as the module says."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((GROUPS, LATENT), dtype=np.float32)
    bend = random.standard_normal((LATENT, 4 * LATENT), dtype=np.float32) / LATENT**0.5
    lift = random.standard_normal((4 * LATENT, DIM), dtype=np.float32) / (4 * LATENT) ** 0.5
    share = random.dirichlet(np.full(GROUPS, 2.0))
    vectors = np.empty((n, DIM), np.float32)
    for start in range(0, n, _BLOCK):
        part = vectors[start : start + _BLOCK]
        group = random.choice(GROUPS, len(part), p=share)
        inside = centres[group] + SPREAD * random.standard_normal((len(part), LATENT), dtype=np.float32)
        part[:] = np.tanh(inside @ bend) @ lift
        part += NOISE * random.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def _exact(bank: torch.Tensor, queries: torch.Tensor, truth: np.ndarray) -> Round:
    return lambda: {"recall": neighbour_recall(truth, topk(queries, bank, K, "dot")[1].numpy())}


def _cells(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> Round:
    began = time.perf_counter()
    cells = IVF.of(x)
    built = time.perf_counter() - began

    def round_() -> dict[str, float]:
        rows = cells.nearest(queries, K)[1]
        return {
            "recall": neighbour_recall(truth, rows),
            "recall_told": cells.recall,
            "cells": len(cells.centres),
            "visited": cells.probes,
            "built_in": built,
        }

    return round_


def _flat(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> Round:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(DIM)
    index.add(x)
    return lambda: {"recall": neighbour_recall(truth, index.search(queries, K)[1])}


def _inverted(x: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> Round:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    began, cells = time.perf_counter(), default_cells(len(x))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(x[np.random.default_rng(0).permutation(len(x))[: 32 * cells]])
    index.add(x)
    built = time.perf_counter() - began
    index.nprobe = 1
    while neighbour_recall(truth, index.search(queries, K)[1]) < 0.95 and index.nprobe < cells:
        index.nprobe *= 2

    def round_() -> dict[str, float]:
        rows = index.search(queries, K)[1]
        return {
            "recall": neighbour_recall(truth, rows),
            "cells": cells,
            "visited": index.nprobe,
            "built_in": built,
        }

    return round_
