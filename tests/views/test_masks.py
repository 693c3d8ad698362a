"""Masks of grids of tokens: exact shares, groups, tubes, and I-JEPA's blocks and contexts."""

import math

import pytest
import torch

from vergence.core import BadInput
from vergence.views.masks import (
    block_mask,
    cover,
    multi_block,
    random_mask,
    shown_and_hidden,
    stratified_ratios,
    tube_mask,
)


@pytest.mark.parametrize("draw", [random_mask, block_mask])
@pytest.mark.parametrize("ratio", [0.0, 0.4, (0.1, 0.5)])
def test_masks_hide_exactly_their_share(draw, ratio):
    g = torch.Generator().manual_seed(0)
    mask = draw(64, (14, 12), ratio, generator=g)
    assert mask.shape == (64, 168) and mask.dtype == torch.bool
    if isinstance(ratio, float):
        assert (mask.sum(1) == round(168 * ratio)).all()
    else:
        share = mask.float().mean(1).sort().values
        even = 0.1 + 0.4 * (torch.arange(64) + 0.5) / 64  # one sample in every 64th of the range
        assert (share - even).abs().max() < 0.4 / 128 + 0.5 / 168 + 1e-6


def test_ratios_cover_their_range_evenly_and_in_random_order():
    ratios = stratified_ratios(100, (0.2, 0.8), generator=torch.Generator().manual_seed(0))
    part = ((ratios - 0.2) / 0.6 * 100).floor()
    assert part.sort().values.tolist() == list(range(100)) and part.tolist() != list(range(100))


def test_block_masks_hang_together_and_random_ones_do_not():
    def neighbours(mask):
        mask = mask.view(-1, 14, 14).float()
        return (mask[:, 1:] * mask[:, :-1]).sum() / mask.sum()

    g = torch.Generator().manual_seed(0)
    assert neighbours(block_mask(200, 14, 0.3, generator=g)) > 0.7
    assert neighbours(random_mask(200, 14, 0.3, generator=g)) < 0.35


def test_masks_reach_every_patch():
    mask = block_mask(4000, 8, 0.4, generator=torch.Generator().manual_seed(0)).float().mean(0).view(8, 8)
    assert mask.min() > 0.08 and mask.max() < 0.75
    assert (mask - mask.flip(0)).abs().max() < 0.04 and (mask - mask.flip(1)).abs().max() < 0.04


