"""Demystifying Contrastive Self-Supervised Learning: Invariances, Augmentations and Dataset Biases.

Purushwalkam, Gupta 2020, arXiv:2007.13916. Which changes of a picture does a representation ignore? Targets
are shown in several versions that differ in one factor, such as occlusion, side, or light, and units are
asked whether they keep firing (Sec. 4).

For a class y, a unit i is given the threshold above which it fires as often as there are samples of y among
all: its global firing rate G_i is the class's share. Its local firing rate L_i is, over the targets of y, the
mean share of a target's versions on which it fires. A unit fires above its threshold or, with the other sign,
below one. The *top-K representation invariance score* of y is the mean L of the K units of largest L; that of
a representation is the mean over classes. A unit that is on for y and for nothing else, whatever the version,
has 1; one that knows nothing, the share of y.

The score of one factor alone says little, as naming y is part of it: hold factors, or encoders of one width,
against each other.

Differs from the paper: L itself is reported, as G is the same for all units of a class; a unit that is equal
on many samples fires on fewer than the share, never on more, so that one that is always on has 0; K of 25 and
the thresholds' samples are ours to choose. Its way to learn from videos is not here: ``aassl`` and
``trajssl`` learn from clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("group", "labels")


def invariance(
    reference: Array, reference_labels: Array, versions: Array, labels: Array, group: Array, *, k: int = 25
) -> Score:
    """Return the top-K representation invariance score of versions of targets.

    Args:
        reference: ``(N, D)`` features that set the thresholds, such as those of the training part.
        reference_labels: ``(N,)``, at least 0.
        versions: ``(M, D)`` features of all versions of all targets.
        labels: ``(M,)``, the class of each one's target; classes that the reference lacks are left out.
        group: ``(M,)`` int64, the target of which each is a version.
        k: Units of each class that count, K; at most 2 D do, as each has two signs.

    Returns:
        In [0, 1], a mean over classes, with its interval.

    Raises:
        BadInput: If no target of a known class has two versions.
    """
    reference, reference_labels = labelled(reference, reference_labels, "invariance")
    versions, labels = labelled(versions, labels, "invariance")
    group = torch.as_tensor(group, device=versions.device)
    if group.shape != labels.shape or versions.shape[1] != reference.shape[1] or k < 1:
        raise ValueError(
            "invariance needs versions (M, D) with labels and group (M,), a reference of as many features "
            f"and k of 1 or more; got {tuple(versions.shape)}, {tuple(group.shape)}, "
            f"{tuple(reference.shape)} and {k}."
        )
    rates = firing_rates(reference, reference_labels, versions, labels, group)
    if not rates:
        raise BadInput("invariance needs targets with two versions or more, of classes that are known.")
    scores = torch.stack([rate.topk(min(k, len(rate))).values.mean() for rate in rates.values()])
    return mean_score(scores, note=f"top {min(k, 2 * versions.shape[1])} units of {len(rates)} classes")


def firing_rates(
    reference: Tensor, reference_labels: Tensor, versions: Tensor, labels: Tensor, group: Tensor
) -> dict[int, Tensor]:
    """Return by class the local firing rates ``(2 D,)`` float64, those of the other sign last.

    See ``invariance``. Targets of one version, and classes without others, are left out.
    """
    ascending = reference.sort(0).values
    n, rates = len(reference), {}
    for y in labels.unique().tolist():
        count = int((reference_labels == y).sum())
        target, size = group[labels == y].unique(return_inverse=True, return_counts=True)[1:]
        several = size[target] > 1
        if not 0 < count < n or not several.any():
            continue
        x, target = versions[labels == y][several], target[several]
        fires = torch.cat([x > ascending[n - 1 - count], x < ascending[count]], 1).double()
        share = fires.new_zeros(len(size), fires.shape[1]).index_add_(0, target, fires)
        rates[y] = (share[size > 1] / size[size > 1, None]).mean(0)
    return rates


def _invariance(split: Split, seed: int) -> Scores:
    group = split.test.target("group", split.test_embeddings.index).values  # type: ignore[attr-defined]
    yield "invariance", invariance(*split.arrays, group)


PROTOCOLS = {"invariance": _invariance}
