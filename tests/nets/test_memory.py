import copy

import pytest
import torch
from torch.nn.functional import normalize

from vergence.nets.memory import MemoryBank, MemoryQueue


def unit(*shape):
    return normalize(torch.randn(*shape), dim=1)


def test_a_bank_starts_as_unit_rows_and_moves_those_that_are_written():
    bank = MemoryBank(4, momentum=0.25)
    bank.start(10, "cpu")
    before, new = bank.rows.clone(), unit(2, 4)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(10))
    bank.write(torch.tensor([7, 2]), new)
    torch.testing.assert_close(bank.rows[[7, 2]], normalize(0.25 * before[[7, 2]] + 0.75 * new, dim=1))
    rest = [i for i in range(10) if i not in (2, 7)]
    assert torch.equal(bank.rows[rest], before[rest])
    with pytest.raises(ValueError, match=r"momentum in \[0, 1\); got 1"):
        MemoryBank(4, momentum=1)


def test_a_queue_is_the_last_rows_of_all_that_came_whatever_the_pieces():
    queue = MemoryQueue(7, 3)
    assert queue.filled == 0 and (queue.rows[0].norm(dim=1) - 1).abs().max() < 1e-5
    came = unit(40, 3)
    start = 0
    for count in (3, 3, 5, 1, 12, 7, 2):
        queue.push(came[start : start + count])
        start += count
        held = {tuple(row) for row in queue.rows[0].tolist()}
        last = {tuple(row) for row in came[max(0, start - 7) : start].tolist()}
        assert last <= held and int(queue.filled) == min(start, 7)


def test_kinds_of_rows_stay_in_step_and_a_copy_goes_on_alike():
    queue = MemoryQueue(6, 2, 1)
    numbers = torch.arange(10.0)
    for part in numbers.split([4, 3, 3]):
        queue.push(part[:, None].expand(-1, 2), part[:, None])
    first, second = queue.rows
    assert torch.equal(first[:, :1], second) and sorted(second[:, 0].tolist()) == [4, 5, 6, 7, 8, 9]
    again = MemoryQueue(6, 2, 1)
    again.load_state_dict(copy.deepcopy(queue.state_dict()))
    for each in (queue, again):
        each.push(torch.zeros(2, 2), torch.zeros(2, 1))
    assert all(torch.equal(a, b) for a, b in zip(queue.rows, again.rows, strict=True))
    with pytest.raises(ValueError, match=r"takes 2 kinds of rows, equally many of each; got \[3\]"):
        queue.push(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="size and widths of 1 or more"):
        MemoryQueue(0, 4)


def test_memories_have_no_gradient():
    queue = MemoryQueue(4, 2)
    queue.push(torch.randn(3, 2, requires_grad=True))
    bank = MemoryBank(2)
    bank.start(3, "cpu")
    bank.write(torch.tensor([0]), torch.randn(1, 2, requires_grad=True))
    assert not queue.rows[0].requires_grad and not bank.rows.requires_grad
    assert not list(queue.parameters()) + list(bank.parameters())


def test_the_nearest_rows_are_those_of_the_largest_product():
    queue, asking = MemoryQueue(9, 4, 2), normalize(torch.randn(3, 4), dim=1)
    rows, products = queue.nearest(asking, 5)
    assert rows.shape == (3, 5, 4) and products.shape == (3, 5)
    for vector, result, how in zip(asking, rows, products, strict=True):
        order = sorted(range(9), key=lambda i: -float(queue.rows[0][i] @ vector))[:5]
        torch.testing.assert_close(result, queue.rows[0][order])
        torch.testing.assert_close(how, queue.rows[0][order] @ vector)


def test_a_queue_is_cut_to_what_there_is():
    queue = MemoryQueue(9, 4, 2)
    assert queue.at_most(9) is queue
    assert [rows.shape for rows in queue.at_most(3).rows] == [(3, 4), (3, 2)]
