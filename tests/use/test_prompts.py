import pytest
import torch
from torch.nn.functional import cosine_similarity

from vergence.core import Features
from vergence.use.prompts import cells_at, prompt_similarity, prompted


def features(seed=0):
    tokens = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(seed))
    return Features(tokens.mean(1), tokens, (3, 4), (4.0, 4.0), (2.0, 2.0))


def test_a_point_asks_for_the_patch_that_it_lies_in():
    points = torch.tensor([[[0.0, 0.0], [15.9, 11.9], [4.1, 3.9]]]).expand(2, -1, -1)
    assert cells_at(features(), points).tolist() == [[0, 11, 1]] * 2


def test_similarities_are_cosines_with_the_patch():
    seen, points = features(), torch.tensor([[[5.0, 5.0], [1.0, 9.0]], [[13.0, 1.0], [9.0, 9.0]]])
    maps = prompt_similarity(seen, points)
    assert maps.shape == (2, 2, 3, 4)
    for b, cells in enumerate([[5, 8], [3, 10]]):
        for k, cell in enumerate(cells):
            expected = cosine_similarity(seen.tokens[b, cell], seen.tokens[b], dim=-1).view(3, 4)
            torch.testing.assert_close(maps[b, k], expected)
    assert maps[0, 0, 1, 1].item() == pytest.approx(1)


def test_masks_shrink_as_the_threshold_rises_and_lengths_do_not_count():
    seen, points = features(), torch.tensor([[[5.0, 5.0]], [[13.0, 1.0]]])
    low, high = (prompted(seen, points, (12, 16), threshold=t) for t in (0.0, 0.6))
    assert low.shape == (2, 1, 12, 16)
    assert (low | high).equal(low) and high.sum() < low.sum()
    longer = Features(seen.pooled, 7 * seen.tokens, seen.grid, seen.stride, seen.offset)
    assert prompted(longer, points, (12, 16), threshold=0.6).equal(high)


def test_what_is_no_point_is_answered():
    with pytest.raises(ValueError, match=r"points \(B, K, 2\)"):
        prompt_similarity(features(), torch.zeros(2, 2))
