"""Multi-label: a logistic regression a tag on frozen features, judged by mean average precision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from vergence.core import BadInput
from vergence.evaluate.inputs import Array
from vergence.evaluate.protocols.linear import STRENGTHS, SoftmaxPath, choose_strength
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.data.targets import Tags
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("tags",)


def mean_average_precision(scores: Array, truth: Array, known: Array, *, seed: int = 0) -> Score:
    """Mean over tags of the average precision; what nobody noted does not count.

    The interval is the bootstrap's over tags. A tag of which no judged sample is known to have it, or to lack
    it, is left out.

    Args:
        scores: ``(n, A)``, higher for yes.
        truth: ``(n, A)`` bool.
        known: ``(n, A)`` bool.
        seed: Of the bootstrap.

    Raises:
        BadInput: If no tag can be judged.
    """
    scores, truth, known = (np.asarray(part) for part in (scores, truth, known))
    values = []
    for tag in range(truth.shape[1]):
        rows = known[:, tag]
        right = truth[rows, tag]
        if right.any() and not right.all():
            values.append(average_precision_score(right, scores[rows, tag]))
    if not values:
        raise BadInput("mean_average_precision needs a tag that some samples have and some lack; got none.")
    return mean_score(np.array(values), note=f"{len(values)} tags", seed=seed)


def multilabel(
    train_x: Array,
    train: Tags,
    test_x: Array,
    test: Tags,
    *,
    seed: int = 0,
    strengths: Iterable[float] = STRENGTHS,
) -> Score:
    """Mean average precision of one logistic regression a tag on standardised frozen features.

    A tag is learned from the samples of which it is known; its L2 strength is chosen on a fifth of them.

    Args:
        train_x: ``(N, D)`` features.
        train: Of the same N samples.
        test_x: ``(Q, D)`` features.
        test: Of those Q.
        seed: Of the held-out fifths.
        strengths: Tried in this order.
    """
    x, z = (torch.as_tensor(part).float() for part in (train_x, test_x))
    scores = torch.zeros(len(z), train.values.shape[1])
    for tag in range(train.values.shape[1]):
        rows = train.known[:, tag]
        some, y = x[rows], train.values[rows, tag].long()
        if len(y.unique()) == 2:
            strength = choose_strength(some, y, 2, strengths=strengths, seed=seed)
            logits = SoftmaxPath(some, y, 2).solve(strength).logits(z)
            scores[:, tag] = logits[:, 1] - logits[:, 0]
    return mean_average_precision(scores, test.values, test.known, seed=seed)


def _multilabel(split: Split, seed: int) -> Scores:
    def tags(part: str) -> tuple[Tensor, Tags]:
        embeddings = getattr(split, f"{part}_embeddings")
        target: Tags = getattr(split, part).target("tags", embeddings.index)
        return torch.from_numpy(embeddings.vectors), target

    yield "tags, mAP", multilabel(*tags("train"), *tags("test"), seed=seed)


PROTOCOLS = {"multilabel": _multilabel}
