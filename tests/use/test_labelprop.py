"""Labels carried through clips: exact where frames are equal, mixtures everywhere, by the paper's sums."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, one_hot

from vergence.core import Features
from vergence.core.errors import BadInput
from vergence.use.affinity import propagate
from vergence.use.labelprop import label_shares, pixel_labels, propagate_labels, track_masks


def clip(frames=5, d=16, h=6, w=7, seed=0):
    return torch.randn(frames, d, h, w, generator=torch.Generator().manual_seed(seed))


def mixture(c=3, h=6, w=7):
    return torch.rand(c, h, w, generator=torch.Generator().manual_seed(1)).softmax(0)


def test_equal_frames_give_the_labels_back_with_one_neighbour():
    still, first = clip(1).expand(6, -1, -1, -1), mixture()
    for label in propagate_labels(still, first, k=1, temperature=0.05):
        torch.testing.assert_close(label, first)


def test_labels_move_with_what_moves_and_stay_mixtures():
    ground = clip(1, w=20)[0]
    frames = [ground.roll(t, 2) for t in range(5)]
    first = one_hot(torch.arange(20).expand(6, 20) // 7, 3).permute(2, 0, 1).float()
    for t, label in enumerate(propagate_labels(frames, first, k=1, radius=None, memory=2)):
        torch.testing.assert_close(label, first.roll(t, 2))
    for label in propagate_labels(clip(), mixture(), k=4, radius=2):
        torch.testing.assert_close(label.sum(0), torch.ones(6, 7))
        assert label.min() >= 0


@pytest.mark.parametrize("keep_first", [True, False])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("memory", [1, 3])
def test_the_references_are_the_first_frame_and_the_last_ones_with_their_labels(keep_first, hard, memory):
    frames, first = clip(6), mixture()
    result = list(
        propagate_labels(
            frames, first, k=3, radius=2, memory=memory, temperature=0.1, keep_first=keep_first, hard=hard
        )
    )
    labels = [first]
    for t in range(1, 6):
        last = [i for i in range(t) if i >= t - memory and (i > 0 or not keep_first)]
        known = ([0] if keep_first else []) + last
        expected = propagate(
            frames[t][None], frames[known][None], torch.stack([labels[i] for i in known])[None],
            k=3, radius=2, temperature=0.1,
        )[0]  # fmt: skip
        torch.testing.assert_close(result[t], expected)
        labels.append(one_hot(expected.argmax(0), 3).permute(2, 0, 1).float() if hard else expected)


def features(cells, stride, offset):
    return Features.of_map(cells.mean((2, 3)), cells, stride=(stride, stride), offset=(offset, offset))


def test_cells_get_the_shares_of_the_area_around_their_centres():
    classes = torch.randint(0, 3, (12, 20), generator=torch.Generator().manual_seed(0))
    whole = one_hot(classes, 3).permute(2, 0, 1).float()
    even = label_shares(classes, 3, features(torch.zeros(1, 1, 3, 5), 4, 2.0))
    torch.testing.assert_close(even, avg_pool2d(whole, 4))
    shifted = label_shares(classes, 3, features(torch.zeros(1, 1, 3, 5), 4, 0.5))
    torch.testing.assert_close(shifted.sum(0), torch.ones(3, 5))
    rows, columns = slice(3, 6), slice(7, 10)  # of pixels wholly in the cell from 2.5 to 6.5, 6.5 to 10.5
    weight_y, weight_x = torch.tensor([0.5, 1, 1, 1, 0.5]), torch.tensor([0.5, 1, 1, 1, 0.5])
    cell = whole[:, 2:7, 6:11] * weight_y[:, None] * weight_x
    torch.testing.assert_close(shifted[:, 1, 2], cell.sum((1, 2)) / 16)
    assert classes[rows, columns].numel() == 9


@pytest.mark.parametrize("offset", [4.0, 0.5])
def test_a_mask_on_pixels_comes_back_from_its_cells(offset):
    classes = torch.zeros(64, 64, dtype=torch.int64)
    classes[16:40, 24:56] = 1
    grid = features(torch.zeros(1, 1, 8, 8), 8, offset)
    back = pixel_labels(label_shares(classes, 2, grid), grid, classes.shape)
    both, either = ((back & classes) > 0).sum(), ((back | classes) > 0).sum()
    assert both / either > (0.9 if offset == 4 else 0.8)  # cells of the second straddle its edges


def test_masks_follow_a_thing_through_frames():
    generator = torch.Generator().manual_seed(2)
    ground = torch.randn(12, 8, 8, generator=generator)
    thing = torch.randn(12, 1, 1, generator=generator) * 3
    frames, masks = [], []
    for t in range(5):
        cells, mask = ground.clone(), torch.zeros(64, 64, dtype=torch.int64)
        cells[:, 2:4, t : t + 3] = thing
        mask[16:32, 8 * t : 8 * t + 24] = 1
        frames.append(features(cells[None], 8, 4.0))
        masks.append(mask)
    result = track_masks(frames, masks[0], k=1, radius=3, memory=2)
    assert result.shape == (5, 64, 64) and torch.equal(result[0], masks[0])
    assert (result == torch.stack(masks)).float().mean() > 0.97


def test_what_cannot_be_followed_is_one_line():
    with pytest.raises(BadInput, match="There is nothing to follow"):
        track_masks([features(torch.zeros(1, 2, 3, 3), 4, 2.0)], torch.zeros(12, 12))
    with pytest.raises(BadInput, match="a memory of 1 or more; got memory=0"):
        list(propagate_labels(clip(), mixture(), memory=0, keep_first=False))
    with pytest.raises(BadInput, match=r"Labels of \(6, 7\) cells do not fit maps of \(3, 7\)"):
        list(propagate_labels([torch.zeros(4, 3, 7)], mixture()))
    with pytest.raises(BadInput, match="tokens on a grid with stride and offset"):
        label_shares(torch.ones(4, 4), 2, Features.of_map(torch.zeros(1, 2), torch.zeros(1, 2, 2, 2)))
