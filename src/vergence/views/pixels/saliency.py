"""Saliency: global contrast of colours (HC) and of regions (RC), without training."""

from __future__ import annotations

import numpy as np
import torch

from vergence.views.pixels.lab import rgb_to_lab

LEVELS = 12  # of each channel of the colours that are counted
COVERED = 0.95  # share of the pixels that have one of the colours kept; the others take the nearest


def colour_contrast(pixels: np.ndarray) -> np.ndarray:
    """Return how far each pixel's colour is from those of all others (HC), ``(H, W)`` from 0 to 1.

    Colours that are alike, a quarter of all, share their values, by nearness.

    Args:
        pixels: ``(H, W, 3)`` uint8, RGB.

    Source: Cheng et al., Global Contrast Based Salient Region Detection, TPAMI 2015, Sec. 3.
    """
    index, distance = _colours(pixels)
    share = np.bincount(index.ravel(), minlength=len(distance)) / index.size
    return _from_0_to_1(_smoothed(distance @ share, distance)[index])


def region_contrast(pixels: np.ndarray, *, reach: float = 0.4) -> np.ndarray:
    """Return how far each region's colours are from those of all others, the near above all (RC): ``(H, W)``.

    Args:
        pixels: ``(H, W, 3)`` uint8, RGB.
        reach: σ², above 0: how fast a region counts less with its distance, in sides of the picture.

    Returns:
        Numbers from 0 to 1, one a region; regions away from the picture's centre are held down.

    Source: Cheng et al., Global Contrast Based Salient Region Detection, TPAMI 2015, Sec. 4: Felzenszwalb's
    segments of the same settings, a least size of 1/600 of the picture.
    """
    from skimage.segmentation import felzenszwalb  # loads scipy

    index, distance = _colours(pixels)
    height, width = index.shape
    part = felzenszwalb(pixels, scale=50, sigma=0.5, min_size=max(2, index.size // 600))
    count = np.bincount(part.ravel()).astype(float)
    shown = np.zeros((len(count), len(distance)))
    np.add.at(shown, (part.ravel(), index.ravel()), 1)
    shown /= count[:, None]  # the colours of each region
    y, x = ((np.arange(n) + 0.5) / n for n in (height, width))
    at = np.stack(np.broadcast_arrays(y[:, None], x[None]), -1).reshape(-1, 2)
    centre = np.stack([np.bincount(part.ravel(), at[:, axis]) for axis in (0, 1)], 1) / count[:, None]
    apart = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    off = np.bincount(part.ravel(), np.linalg.norm(at - 0.5, axis=1)) / count
    weight = np.exp(-apart / reach) * (count / index.size)
    np.fill_diagonal(weight, 0)
    contrast = (weight * (shown @ distance @ shown.T)).sum(1) * np.exp(-9 * off**2)
    return _from_0_to_1(contrast[part])


def salient(contrast: np.ndarray, threshold: float) -> np.ndarray:
    """Return where a map from 0 to 1 is at least ``threshold``, ``(H, W)`` bool; everywhere if nowhere."""
    mask = contrast >= threshold
    return mask if mask.any() else np.ones_like(mask)


def _colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's colour, ``(H, W)``, among n that are kept, and the distances of these in Lab."""
    flat = pixels.reshape(-1, 3)
    levels = flat.astype(np.int64) * LEVELS // 256
    code = (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]
    _, of, count = np.unique(code, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(of, flat[:, c]) for c in range(3)], 1) / count[:, None]
    lab = rgb_to_lab(torch.from_numpy(mean / 255)[:, :, None, None])[:, :, 0, 0].numpy()
    order = np.argsort(-count, kind="stable")
    kept = order[: 1 + int(np.searchsorted(np.cumsum(count[order]), COVERED * len(flat)))]
    nearest = np.linalg.norm(lab[:, None] - lab[kept][None], axis=2).argmin(1)
    distance = np.linalg.norm(lab[kept][:, None] - lab[kept][None], axis=2)
    return nearest[of].reshape(pixels.shape[:2]), distance


def _smoothed(value: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return values ``(n,)`` of colours, each the mean over the nearest quarter of all, by nearness."""
    count = min(len(value), max(2, len(value) // 4))
    if count < 2:
        return value
    near = np.argsort(distance, axis=1, kind="stable")[:, :count]
    away = np.take_along_axis(distance, near, 1)
    total = away.sum(1, keepdims=True)
    weight = np.where(total > 0, total - away, 1.0)
    return (weight * value[near]).sum(1) / weight.sum(1)


def _from_0_to_1(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
