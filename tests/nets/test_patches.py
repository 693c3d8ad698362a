import pytest
import torch
from torch.nn.functional import conv3d

from vergence.core import BadInput
from vergence.nets.patches import PatchEmbed, grid_of, patchify, positions_at, sincos, take, unpatchify


@pytest.mark.parametrize(
    ("sizes", "patch"),
    [((8, 12), (4, 2)), ((4, 6, 6), (2, 3, 2)), ((6,), (3,))],
    ids=["image", "clip", "row"],
)
def test_cells_lie_row_by_row_and_go_back_together(sizes, patch):
    values = torch.randn(2, 3, *sizes)
    cells, grid = patchify(values, patch), grid_of(sizes, patch)
    assert torch.equal(unpatchify(cells, patch, grid), values)
    places = torch.cartesian_prod(*(torch.arange(g) for g in grid)).view(-1, len(grid))
    for n, place in enumerate(places):
        inside = [slice(int(at) * side, (int(at) + 1) * side) for at, side in zip(place, patch, strict=True)]
        cell = values[(slice(None), slice(None), *inside)].movedim(1, -1).flatten(1)
        assert torch.equal(cells[:, n], cell)


def test_cells_need_sizes_that_are_multiples():
    with pytest.raises(BadInput, match="Cells of 4 x 4 need sizes that are multiples; got 8 x 10"):
        patchify(torch.zeros(1, 3, 8, 10), (4, 4))
    with pytest.raises(BadInput, match="Cells of 2 x 4 x 4"):
        patchify(torch.zeros(1, 3, 8, 8), (2, 4, 4))


def test_tubelets_are_embedded_as_by_a_strided_convolution():
    embed, clip = PatchEmbed((2, 4, 4), 10, channels=1), torch.randn(2, 1, 4, 8, 8)
    kernel = embed.proj.weight.view(10, 1, 2, 4, 4)
    expected = conv3d(clip, kernel, embed.proj.bias, stride=(2, 4, 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(clip), expected)


def test_only_kept_cells_are_embedded():
    embed, pixels = PatchEmbed(4, 10), torch.randn(2, 3, 8, 12, requires_grad=True)
    keep = torch.tensor([[0, 5], [2, 3]])
    kept = embed(pixels, keep)
    torch.testing.assert_close(kept, take(embed(pixels), keep))
    (gradient,) = torch.autograd.grad(kept.sum(), pixels)
    shown = torch.zeros(2, 6, dtype=torch.bool).scatter_(1, keep, True)
    assert torch.equal(patchify(gradient, (4, 4)).abs().amax(2) > 0, shown)


def test_positions_of_a_grid_of_three_axes_are_waves_of_each():
    waves = sincos((2, 3, 4), 6)
    assert waves.shape == (1, 24, 6)
    place = torch.tensor([1.0, 2.0, 3.0])  # the last cell: frame 1, row 2, column 3
    expected = torch.stack([place.sin(), place.cos()], 1).flatten()
    torch.testing.assert_close(waves[0, -1], expected)
    assert torch.equal(positions_at(waves, torch.tensor([[23, 0]]))[0, 0], waves[0, 23])
    with pytest.raises(BadInput, match="multiple of 6; got 8"):
        sincos((2, 3, 4), 8)
