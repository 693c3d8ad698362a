"""Node classification: linear probes as the papers do them, and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from scipy.special import log_softmax, softmax
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from vergence.core.errors import BadInput, unknown
from vergence.data.graph.splits import random_10_10_80
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.clustering import contingency, matched_accuracy, mutual_information
from vergence.evaluate.protocols.graph.curves import f1, macro_auc, macro_f1
from vergence.evaluate.protocols.graph.logistic import fit_logistic
from vergence.evaluate.score import Score, mean_score, resampled

NEEDS = ("labels",)  # the multi-label probe: tags
STRENGTHS = tuple(2.0**i for i in range(-10, 10))  # C of GRACE, arXiv:2006.04131
WIDE = tuple(2.0**i for i in range(-8, 17))  # 20 nodes a class may want to be fitted closely
SCALES = ("none", "unit", "standard")
_FULL = 20_000  # rows up to which every step of k-means looks at all of them

Scale = Literal["none", "unit", "standard"]


def node_probe(
    x: Array,
    y: Array,
    train: Array,
    val: Array,
    test: Array,
    *,
    scale: Scale = "none",
    strengths: Sequence[float] = WIDE,
) -> dict[str, Score]:
    """Judge frozen node vectors by softmax regression on a fixed split, such as Planetoid's public one.

    The regression sees the training nodes; its L2 strength is the one with the best accuracy on the
    validation nodes (cross-entropy between equals); the test nodes are looked at once, at the end. The solver
    is exact, so repeating the probe with other seeds changes nothing: what varies is the training of the
    encoder. MVGRL, GraphMAE and HeCo stop a linear layer under Adam instead: ``adam_probe``.

    Args:
        x: ``(N, D)`` vectors of all nodes.
        y: ``(N,)`` labels; nodes outside the split may have -1.
        train: Nodes as indices or as a mask ``(N,)`` of bool.
        val: Nodes to choose the strength on.
        test: Nodes that judge.
        scale: ``"none"`` divides all by one number, the root mean square length of a training row, as the
            papers' probes that take vectors as they are; ``"unit"`` scales rows to length 1; ``"standard"``
            standardises columns by the training rows.
        strengths: C to choose from: sum of losses * C + |w|^2 / 2.

    Returns:
        ``accuracy`` (for one label a node also the micro-F1), ``macro_f1`` and ``auc`` (one class against the
        rest, mean). A test class that training lacks counts as wrong.
    """
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = _apart(x, y, train, val, test, "node_probe")
    train_x, val_x, test_x = _scaled(scale, train_x, val_x, test_x)
    known, target = _targets(train_y, "node_probe")
    fitted = fit_logistic(train_x, target, strengths, softmax=True)
    best = _best(fitted.logits(val_x), val_y, known, competing=True)
    logits = fitted.logits(test_x)[:, best]
    guess = known[logits.argmax(1)]
    note = f"C {strengths[best]:.2g}, {scale}"
    scores = {
        "accuracy": mean_score(guess == test_y, note=note),
        "macro_f1": macro_f1(guess, test_y, note=note),
    }
    seen = np.searchsorted(known, test_y)
    inside = known[np.minimum(seen, len(known) - 1)] == test_y
    if len(np.unique(seen[inside])) > 1:
        scores["auc"] = macro_auc(softmax(logits[inside], axis=1), seen[inside], note=note)
    return scores


def adam_probe(
    x: Array,
    y: Array,
    train: Array,
    val: Array,
    test: Array,
    *,
    lr: float = 0.01,
    weight_decay: float = 0.0,
    epochs: int = 300,
    seed: int = 0,
) -> dict[str, Score]:
    """Judge frozen node vectors by a linear layer under Adam, as GraphMAE does (arXiv:2205.10803).

    Vectors are taken as they are. Of the steps the one with the best accuracy on the validation nodes, the
    last of equals, judges the test nodes. A strong ``weight_decay`` and the end after so many steps keep the
    layer small where ``node_probe`` would fit the training nodes closely.

    Args:
        x: ``(N, D)`` vectors of all nodes.
        y: ``(N,)`` labels; nodes outside the split may have -1.
        train: Nodes as indices or as a mask ``(N,)`` of bool.
        val: Nodes to choose the step on.
        test: Nodes that judge.
        lr: Of Adam.
        weight_decay: Added to its gradients, times the weights.
        epochs: Steps, each with all training nodes.
        seed: Of the layer's first weights.

    Returns:
        ``accuracy`` and ``macro_f1``. A test class that training lacks counts as wrong.
    """
    parts = _apart(x, y, train, val, test, "adam_probe")
    teaches, chooses, judges = (torch.from_numpy(vectors).float() for vectors, _ in parts)
    train_y, val_y, test_y = (labels for _, labels in parts)
    known, target = _targets(train_y, "adam_probe")
    wanted, best, guess = torch.from_numpy(target).float(), -1.0, train_y[:0]
    with torch.random.fork_rng(devices=()), torch.enable_grad():
        torch.manual_seed(seed)
        layer = torch.nn.Linear(teaches.shape[1], len(known))
        adam = torch.optim.Adam(layer.parameters(), lr=lr, weight_decay=weight_decay)
        best, guess = -1.0, np.empty(0)
        for _ in range(epochs):
            adam.zero_grad()
            cross_entropy(layer(teaches), wanted).backward()
            adam.step()
            with torch.no_grad():
                right = (known[layer(chooses).argmax(1).numpy()] == val_y).mean()
                if right >= best:
                    best, guess = right, known[layer(judges).argmax(1).numpy()]
    note = f"Adam, decay {weight_decay:g}, {epochs} steps"
    return {
        "accuracy": mean_score(guess == test_y, note=note),
        "macro_f1": macro_f1(guess, test_y, note=note),
    }


def random_probe(
    x: Array,
    y: Array,
    *,
    splits: int = 5,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> dict[str, Score]:
    """Judge frozen node vectors on random 10/10/80 splits, as GRACE does (arXiv:2006.04131, Sec. 4.2).

    Rows are scaled to length 1; one-versus-rest logistic regression with C in 2^-10..2^9 chosen on the
    validation nodes. Differs from the released code, which chooses C by cross-validation inside the training
    nodes.

    Args:
        x: ``(N, D)``.
        y: ``(N,)``; nodes with -1 are left out.
        splits: Random splits, at least 2; the interval is the bootstrap's over them.
        seed: Of the first split, ``seed + 1`` of the next: the same for any features, so that encoders
            can be compared pair by pair.
        strengths: C to choose from.

    Returns:
        ``accuracy`` and ``macro_f1``, means over the splits.
    """
    if splits < 2:
        raise BadInput(f"random_probe needs 2 or more splits, got {splits}.")
    rows = np.flatnonzero(np.asarray(_cpu(y)) >= 0)
    x, y = _numpy(labelled(_take(x, rows), _take(y, rows), "random_probe"))
    if len(y) < 10:
        raise BadInput(f"random_probe needs 10 or more labelled nodes, got {len(y)}.")
    (x,) = _scaled("unit", x)
    accuracy, macro = [], []
    for i in range(splits):
        split = random_10_10_80(y, seed=seed + i)
        train, val, test = split.train, split.val, split.test
        known, target = _targets(y[train], "random_probe")
        fitted = fit_logistic(x[train], target, strengths, softmax=False)
        best = _best(fitted.logits(x[val]), y[val], known, competing=False)
        guess = known[fitted.logits(x[test])[:, best].argmax(1)]
        accuracy.append((guess == y[test]).mean())
        macro.append(macro_f1(guess, y[test]).value)
    kind = f"{splits} splits random-10-10-80"
    return {"accuracy": _over_splits(accuracy, kind), "macro_f1": _over_splits(macro, kind)}


def multilabel_probe(
    x: Array,
    labels: Array | sp.spmatrix | sp.sparray,
    *,
    share: float = 0.5,
    splits: int = 10,
    strength: float = 1.0,
    seed: int = 0,
) -> dict[str, Score]:
    """Judge node vectors by nodes with several labels, as DeepWalk and node2vec do on BlogCatalog.

    One-versus-rest logistic regression on a random ``share`` of the nodes; of every other node as many labels
    are guessed as it has, the likeliest ones (DeepWalk, arXiv:1403.6652, Sec. 6.1: the number of labels is
    given).

    Args:
        x: ``(N, D)``, taken as they are.
        labels: ``(N, L)`` of 0 and 1, dense or sparse; nodes without a label are left out.
        share: Of the labelled nodes that training gets, in (0, 1).
        splits: Random splits, at least 2.
        strength: C; 1 is scikit-learn's default, which the papers kept.
        seed: Of the splits.

    Returns:
        ``macro_f1`` and ``micro_f1``, means over the splits.
    """
    y = labels.toarray() if isinstance(labels, (sp.spmatrix, sp.sparray)) else np.asarray(_cpu(labels))
    y = y > 0
    if y.ndim != 2 or len(y) != len(x) or not 0 < share < 1 or splits < 2:
        raise BadInput(
            f"multilabel_probe needs features (N, D), labels (N, L), a share in (0, 1) and 2 or more splits; "
            f"got {tuple(x.shape)}, {y.shape}, {share} and {splits}."
        )
    some = np.flatnonzero(y.any(1))
    features, _ = _numpy(labelled(_take(x, some), np.zeros(len(some), dtype=np.int64), "multilabel_probe"))
    y = y[some]
    rng = np.random.default_rng(seed)
    macro, micro = [], []
    for _ in range(splits):
        order = rng.permutation(len(y))
        train, test = np.split(order, [round(share * len(y))])
        fitted = fit_logistic(features[train], y[train], [strength], softmax=False)
        logits = fitted.logits(features[test])[:, 0]
        scores = f1(top_labels(logits, y[test].sum(1)), y[test])
        macro.append(scores[0])
        micro.append(scores[1])
    kind = f"{splits} random splits, {100 * share:.0f} % labels, number of labels given"
    return {"macro_f1": _over_splits(macro, kind), "micro_f1": _over_splits(micro, kind)}


def top_labels(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mark the ``counts`` ``(n,)`` highest of each row of ``scores`` ``(n, L)``."""
    order = np.argsort(-scores, axis=1, kind="stable")
    marked = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(marked, order, np.arange(scores.shape[1]) < counts[:, None], axis=1)
    return marked


