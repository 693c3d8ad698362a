"""The table of graphs: each grain's usual protocols, on the splits that come with the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from vergence.core.errors import BadInput
from vergence.data.graph.base import GraphSource
from vergence.engine import embed
from vergence.evaluate.baselines import LEARNED, baselines
from vergence.evaluate.protocols.graph import (
    multilabel_probe,
    node_clustering,
    node_probe,
    random_probe,
    svm_10fold,
)
from vergence.evaluate.score import Score


def graph_scores(
    encoder: nn.Module, source: GraphSource, *, protocol: str | None = None, seed: int = 0
) -> dict[str, Score]:
    """Judge an encoder by the protocol of a graph source.

    Args:
        encoder: Takes the source's batches.
        source: A ``GraphSource`` with labels.
        protocol: One of its ``protocols``; None takes the first. "public" and "heco-20" are fixed splits
            (softmax regression), "random-10-10-80" is GRACE's (the mean over five splits), "tu-10-fold"
            an SVM; nodes with several labels are judged as by DeepWalk, half of them labelled.
        seed: Of what the protocol draws.

    Returns:
        "accuracy" and "macro-F1" of nodes, "macro-F1" and "micro-F1" where they have several labels,
        "SVM" of graphs.

    Raises:
        BadInput: If nothing is labelled, or the protocol is not one of the source's.
    """
    z = embed(encoder, source).vectors
    return scores_of(z, source, protocol=protocol, seed=seed)


def graph_rows(
    encoder: nn.Module, source: GraphSource, protocols: Sequence[str], *, seed: int = 0
) -> tuple[dict[str, dict[str, Score]], dict[str, Any]]:
    """Judge an encoder beside raw features and itself untrained, on splits that come with the data.

    Args:
        encoder: Takes the source's batches.
        source: A ``GraphSource`` with ``protocols``.
        protocols: Some of them; none takes the first.
        seed: Of draws, the untrained weights and k-means.

    Returns:
        Rows and what was measured, as of a ``Table``.
    """
    wanted = list(protocols) or source.protocols[:1]
    rows: dict[str, dict[str, Score]] = {}
    for name, net in {**baselines(encoder, source, seed=seed), LEARNED: encoder}.items():
        z, rows[name] = embed(net, source).vectors, {}
        for protocol in wanted:
            scores = scores_of(z, source, protocol=protocol, seed=seed)
            rows[name].update({f"{protocol}, {column}": score for column, score in scores.items()})
        if source.labels is not None and source.grain == "nodes":
            rows[name]["NMI"] = node_clustering(z, source.labels, seed=seed)["nmi"]
    split = source.splits(wanted[0], seed=seed)[0]
    return rows, {
        "source": source.uri,
        "test": len(split.test),
        "train": len(split.train),
        "classes": len(source.classes or ()),
        "held_out": False,
        "seed": seed,
    }


def scores_of(z: Any, source: GraphSource, *, protocol: str | None = None, seed: int = 0) -> dict[str, Score]:
    """Judge vectors ``(n, D)`` of a source's samples; the rest as ``graph_scores``."""
    if source.labels is None and source.values is None:
        raise BadInput(f"measure needs labels; {source.uri} has none.")
    if source.labels is None:
        scores = multilabel_probe(z, source.values, seed=seed)
        return {"macro-F1": scores["macro_f1"], "micro-F1": scores["micro_f1"]}
    split = source.splits(protocol, seed=seed)[0]
    if split.protocol == "tu-10-fold":
        return {"SVM": svm_10fold(z, source.labels, seed=seed)}
    if split.protocol == "random-10-10-80":
        scores = random_probe(z, source.labels, seed=seed)
    else:
        scores = node_probe(z, source.labels, split.train, split.val, split.test)
    return {"accuracy": scores["accuracy"], "macro-F1": scores["macro_f1"]}
