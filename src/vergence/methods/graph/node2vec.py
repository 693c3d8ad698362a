"""node2vec: Scalable Feature Learning for Networks, arXiv:1607.00653."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from vergence.core import BadInput, Estimator
from vergence.data import Source
from vergence.data.graph.csr import CSR, as_csr
from vergence.data.graph.walks import Walker
from vergence.methods.graph.encoders import Table
from vergence.methods.graph.skipgram import skip_gram


class Node2Vec(Estimator):
    """Nodes that biased walks meet in the same company get similar vectors.

    Grover and Leskovec 2016, arXiv:1607.00653. Having come from t to v, a walk goes on to x with
    probability ∝ w(v, x) α(t, x): α = 1/p for x = t, 1 where t has an edge to x, 1/q elsewhere
    (Sec. 3.2). DeepWalk is p = q = 1. Features and labels are not looked at.

    Differs from the released code: d(t, x) = 1 asks for the edge t -> x, as the paper's distance
    does, not x -> t; it matters in directed graphs only. No node is left out of a walk for being
    frequent, as gensim does by default. Differs from the paper: the negatives are drawn once for all
    contexts of a position, see ``skip_gram``. What q > 1 is said to find, structural roles, is weak.

    Args:
        p: Return parameter, above 0; the paper tries 0.25, 0.5, 1, 2, 4.
        q: In-out parameter, above 0; below 1 a walk leaves, above 1 it stays near. As p.
        dim: Width of the vectors.
        walks: From each node.
        length: Nodes a walk.
        window: Farthest context, in steps.
        negatives: A pair.
        epochs: Passes over the walks.
        lr: First learning rate; falls linearly.
        repeatable: Learn in one thread, beside those that walk, so that a seed repeats the vectors.
            Without, all cores learn at once (Hogwild).
    """

    def __init__(
        self,
        *,
        p: float = 1.0,
        q: float = 1.0,
        dim: int = 128,
        walks: int = 10,
        length: int = 80,
        window: int = 10,
        negatives: int = 5,
        epochs: int = 1,
        lr: float = 0.025,
        repeatable: bool = True,
    ) -> None:
        if not (p > 0 and q > 0):
            raise BadInput(f"Node2Vec needs p > 0 and q > 0; got {p} and {q}.")
        if min(dim, walks, length, window, negatives, epochs) < 1:
            raise BadInput("Node2Vec needs dim, walks, length, window, negatives and epochs of 1 or more.")
        self.p, self.q, self.dim, self.walks, self.length, self.window = p, q, dim, walks, length, window
        self.negatives, self.epochs, self.lr, self.repeatable = negatives, epochs, lr, repeatable

    def fit(self, source: Source | CSR, *, seed: int = 0) -> Self:
        """Learn a vector for every node of a graph.

        Args:
            source: The nodes of one graph, or whatever ``as_csr`` takes.
            seed: Of walks and learning.
        """
        graph = as_csr(source)
        rng = np.random.default_rng([seed, 1])
        starts = np.concatenate([rng.permutation(graph.nodes) for _ in range(self.walks)])  # Algorithm 1
        vectors = skip_gram(
            Walker(graph, p=self.p, q=self.q), starts, self.length, dim=self.dim, window=self.window,
            negatives=self.negatives, epochs=self.epochs, lr=self.lr, seed=seed, repeatable=self.repeatable,
        )  # fmt: skip
        self.encoder = Table(torch.from_numpy(vectors))
        return self
