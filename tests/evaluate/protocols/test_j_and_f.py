import math

import numpy as np
import pytest
import torch

from vergence.evaluate.protocols.j_and_f import contour_accuracy, j_and_f, outlines, region_similarity


def blobs(count, seed, shape=(24, 30)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    result = []
    for _ in range(count):
        cy, cx, r = rng.integers(4, 20), rng.integers(4, 26), rng.integers(2, 9)
        result.append((y - cy) ** 2 + (x - cx) ** 2 < r**2)
    return torch.from_numpy(np.stack(result))


def slow_outline(mask):
    """As DAVIS's published code has it, pixel by pixel."""
    h, w = mask.shape
    edge = np.zeros((h, w), bool)
    for y in range(h):
        for x in range(w):
            down, right = min(y + 1, h - 1), min(x + 1, w - 1)
            edge[y, x] = (
                mask[y, x] != mask[y, right] or mask[y, x] != mask[down, x] or mask[y, x] != mask[down, right]
            )
    edge[-1, -1] = False
    return edge


def slow_f(mask, truth, tolerance):
    reach = math.ceil(tolerance * math.hypot(*mask.shape))
    own, true = np.argwhere(slow_outline(mask)), np.argwhere(slow_outline(truth))
    if not len(own) or not len(true):
        return float(len(own) == len(true))
    far = np.linalg.norm(own[:, None] - true[None], axis=2)
    precision, recall = (far.min(1) <= reach).mean(), (far.min(0) <= reach).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0.008, 0.05])
def test_f_equals_the_outlines_compared_pixel_by_pixel(tolerance):
    masks, truth = blobs(12, 0), blobs(12, 1)
    masks[0], truth[1] = False, False
    masks[2] = truth[2] = False
    assert (outlines(masks).numpy() == [slow_outline(m) for m in masks.numpy()]).all()
    expected = [slow_f(m, t, tolerance) for m, t in zip(masks.numpy(), truth.numpy(), strict=True)]
    assert contour_accuracy(masks, truth, tolerance=tolerance).tolist() == pytest.approx(expected)


def test_j_is_the_share_of_pixels_in_common():
    masks, truth = blobs(6, 2), blobs(6, 3)
    masks[5] = truth[5] = False
    expected = [
        (m & t).sum() / (m | t).sum() if (m | t).any() else 1.0 for m, t in zip(masks, truth, strict=True)
    ]
    assert region_similarity(masks, truth).tolist() == pytest.approx([float(e) for e in expected])


def test_clips_count_alike_however_long_they_are():
    truth = blobs(10, 4)
    masks = truth.clone()
    masks[8:] = False  # the second clip, of two frames, is missed
    clip = torch.tensor([3] * 8 + [7] * 2)
    result = j_and_f(masks, truth, clip)
    assert {name: score.value for name, score in result.items()} == {"J": 0.5, "F": 0.5, "J&F": 0.5}
    assert result["J"].n == 2
    assert j_and_f(truth, truth, clip)["J&F"].low == 1
