"""Weighted k-NN: nothing is trained, so that nothing but the features is judged."""

from __future__ import annotations

import torch
from torch import Tensor

from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.score import Score, mean_score
from vergence.use.topk import topk

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
