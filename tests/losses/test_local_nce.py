import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vergence.losses import contrast, local_nce


def drawn(images=5, cells=3, width=4, more=0):
    torch.manual_seed(0)
    sources = 2 * torch.randn(images, width).double()
    return sources.requires_grad_(), (2 * torch.randn(images + more, cells, width).double()).requires_grad_()


@pytest.mark.parametrize("clip", [2.0, None])
def test_local_nce_equals_its_formula_written_as_loops(clip):
    sources, cells = drawn(more=2)
    total, squares = 0.0, 0.0

    def score(i, j, n):
        raw = (sources[i] @ cells[j, n]).item() / 2
        return raw, raw if clip is None else clip * math.tanh(raw / clip)

    for i in range(5):
        others = [score(i, j, n)[1] for j in range(7) if j != i for n in range(3)]
        for n in range(3):
            own = score(i, i, n)[1]
            total -= math.log(math.exp(own) / (math.exp(own) + sum(map(math.exp, others)))) / 15
        squares += sum(score(i, j, n)[0] ** 2 for j in range(7) for n in range(3)) / (5 * 7 * 3)
    cost, square = local_nce(sources, cells, clip=clip)
    assert cost.item() == pytest.approx(total)
    assert square.item() == pytest.approx(squares)


def test_other_cells_of_the_same_image_are_no_negatives():
    sources, cells = drawn()
    moved = cells.detach().clone()
    moved[0, 1] = 100 * sources[0].detach()  # a cell of the first image that its vector finds at once
    got = local_nce(sources[:1], moved)[0]
    first, second, third = (
        local_nce(sources[:1], torch.cat([moved[:1, n : n + 1].expand(1, 3, 4), moved[1:]]))[0]
        for n in range(3)
    )
    torch.testing.assert_close(got, (first + second + third) / 3)


def test_a_clip_bounds_the_cost_and_the_right_image_costs_less():
    sources, cells = (x.detach() for x in drawn())
    far = local_nce(100 * sources, cells.roll(1, 0), clip=3.0)[0]
    assert far <= math.log(1 + 12 * math.exp(6))
    own = sources[:, None].expand(5, 3, 4)
    assert local_nce(sources, own)[0] < local_nce(sources, own.roll(1, 0))[0]


@pytest.mark.parametrize("clip", [20.0, None])
def test_blocks_give_the_same_cost_and_gradients(monkeypatch, clip):
    given = drawn(more=2)
    whole = local_nce(*given, clip=clip)
    wanted = torch.autograd.grad(whole[0] + 3 * whole[1], given)
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 2 * 21)
    blocks = local_nce(*given, clip=clip)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(torch.autograd.grad(blocks[0] + 3 * blocks[1], given), wanted)
    assert torch.autograd.gradcheck(lambda s, c: local_nce(s, c, clip=clip), given)


class Largest(TorchDispatchMode):
    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return out


def test_no_tensor_grows_with_images_times_cells(monkeypatch):
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 2**14)
    sources, cells = torch.randn(200, 4, requires_grad=True), torch.randn(200, 9, 4, requires_grad=True)
    with Largest() as seen:
        local_nce(sources, cells)[0].backward()
    assert seen.numel <= 2**14


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match=r"sources \(B, D\) and cells \(M, N, D\)"):
        local_nce(torch.zeros(3, 4), torch.zeros(2, 5, 4))
