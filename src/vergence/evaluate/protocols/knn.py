"""Weighted k-NN: nothing is trained, so that nothing but the features is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array, labelled, stratified
from vergence.evaluate.score import Score, mean_score
from vergence.use.topk import topk

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
_BLOCK = 1 << 24  # votes held at a time


def knn(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    labels: Array,
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> Score:
    """Share of queries whose nearest labelled neighbours vote for the right class.

    Each of the ``k`` neighbours of highest cosine votes with weight exp(cos / temperature).

    Args:
        bank: ``(N, D)`` features with known ``bank_labels`` ``(N,)``.
        bank_labels: At least 0.
        queries: ``(Q, D)`` features, judged by ``labels`` ``(Q,)``.
        labels: At least 0; a class that the bank lacks counts as wrong.
        k: Neighbours that vote, at least 1.
        temperature: Above 0; small values let the nearest decide.

    Source: Wu et al. 2018, arXiv:1805.01978, Sec. 3.4; k = 20 as Caron et al. 2021 report it.
    """
    bank, bank_labels = labelled(bank, bank_labels, "knn")
    queries, labels = labelled(queries, labels, "knn")
    guess = knn_predict(bank, bank_labels, queries, k=k, temperature=temperature)
    return mean_score(guess == labels.to(guess.device), note=f"k={k}, T={temperature:g}")


def knn_predict(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, *, k: int = 20, temperature: float = 0.07
) -> Tensor:
    """Return the class ``(Q,)`` that each query's neighbours vote for; see ``knn``."""
    if temperature <= 0:
        raise ValueError(f"knn needs temperature > 0, got {temperature}.")
    classes = int(bank_labels.max()) + 1
    guesses = []
    for block in queries.split(max(1, _BLOCK // classes)):
        score, row = topk(block, bank, k)
        # the best neighbour's weight is scaled to 1: exp would overflow at small temperatures
        weight = ((score - score[:, :1]) / temperature).exp()
        votes = torch.zeros(len(block), classes, device=weight.device)
        guesses.append(votes.scatter_add_(1, bank_labels[row], weight).argmax(1))
    return torch.cat(guesses)


def _knn(split: Split, seed: int) -> Scores:
    yield "k-NN", knn(*split.arrays)


def _knn_linear(split: Split, seed: int) -> Scores:
    """Blend neighbours and a linear head; what is chosen is chosen on a fifth of the training rows."""
    from vergence.use.knn_revisit import tuned

    first, held = stratified(split.train_y, 0.2, seed=seed)
    x, y = split.train_x, split.train_y
    if not len(held):
        raise BadInput("knn_linear needs 2 or more labelled samples of a class, to choose by.")
    predicted = tuned(x[first], y[first], x[held], y[held]).proba(split.test_x).argmax(1).cpu().numpy()
    yield "k-NN and linear", mean_score(predicted == split.test_y)


PROTOCOLS = {"knn": _knn, "knn_linear": _knn_linear}
