import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from vergence.core import BadInput, Features
from vergence.evaluate.protocols.miou import confusion, mean_iou, miou, token_classes


def test_confusion_and_mean_iou_equal_scikit_learns():
    torch.manual_seed(0)
    truth, guess = torch.randint(-1, 4, (6, 9, 7)), torch.randint(0, 4, (6, 9, 7))
    tables = confusion(guess, truth, 5)
    known = truth >= 0
    for i in range(6):
        expected = confusion_matrix(truth[i][known[i]], guess[i][known[i]], labels=range(5))
        assert (tables[i].numpy() == expected).all()
    score = mean_iou(tables)
    assert score.value == pytest.approx(jaccard_score(truth[known], guess[known], average="macro"))
    assert score.low < score.value < score.high and score.n == 6


def test_a_class_that_is_nowhere_does_not_count_and_a_perfect_guess_is_one():
    truth = torch.tensor([[[0, 0, 2, 2]]])
    score = mean_iou(confusion(truth, truth, 9))
    assert (score.value, score.low, score.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="pixels of a known class"):
        mean_iou(confusion(truth, truth - 9, 3))


def on_grid(cells, stride, offset):
    """Return features of maps ``(B, D, h, w)``."""
    return Features.of_map(cells.mean((2, 3)), cells, stride=(stride, stride), offset=(offset, offset))


@pytest.mark.parametrize(("stride", "offset"), [(4, 2.0), (4, 0.5)])
def test_a_token_has_the_class_of_most_pixels_around_it(stride, offset):
    torch.manual_seed(1)
    masks = torch.randint(-1, 3, (3, 8, 12))
    result = token_classes(masks, on_grid(torch.zeros(3, 1, 2, 3), stride, offset)).view(3, 2, 3)

    def near(n, k):  # pixels of n that are about token k, the first of two where they are as far from both
        away = torch.arange(n) + 0.5 - (offset + k * stride)
        return (away >= -stride / 2) & (away < stride / 2)

    for b in range(3):
        for i in range(2):
            for j in range(3):
                cell = masks[b][near(8, i)][:, near(12, j)].flatten()
                votes = np.bincount(cell[cell >= 0], minlength=3)
                assert votes[result[b, i, j]] == votes.max()
    assert (token_classes(torch.full((1, 4, 4), -1), on_grid(torch.zeros(1, 1, 1, 1), 4, 2.0)) == -1).all()
    with pytest.raises(BadInput, match="a whole number of pixels apart"):
        token_classes(masks, on_grid(torch.zeros(3, 1, 2, 3), 4.5, 2.0))


def half_and_half(count, noise, seed, offset=2.0):
    """Pictures whose left part is one class and whose right is another; a token sees one pixel."""
    generator = torch.Generator().manual_seed(seed)
    cut = torch.randint(4, 28, (count,), generator=generator)
    masks = (torch.arange(32) >= cut[:, None]).long()[:, None].expand(count, 32, 32)
    place = (torch.arange(8) * 4 + offset).long()
    maps = torch.nn.functional.one_hot(masks[:, place][:, :, place], 2).permute(0, 3, 1, 2).float()
    maps = maps + noise * torch.randn(maps.shape, generator=generator)
    return on_grid(maps, 4, offset), masks


@pytest.mark.parametrize("offset", [2.0, 0.5])
def test_a_linear_probe_finds_what_tokens_tell_where_they_say_that_they_are(offset):
    train, test = half_and_half(40, 0.1, 0, offset), half_and_half(20, 0.1, 1, offset)
    good = miou(*train, *test)
    assert good.value > 0.9
    moved = on_grid(test[0].map, 4, 4 - offset) if offset != 2.0 else on_grid(test[0].map, 4, 0.5)
    assert miou(*train, moved, test[1]).value < good.value - 0.02
    few = miou(*train, *test, most=300)
    assert few.value > 0.9


def test_noise_tells_nothing_and_one_class_is_not_enough():
    train, test = half_and_half(40, 0.1, 0), half_and_half(20, 0.1, 1)
    noise = [on_grid(torch.randn(n, 2, 8, 8), 4, 2.0) for n in (40, 20)]
    assert miou(noise[0], train[1], noise[1], test[1]).high < 0.5
    with pytest.raises(BadInput, match="2 or more classes to learn from; got 1"):
        miou(train[0], train[1] * 0, *test)
