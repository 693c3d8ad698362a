import itertools

import pytest
import torch

from vergence.nets.permutations import from_tiles, permutation_bank, permuted, to_tiles
from vergence.nets.reversal import reverse_gradient


def least_distance(bank):
    return min(int((a != b).sum()) for a, b in itertools.combinations(bank, 2))


@pytest.mark.parametrize(("tiles", "count"), [(4, 4), (9, 9), (9, 64), (27, 16)])
def test_a_bank_holds_different_orders_that_are_far_apart(tiles, count):
    bank = permutation_bank(tiles, count)
    assert bank.shape == (count, tiles) and (bank.sort(1).values == torch.arange(tiles)).all()
    assert torch.equal(bank, permutation_bank(tiles, count))
    assert not torch.equal(bank, permutation_bank(tiles, count, seed=1))
    random = torch.stack([torch.randperm(tiles) for _ in range(count)])
    assert least_distance(bank) > least_distance(random) or least_distance(bank) == tiles


def test_as_many_orders_as_tiles_differ_everywhere_where_all_orders_are_looked_at():
    assert least_distance(permutation_bank(4, 4)) == 4  # a Latin square
    assert len({tuple(row) for row in permutation_bank(4, 24).tolist()}) == 24
    assert permutation_bank(6, 5, keep_order=True)[0].tolist() == list(range(6))
    with pytest.raises(ValueError, match="4 tiles have 24 orders; got count=25"):
        permutation_bank(4, 25)


@pytest.mark.parametrize(("shape", "grid"), [((2, 3, 6, 9), (2, 3)), ((2, 1, 4, 4, 6), (2, 2, 3))])
def test_tiles_lie_where_the_grid_has_them_and_go_back(shape, grid):
    x = torch.arange(torch.tensor(shape).prod()).view(shape).float()
    tiles = to_tiles(x, grid)
    assert torch.equal(from_tiles(tiles, grid), x)
    sides = [s // g for s, g in zip(shape[2:], grid, strict=True)]
    for n, place in enumerate(itertools.product(*map(range, grid))):
        cut = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, sides, strict=True))
        assert torch.equal(tiles[:, n], x[(slice(None), slice(None), *cut)])


def test_ends_that_do_not_fit_are_left_out_and_wrong_grids_refused():
    assert to_tiles(torch.zeros(1, 3, 32, 32), (3, 3)).shape == (1, 9, 3, 10, 10)
    with pytest.raises(ValueError, match="does not cut"):
        to_tiles(torch.zeros(1, 3, 2, 2), (3, 3))
    with pytest.raises(ValueError, match="does not cut"):
        to_tiles(torch.zeros(1, 3, 8, 8), (2, 2, 2))


def test_each_sample_gets_its_own_order():
    tiles = torch.arange(6.0).view(2, 3, 1)
    order = torch.tensor([[2, 0, 1], [0, 2, 1]])
    assert permuted(tiles, order)[..., 0].tolist() == [[2, 0, 1], [3, 5, 4]]


def test_a_reversed_gradient_points_the_other_way():
    x = torch.randn(4, 3, requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(y, x)
    (y**2).sum().backward()
    torch.testing.assert_close(x.grad, -0.3 * 2 * x.detach())