@pytest.mark.parametrize("draw", [random_mask, block_mask])
@pytest.mark.parametrize("grid", [(6,), (4, 6, 5)])
def test_masks_of_other_grids_hide_exactly_their_share_and_repeat_with_a_seed(draw, grid):
    first, second = (draw(16, grid, 0.4, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.sum(1) == round(0.4 * math.prod(grid))).all()


def test_blocks_of_a_volume_hang_together_along_every_axis():
    mask = block_mask(100, (8, 8, 8), 0.3, generator=torch.Generator().manual_seed(0)).view(-1, 8, 8, 8)
    for axis in (1, 2, 3):
        first, second = mask.narrow(axis, 0, 7), mask.narrow(axis, 1, 7)
        assert (first & second).sum() > 0.6 * mask.sum()


@pytest.mark.parametrize("draw", [random_mask, block_mask])
def test_tubes_hide_the_same_places_in_every_frame(draw):
    mask = tube_mask(8, (3, 6, 6), 0.75, draw=draw, generator=torch.Generator().manual_seed(0))
    frames = mask.view(8, 3, 36)
    assert (frames == frames[:, :1]).all() and (frames.sum(2) == 27).all()
    assert not torch.equal(frames[0], frames[1])
    with pytest.raises(BadInput, match="frames and places"):
        tube_mask(8, (36,), 0.75)


def test_visible_and_hidden_places_are_the_mask():
    mask = random_mask(5, 4, 0.75)
    visible, hidden = shown_and_hidden(mask)
    for row, seen, gone in zip(mask, visible, hidden, strict=True):
        assert seen.tolist() == (~row).nonzero().flatten().tolist()
        assert gone.tolist() == row.nonzero().flatten().tolist()
    with pytest.raises(BadInput, match="hide equally many; got 1 to 2 of 3"):
        shown_and_hidden(torch.tensor([[True, False, False], [True, True, False]]))


def rectangle(places, width):
    """Return top, left, height and width of places that fill a rectangle, None of others."""
    rows, columns = places // width, places % width
    top, left = int(rows.min()), int(columns.min())
    tall, wide = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    filled = len(set(places.tolist())) == len(places) == tall * wide
    return (top, left, tall, wide) if filled else None


def test_target_blocks_are_rectangles_of_one_size_and_contexts_have_none_of_them():
    generator = torch.Generator().manual_seed(0)
    sizes, at_border = set(), 0
    for _ in range(20):
        context, blocks = multi_block(16, 14, generator=generator)
        assert blocks.shape[:2] == (16, 4) and len(context) == 16
        result = [rectangle(places, 14) for sample in blocks for places in sample]
        assert None not in result and len({box[2:] for box in result}) == 1
        (tall, wide) = result[0][2:]
        sizes.add((tall, wide))
        assert 0.15 * 196 - 4 < tall * wide < 0.2 * 196 + 4 and 0.6 < tall / wide < 1.8
        at_border += sum(top + tall == 14 for top, *_ in result)
        for seen, hidden in zip(context, blocks, strict=True):
            assert not set(seen.tolist()) & set(hidden.flatten().tolist())
            assert seen.tolist() == sorted(set(seen.tolist())) and seen.max() < 196
        assert context.shape[1] >= 196 - 4 * blocks.shape[2] - 27  # the square is 13 x 13 or more
    assert len(sizes) > 3
    assert at_border > 60  # of 1,280: about one in ten


def test_contexts_are_as_long_as_the_shortest_and_lie_in_the_square_where_it_has_enough():
    generator = torch.Generator().manual_seed(1)
    context, blocks = multi_block(64, 8, context=(0.5, 0.5), blocks=1, generator=generator)
    tall = round(math.sqrt(32))
    for seen in context:
        rows, columns = seen // 8, seen % 8
        assert rows.max() - rows.min() < tall and columns.max() - columns.min() < tall
    least = tall**2 - blocks.shape[2]
    assert least <= context.shape[1] <= tall**2
    # Left out at random: every place is seen about as often as its mirror image.
    count = torch.zeros(64)
    for seed in range(30):
        context, _ = multi_block(64, 8, generator=torch.Generator().manual_seed(seed))
        count += torch.bincount(context.flatten(), minlength=64)
    count = count.view(8, 8) / count.mean()
    assert (count - count.flip(0, 1)).abs().max() < 0.25


def test_a_context_that_blocks_would_eat_up_keeps_the_least():
    context, blocks = multi_block(32, 4, least=3, generator=torch.Generator().manual_seed(0))
    assert context.shape[1] >= 3
    wide = multi_block(8, 4, scale=(1.0, 1.0), aspect=(1.0, 1.0), least=2)
    assert wide[0].shape == (8, 2) and wide[1].shape == (8, 4, 16)
    with pytest.raises(BadInput, match=r"least in 1\.\.16, the tokens of a frame; got 17"):
        multi_block(8, 4, least=17)


def test_blocks_of_clips_reach_through_all_frames():
    context, blocks = multi_block(4, (3, 8, 8), generator=torch.Generator().manual_seed(0))
    flat, flat_blocks = multi_block(4, (8, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(context.view(4, 3, -1), flat[:, None] + torch.tensor([[0], [64], [128]]))
    assert torch.equal(blocks.view(4, 4, 3, -1), flat_blocks[:, :, None] + torch.tensor([[0], [64], [128]]))


def test_rectangles_are_laid_until_the_budget_is_spent_as_in_a_loop():
    torch.manual_seed(1)
    corners, sides = torch.randint(9, (20, 15, 2)), torch.randint(1, 5, (20, 15, 2))
    budget = torch.rand(20)
    for b, mask in enumerate(cover(corners, sides, budget, 9)):
        slow = torch.zeros(9, 9, dtype=torch.bool)
        for (top, left), (tall, wide) in zip(corners[b].tolist(), sides[b].tolist(), strict=True):
            if slow.sum() >= budget[b] * 81:
                break
            slow[top : top + tall, left : left + wide] = True
        assert torch.equal(mask, slow)
