"""Cubic puzzles: which cells are cut, what hides the shortcuts, and the loss over 24 orders."""

import math
from itertools import permutations

import pytest
import torch
from torch.nn.functional import relu

from vergence.benchmarks.records.cubicpuzzles import swinging
from vergence.core import BadInput
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.cubicpuzzles import CubicPuzzles, Puzzle, cut
from vergence.methods.video.encoders import build

CONTRACT = {
    "source": lambda: swinging(None, 0)[0],  # the waves of the example look alike at all times
    "encoder": {"width": 4},
    "options": {"margin": (0.0, 0.125), "hidden": 64},
    "exempt": {"labels": "clips that can be put in order are all of one class; its run of record measures"},
}
PLAIN = {"scale": (1.0, 1.0)}


def make(**options):
    torch.manual_seed(0)
    encoder = build("c3d-small", size=16, frames=4, read=8, width=2)
    method = CubicPuzzles(encoder, **{"margin": (0.0, 0.0), "hidden": 16, **options})
    method.configure_views(PLAIN)
    return method


def batch_of(pixels):
    b, t = pixels.shape[:2]
    return VideoBatch(pixels, torch.arange(b), torch.full((b,), -1), torch.zeros(b, t))


@pytest.fixture
def numbered():
    """Clips whose pixels say from which of the 4 x 2 x 2 cells they are."""
    t, y, x = torch.meshgrid(
        torch.arange(8) // 2, torch.arange(16) // 8, torch.arange(16) // 8, indexing="ij"
    )
    cell = (4 * t + 2 * y + x).to(torch.uint8)
    return batch_of(cell[None, :, None].expand(40, -1, 3, -1, -1).contiguous())


@pytest.mark.parametrize("along", ["space", "time", "both"])
def test_back_in_order_the_cuboids_are_neighbours_in_space_or_time(along, numbered):
    method = make(along=along, turn=0.0)
    puzzle = method.views(numbered)
    assert puzzle.cuboids.shape == (40, 4, 2, 3, 8, 8) and not puzzle.turned.any()
    cells = (255 * puzzle.cuboids).round().flatten(2)
    assert (cells == cells[..., :1]).all()
    order = method.orders[puzzle.order]
    back = torch.zeros(40, 4).scatter_(1, order, cells[..., 0])  # the cuboid at place i was piece order[i]
    kinds = {tuple((row - row[0]).tolist()) for row in back}
    assert kinds == {"space": {(0, 1, 2, 3)}, "time": {(0, 4, 8, 12)}}.get(
        along, {(0, 1, 2, 3), (0, 4, 8, 12)}
    )
    assert len(set(puzzle.order.tolist())) > 15


def test_cuboids_are_cut_anywhere_inside_their_cells():
    clips = torch.arange(16.0).view(1, 16, 1, 1, 1) + torch.zeros(300, 16, 1, 8, 8)
    cells = torch.tensor([[0, 0, 0], [3, 1, 1]]).expand(300, -1, -1)
    seen = cut(clips, cells, (0.5, 0.25))
    assert seen.shape == (300, 2, 2, 1, 3, 3)
    first = seen[:, :, 0, 0, 0, 0]
    assert set(first[:, 0].tolist()) == {0, 1, 2} and set(first[:, 1].tolist()) == {12, 13, 14}
    assert (seen.diff(dim=2) == 1).all()


def test_one_channel_stands_for_all_and_a_clip_on_its_head_is_turned_as_a_whole(numbered):
    pixels = numbered.pixels.clone()
    pixels[:, :, 1] += 100
    method = make(along="space")
    puzzle = method.views(batch_of(pixels))
    assert (puzzle.cuboids == puzzle.cuboids[:, :, :, :1]).all()
    assert {bool(v) for v in (255 * puzzle.cuboids).round().flatten(1)[:, 0] > 50} == {True, False}
    cells = (255 * puzzle.cuboids).round()[..., 0, 0, 0, 0] % 100
    back = torch.zeros(40, 4).scatter_(1, method.orders[puzzle.order], cells)
    steps = (back - back[:, :1])[:, 1:].tolist()
    assert puzzle.turned.any() and not puzzle.turned.all()
    assert all(s == ([-1, -2, -3] if t else [1, 2, 3]) for s, t in zip(steps, puzzle.turned, strict=True))


def test_the_loss_is_the_formula_written_as_a_loop():
    method = make(turn=0.5).eval().double()
    cuboids = torch.rand(3, 4, 2, 3, 8, 8, dtype=torch.float64)
    puzzle = Puzzle(cuboids, torch.tensor([0, 7, 23]), torch.tensor([True, False, True]))
    first, last = method.answer[0], method.answer[2]
    order, turn = 0.0, 0.0
    for b in range(3):
        seen = torch.cat([method.encoder(cuboids[b, i][None]).pooled[0] for i in range(4)])
        answer = last.weight @ relu(first.weight @ seen + first.bias) + last.bias
        mass = [math.exp(value) for value in answer[:24].tolist()]
        order -= math.log(mass[int(puzzle.order[b])] / sum(mass)) / 3
        p = 1 / (1 + math.exp(-answer[24].item()))
        turn -= math.log(p if puzzle.turned[b] else 1 - p) / 3
    terms = method.loss(puzzle)
    assert terms["order"].item() == pytest.approx(order, rel=1e-5)
    assert terms["turn"].item() == pytest.approx(0.5 * turn, rel=1e-5)


def test_all_orders_are_there_and_an_answer_that_knows_nothing_costs_their_logarithm():
    method = make(turn=0.0)
    assert {tuple(row) for row in method.orders.tolist()} == set(permutations(range(4)))
    torch.nn.init.zeros_(method.answer[2].weight)
    torch.nn.init.zeros_(method.answer[2].bias)
    puzzle = Puzzle(torch.rand(2, 4, 2, 3, 8, 8), torch.tensor([3, 5]), torch.zeros(2, dtype=torch.bool))
    assert method.loss(puzzle)["order"].item() == pytest.approx(math.log(24), rel=1e-6)


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match="did you mean 'space'"):
        make(along="spaces")
    with pytest.raises(ValueError, match=r"margins in \[0, 1\)"):
        make(margin=(0.0, 1.0))
    with pytest.raises(BadInput, match="4 frames or more; got read=3"):
        CubicPuzzles(build("c3d-small", size=16, frames=3, read=3, width=2))
