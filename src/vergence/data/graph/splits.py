"""Splits of graphs, each protocol by its own name, so that figures of two are never mixed up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.graph import pyg


@dataclass(frozen=True)
class Split:
    """Rows of a source that teach, choose and judge; no row has two tasks.

    Args:
        protocol: Its name, such as "public" or "random-10-10-80".
        train: ``(a,)`` int64, ascending.
        val: ``(b,)``, empty where the protocol has none.
        test: ``(c,)``.
    """

    protocol: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        every = np.concatenate([self.train, self.val, self.test])
        if len(np.unique(every)) < len(every):
            raise ValueError(f"Split '{self.protocol}' gives a row two tasks.")


def half(n: int, *, seed: int) -> Split:
    """Draw half of all rows to teach, the rest to judge, as node2vec does with several labels a node."""
    order = np.random.default_rng(seed).permutation(n)
    none = np.empty(0, np.int64)
    return Split("random-50-50", np.sort(order[: n // 2]), none, np.sort(order[n // 2 :]))


def random_10_10_80(labels: np.ndarray, *, seed: int) -> Split:
    """Draw a tenth of the labelled rows to teach, a tenth to choose, the rest to judge, as GRACE does.

    Args:
        labels: ``(n,)``, -1 where unknown.
        seed: Of the draw.
    """
    known = np.flatnonzero(labels >= 0)
    order = known[np.random.default_rng(seed).permutation(len(known))]
    tenth = len(known) // 10
    parts = order[:tenth], order[tenth : 2 * tenth], order[2 * tenth :]
    return Split("random-10-10-80", *(np.sort(part) for part in parts))


def folds_10(labels: np.ndarray, *, seed: int) -> list[Split]:
    """Return the ten stratified folds of a set of graphs, each judging once ("tu-10-fold").

    Raises:
        BadInput: If fewer than 10 rows are labelled.
    """
    from sklearn.model_selection import StratifiedKFold

    known = np.flatnonzero(labels >= 0)
    if len(known) < 10:
        raise BadInput(f"Ten folds need 10 or more labelled graphs; there are {len(known)}.")
    cut = StratifiedKFold(10, shuffle=True, random_state=seed).split(known, labels[known])
    none = np.empty(0, np.int64)
    return [Split("tu-10-fold", known[train], none, known[test]) for train, test in cut]


@dataclass(frozen=True)
class LinkSplit:
    """Links to predict, and the graph that may be looked at while learning to.

    An undirected link stands once, smaller node first. No negative is a link of the whole graph or
    a self-loop, and none is in two parts.

    Args:
        graph: What may be learned from: the links of ``train``, both ways, and every node.
        train: ``(2, m)`` int64.
        val: ``(2, m)``.
        val_negatives: As many pairs that are no links.
        test: ``(2, m)``.
        test_negatives: As many pairs that are no links.
        protocol: Its name, such as "links-85-5-10".
    """

    graph: pyg.Data
    train: Tensor
    val: Tensor
    val_negatives: Tensor
    test: Tensor
    test_negatives: Tensor
    protocol: str


def link_split(graph: pyg.Data, *, val: float = 0.05, test: float = 0.1, seed: int) -> LinkSplit:
    """Hold out links of an undirected graph, both directions of each together.

    Args:
        graph: Each edge both ways; self-loops stay with what is learned from.
        val: Share that chooses.
        test: Share that judges.
        seed: Of the draws.

    Raises:
        BadInput: If there are too few links, or too few pairs that are none.
    """
    source, target = (row.numpy() for row in graph.edge_index.cpu())
    n = int(graph.num_nodes or 0)
    once = np.flatnonzero(source < target)
    links = len(once)
    held = round(val * links), round(test * links)
    if not 0 < sum(held) < links or n * (n - 1) // 2 - links < sum(held):
        raise BadInput(f"A graph of {n:,} nodes and {links:,} links cannot hold out {sum(held):,} of them.")
    rng = np.random.default_rng(seed)
    order = once[rng.permutation(links)]
    parts = {"val": order[: held[0]], "test": order[held[0] : sum(held)], "train": order[sum(held) :]}
    key = np.minimum(source, target) * n + np.maximum(source, target)
    hidden = np.isin(key, key[np.concatenate([parts["val"], parts["test"]])])
    negatives = non_links(key, n, sum(held), rng)
    pairs = {name: np.stack([source[rows], target[rows]]) for name, rows in parts.items()}
    learned = without_edges(graph, torch.from_numpy(hidden))
    shares = (100 - round(100 * val) - round(100 * test), round(100 * val), round(100 * test))
    return LinkSplit(
        learned,
        torch.from_numpy(pairs["train"]),
        torch.from_numpy(pairs["val"]),
        torch.from_numpy(negatives[:, : held[0]]),
        torch.from_numpy(pairs["test"]),
        torch.from_numpy(negatives[:, held[0] :]),
        "links-{}-{}-{}".format(*shares),
    )


def non_links(keys: np.ndarray, n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` different pairs ``(2, count)``, smaller node first, that are neither links nor loops.

    Args:
        keys: ``smaller * n + larger`` of every link.
        n: Nodes.
        count: At most as many as there are such pairs.
        rng: Where the draws come from.
    """
    taken = np.unique(keys)
    pairs = np.empty(0, np.int64)
    while len(pairs) < count:
        drawn = rng.integers(0, n, (2, 2 * (count - len(pairs)) + 16))
        key = drawn.min(0) * n + drawn.max(0)
        key = key[(drawn[0] != drawn[1]) & ~np.isin(key, taken)]
        pairs = np.concatenate([pairs, key])
        pairs = pairs[np.sort(np.unique(pairs, return_index=True)[1])]
    return np.stack(np.divmod(pairs[:count], n))


def without_edges(graph: pyg.Data, hidden: Tensor) -> pyg.Data:
    """Return the graph without the edges ``hidden`` ``(E,)`` marks, and without their values."""
    edges = graph.edge_index.shape[1]
    kept = graph.clone()
    for name, value in graph.to_dict().items():
        if name == "edge_index":
            kept[name] = value[:, ~hidden]
        elif name.startswith("edge_") and isinstance(value, Tensor) and len(value) == edges:
            kept[name] = value[~hidden]
    return kept
