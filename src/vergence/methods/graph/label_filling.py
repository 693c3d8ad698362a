"""Label completion, for nodes that lack one: propagation, iterative classification, correction by vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

Fill = Literal["ica", "lp", "ensemble"]


def filled(x: Tensor, a: sp.csr_array, y: Tensor, classes: int, fill: Fill) -> Tensor:
    """Return a label for every node ``(N,)``; known ones stay.

    Args:
        x: ``(N, F)``.
        a: ``(N, N)`` 0 and 1, symmetric.
        y: ``(N,)``, -1 where unknown.
        classes: C.
        fill: "ica", "lp" or "ensemble", the mean of both probabilities.
    """
    votes = np.zeros((len(y), classes))
    if fill != "lp":
        votes += iterative(x, a, y, classes)
    if fill != "ica":
        votes += propagated(x, a, y, classes)
    guess = torch.from_numpy(votes.argmax(1))
    return torch.where(y >= 0, y, guess)


def propagated(x: Tensor, a: sp.csr_array, y: Tensor, classes: int) -> np.ndarray:
    """Label propagation (Zhu et al. 2003): the mean of the neighbours, known labels held. ``(N, C)``."""
    known = (y >= 0).numpy()
    t = sp.diags_array(1 / a.sum(axis=1).clip(1)) @ a
    fixed = np.where(known[:, None], np.eye(classes)[y.clamp(min=0).numpy()], 0.0)
    shares = fixed
    for _ in range(100):
        shares = np.where(known[:, None], fixed, t @ shares)
    return shares / shares.sum(1, keepdims=True).clip(1e-12)


def iterative(x: Tensor, a: sp.csr_array, y: Tensor, classes: int, rounds: int = 10) -> np.ndarray:
    """Iterative classification (Lu and Getoor 2003): features and neighbours' guesses. ``(N, C)``."""
    from sklearn.linear_model import LogisticRegression

    known, own = (y >= 0).numpy(), sp.csr_array(x.numpy())
    truth = y[y >= 0].numpy()

    def fit(features: sp.csr_array) -> np.ndarray:
        probabilities = np.zeros((len(y), classes))
        model = LogisticRegression(max_iter=300).fit(features[known], truth)
        probabilities[:, model.classes_] = model.predict_proba(features)
        return probabilities

    shares = fit(own)
    for _ in range(rounds):
        guess = np.where(known, y.numpy(), shares.argmax(1))
        shares = fit(sp.csr_array(sp.hstack([own, sp.csr_array(a @ np.eye(classes)[guess])])))
    return shares


def corrected(
    z: Tensor, labels: Tensor, y: Tensor, classes: int, *, sampled: int = 320, prototypes: int = 8
) -> Tensor:
    """Relabel nodes ``(N,)`` by their mean cosine to the prototypes of each class; known labels stay.

    A prototype has many of its class near it, and is not too near a denser one: the rule
    of deep self-learning (Han et al., arXiv:1908.02160).

    Args:
        z: ``(N, D)`` present vectors.
        labels: ``(N,)`` present guesses.
        y: ``(N,)``, -1 where unknown.
        classes: C.
        sampled: Nodes of a class that are compared, at most.
        prototypes: Of a class.
    """
    near, z = torch.full((len(z), classes), -torch.inf), normalize(z, dim=1)
    for c in range(classes):
        members = torch.nonzero(labels == c)[:, 0]
        if not len(members):
            continue
        members = members[torch.randperm(len(members))[:sampled]]
        s = z[members] @ z[members].T
        rho = (s - torch.quantile(s.flatten(), 0.4)).sign().sum(1)
        denser = rho[None] > rho[:, None]
        eta = torch.where(denser.any(1), s.masked_fill(~denser, -torch.inf).amax(1), s.amin(1))
        chosen = torch.where(eta >= 0.95, 0.0, rho).topk(min(prototypes, len(rho))).indices
        near[:, c] = (z @ z[members[chosen]].T).mean(1)
    return torch.where(y >= 0, y, near.argmax(1))