def node_clustering(
    x: Array, y: Array, *, k: int | None = None, scale: Scale = "unit", seed: int = 0
) -> dict[str, Score]:
    """Cluster node vectors by k-means and compare with the labels.

    Args:
        x: ``(N, D)``.
        y: ``(N,)``; nodes with -1 are left out.
        k: Clusters; None makes as many as there are classes.
        scale: As in ``node_probe``; ``"unit"`` is what ``measure.clustering`` does, ``"none"`` what HeCo
            does.
        seed: Of k-means (5 starts, the tightest is kept).

    Returns:
        ``acc`` under the best matching, ``nmi`` and ``ari`` (adjusted Rand index, at most 1, about 0 by
        chance).
    """
    rows = np.flatnonzero(np.asarray(_cpu(y)) >= 0)
    x, y = _numpy(labelled(_take(x, rows), _take(y, rows), "node_clustering"))
    k = len(np.unique(y)) if k is None else k
    if not 1 <= k <= len(x):
        raise BadInput(f"node_clustering needs k between 1 and the {len(x)} nodes, got {k}.")
    (x,) = _scaled(scale, x)
    algorithm = KMeans if len(x) <= _FULL else MiniBatchKMeans
    assigned = algorithm(k, n_init=5, random_state=seed).fit_predict(x)
    return {
        "acc": matched_accuracy(assigned, y),
        "nmi": mutual_information(assigned, y),
        "ari": _rand(assigned, y),
    }


