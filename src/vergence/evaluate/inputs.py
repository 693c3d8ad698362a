"""Inputs of protocols: checked features, a stratified split."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = np.ndarray | Tensor


def labelled(x: Array, y: Array, what: str) -> tuple[Tensor, Tensor]:
    """Return features ``(n, D)`` as float32 and labels ``(n,)`` as int64 on the features' device.

    Raises:
        ValueError: If they do not fit each other, are empty, or hold a label below 0 or a value
            that is not finite.
    """
    features = torch.as_tensor(x).detach().float()
    labels = torch.as_tensor(y, device=features.device).long()
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(
            f"{what} needs features (n, D) with labels (n,) and n of at least 1, "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}."
        )
    if labels.min() < 0:
        raise ValueError(f"{what} needs labels of at least 0; leave unlabelled rows out first.")
    if not torch.isfinite(features).all():
        raise ValueError(
            f"{what} needs finite features; {_bad_rows(features)} of {len(labels)} rows are not."
        )
    return features, labels


def stratified(
    labels: np.ndarray, share: float, *, seed: int = 0, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two so that every class gives about ``share`` of its rows to the second part.

    A class of one row stays in the first part, any other is in both.

    Args:
        labels: ``(n,)``.
        share: Of the second part, in (0, 1).
        seed: Of the choice.
        groups: ``(n,)`` from 0, rows that stay together, such as the windows of one video, where a group has
            one label; a class then gives about ``share`` of its groups, and one of a single group gives none.

    Returns:
        Two ascending arrays of rows, together all of them.
    """
    if not 0 < share < 1:
        raise ValueError(f"stratified needs a share in (0, 1), got {share}.")
    if groups is not None:
        first, of = np.unique(groups, return_index=True, return_inverse=True)[1:]
        _, kept = stratified(labels[first], share, seed=seed)
        held = np.isin(of.reshape(-1), kept)
        return np.flatnonzero(~held), np.flatnonzero(held)
    rng = np.random.default_rng(seed)
    second = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            taken = min(max(1, round(share * len(rows))), len(rows) - 1)
            second[rng.permutation(rows)[:taken]] = True
    return np.flatnonzero(~second), np.flatnonzero(second)


def _bad_rows(features: Tensor) -> int:
    return int((~torch.isfinite(features)).any(1).sum())
