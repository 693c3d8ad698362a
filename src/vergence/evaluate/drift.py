"""How far a run moved the features it began with (``init``), and what labels gained or lost by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vergence.core import BadInput, input_spec
from vergence.data import Source
from vergence.engine import Run, embed
from vergence.engine.encoders import initial_encoder
from vergence.evaluate.inputs import Array, stratified
from vergence.evaluate.protocols.knn import knn_predict
from vergence.evaluate.score import Score, mean_score
from vergence.use.topk import topk

SAMPLES, NEIGHBOURS = 2_000, 10


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of the features that a run began with.

    Args:
        init: What it began with, such as "timm:NAME".
        rows: Samples that were looked at.
        cka: Linear centred kernel alignment of both, in [0, 1]; 1 is the same but for a turn and a scale.
        kept: Share of each sample's 10 nearest neighbours that are among them still.
        before: k-NN of labels by the features at the start; None without labels.
        after: The same by the features at the end.
        gained: after - before on the same queries, in [-1, 1], with the interval of the paired difference.
    """

    init: str
    rows: int
    cka: float
    kept: float
    before: Score | None = None
    after: Score | None = None
    gained: Score | None = None


def drift(run: Run, source: Source, *, seed: int = 0) -> Drift:
    """Compare what a run's encoder says of samples with what it said when the run began.

    Half of the labelled samples of each class vote, the other half are asked. Labels that the method looked
    at in training make ``after`` too good.

    Args:
        run: Of a method that began with weights (``init``).
        source: Of the run's modality; 2,000 samples are drawn of a larger one.
        seed: Of the draw and the halves.

    Raises:
        BadInput: If the run began at random, what it began with cannot be had, or there are fewer than 3
            samples.
    """
    init = run.config.init
    if init is None:
        raise BadInput(f"{run.path} began at random, with no --init; there is nothing to compare with.")
    rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:SAMPLES])
    if len(rows) < 3:
        raise BadInput(f"{source.uri} has {len(rows)} samples; 3 or more show how far features moved.")
    few = source.subset(rows)
    size = (input_spec(run.encoder) or {}).get("size") if init.startswith("timm:") else run.config.size
    start = embed(initial_encoder(init, few, size=size, **run.config.encoder_options).eval(), few)
    end = embed(run.encoder, few)
    first, last = (torch.from_numpy(embeddings.vectors) for embeddings in (start, end))
    moved = Drift(init, len(first), linear_cka(first, last), kept(first, last))
    if end.labels is None or len(np.unique(end.labels[end.labels >= 0])) < 2:
        return moved
    known = np.flatnonzero(end.labels >= 0)
    bank, queries = (known[part] for part in stratified(end.labels[known], 0.5, seed=seed))
    right = [_right(vectors, end.labels, bank, queries) for vectors in (first, last)]
    before, after = (mean_score(share, seed=seed) for share in right)
    gained = mean_score(right[1] - right[0], seed=seed)
    return replace(moved, before=before, after=after, gained=gained)


def linear_cka(first: Array, second: Array) -> float:
    """Return the linear centred kernel alignment of two sets of features of the same samples.

    Args:
        first: ``(n, D)``.
        second: ``(n, E)``.

    Returns:
        In [0, 1]; NaN where one of them has no spread.

    Source: Kornblith et al. 2019, arXiv:1905.00414.
    """
    x, y = (torch.as_tensor(part).double() for part in (first, second))
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def kept(first: Tensor, second: Tensor, k: int = NEIGHBOURS) -> float:
    """Return the share of each row's ``k`` nearest in ``first (n, D)`` that are so in ``second (n, E)``."""
    k = min(k, len(first) - 1)
    near = [_others(vectors, k) for vectors in (first, second)]
    return float((near[0][:, :, None] == near[1][:, None]).any(2).double().mean())


def _others(vectors: Tensor, k: int) -> Tensor:
    """Return the ``k`` nearest rows ``(n, k)`` of each row but itself."""
    rows = topk(vectors, vectors, k + 1)[1]
    own = rows == torch.arange(len(rows), device=rows.device)[:, None]
    own[~own.any(1), -1] = True  # among equals a row need not be its own nearest
    return rows[~own].view(len(rows), k)


def _right(vectors: Tensor, labels: np.ndarray, bank: np.ndarray, queries: np.ndarray) -> np.ndarray:
    guess = knn_predict(vectors[bank], torch.from_numpy(labels[bank]), vectors[queries])
    return (guess.cpu().numpy() == labels[queries]).astype(float)