def part_rows(part: Array, nodes: int, name: str) -> np.ndarray:
    """Return a split's nodes as ascending indices, given as indices or as a mask."""
    rows = np.asarray(_cpu(part))
    if rows.dtype == bool and rows.shape == (nodes,):
        rows = np.flatnonzero(rows)
    elif rows.dtype == bool or rows.ndim != 1:
        raise BadInput(f"The {name} nodes must be indices or a mask ({nodes},) of bool; got {rows.shape}.")
    rows = np.unique(rows.astype(np.int64))
    if not len(rows) or rows[0] < 0 or rows[-1] >= nodes:
        raise BadInput(f"The {name} nodes must be one or more indices in [0, {nodes}).")
    return rows


def _apart(
    x: Array, y: Array, train: Array, val: Array, test: Array, what: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the vectors and labels that teach, that choose and that judge; no node may have two tasks."""
    rows = [part_rows(part, len(x), name) for part, name in ((train, "train"), (val, "val"), (test, "test"))]
    if len(np.unique(np.concatenate(rows))) < sum(len(part) for part in rows):
        raise BadInput(f"{what} needs train, val and test without a node in common.")
    return [_numpy(labelled(_take(x, part), _take(y, part), what)) for part in rows]


def _cpu(array: Array) -> Array:
    return array.detach().cpu() if isinstance(array, Tensor) else array


def _take(array: Array, rows: np.ndarray) -> Tensor:
    whole = torch.as_tensor(array)
    return whole[torch.as_tensor(rows, device=whole.device)]


def _numpy(pair: tuple[Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return pair[0].cpu().numpy().astype(np.float64), pair[1].cpu().numpy()


def _scaled(scale: str, train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if scale == "unit":
        return [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (train, *others)]
    if scale == "none":
        size = np.sqrt(np.square(train).sum(1).mean())
        return [x / max(size, 1e-12) for x in (train, *others)]
    mean, deviation = train.mean(0), train.std(0)
    # a constant feature says nothing; 1 keeps it at zero instead of blowing up its rounding error
    deviation = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    return [(x - mean) / deviation for x in (train, *others)]


def _targets(y: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    known, numbers = np.unique(y, return_inverse=True)
    if len(known) < 2:
        raise BadInput(f"{what} needs training labels of 2 or more classes, got {len(known)}.")
    return known, np.eye(len(known))[numbers]


def _best(logits: np.ndarray, y: np.ndarray, known: np.ndarray, *, competing: bool) -> int:
    """Return which strength of ``logits`` ``(n, S, K)`` does best: accuracy, then the loss."""
    right = (known[logits.argmax(2)] == y[:, None]).mean(0)
    truth = (y[:, None] == known)[:, None]
    if competing:
        cost = -np.where(truth, log_softmax(logits, axis=2), 0.0).sum((0, 2))
    else:
        cost = np.logaddexp(0, np.where(truth, -logits, logits)).sum((0, 2))
    return int(np.lexsort((cost, -right))[0])


def _over_splits(values: Sequence[float], kind: str) -> Score:
    return mean_score(np.array(values), note=f"{kind}, sd {100 * np.std(values, ddof=1):.1f}")


def _rand(assigned: np.ndarray, y: np.ndarray, *, repeats: int = 1000) -> Score:
    table = contingency(assigned, y)[0]
    value = float(adjusted_rand_score(y, assigned))
    spread = _table_rand(resampled(table.ravel(), repeats).reshape(repeats, *table.shape))
    low, high = np.quantile(spread, (0.025, 0.975)) - spread.mean() + value
    return Score(
        value, min(float(low), value), min(max(float(high), value), 1.0), len(y), f"{table.shape[0]} clusters"
    )


def _table_rand(tables: np.ndarray) -> np.ndarray:
    def pairs(counts: np.ndarray) -> np.ndarray:
        return counts * (counts - 1) / 2

    both = pairs(tables).sum((1, 2))
    rows, columns = pairs(tables.sum(2)).sum(1), pairs(tables.sum(1)).sum(1)
    chance = rows * columns / np.maximum(pairs(tables.sum((1, 2))), 1)
    most = (rows + columns) / 2
    return np.divide(both - chance, most - chance, out=np.ones_like(both), where=most > chance)
