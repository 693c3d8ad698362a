"""Unknown classes: does a frozen encoder tell samples of classes that nobody showed it labels of?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vergence.core import BadInput
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.gradient_boosting import auc
from vergence.evaluate.score import Score
from vergence.use.topk import topk

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)


def unknown_classes(
    train_x: Array, train_y: Array, test_x: Array, test_y: Array, *, k: int = 5, seed: int = 0
) -> Score:
    """Area under the ROC curve of telling test samples of unknown classes from those of known ones.

    A random half of the classes is known, rounded up. A sample is the more unknown the further away its k-th
    nearest training sample of a known class is, by cosine. The interval is DeLong's.

    Args:
        train_x: ``(N, D)`` features; rows of unknown classes are left out.
        train_y: ``(N,)`` labels, at least 0.
        test_x: ``(Q, D)`` features.
        test_y: ``(Q,)`` labels.
        k: Of the neighbour.
        seed: Of the half.

    Raises:
        BadInput: If there are fewer than two classes, or the test has but one kind.

    Source: Sun et al. 2022, arXiv:2204.06507, for the distance.
    """
    train_x, train_y = labelled(train_x, train_y, "unknown_classes")
    test_x, test_y = labelled(test_x, test_y, "unknown_classes")
    classes = torch.cat([train_y, test_y]).unique().cpu().numpy()
    known = torch.as_tensor(np.random.default_rng(seed).permutation(classes)[: -(-len(classes) // 2)])
    bank = train_x[torch.isin(train_y, known.to(train_y))]
    unknown = ~torch.isin(test_y, known.to(test_y))
    if not len(bank) or unknown.all() or not unknown.any():
        raise BadInput(
            f"unknown_classes needs samples of known and of unknown classes; of {len(classes)} classes "
            f"{len(known)} are known, with {len(bank)} samples to compare with, and "
            f"{int(unknown.sum())} of {len(unknown)} samples to judge are of others."
        )
    nearness = topk(test_x, bank, k)[0][:, -1].cpu().numpy()
    score = auc(-nearness, unknown.cpu().numpy())
    return Score(score.value, score.low, score.high, score.n, f"{len(known)} of {len(classes)} classes known")


def _unknown_classes(split: Split, seed: int) -> Scores:
    yield "unknown classes, AUC", unknown_classes(*split.arrays, seed=seed)


PROTOCOLS = {"unknown_classes": _unknown_classes}
