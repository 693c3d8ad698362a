"""The flat GRU is torch's, gradient and all."""

import pytest
import torch

from vergence.nets.gru import GRU, time_major


def histories():
    torch.manual_seed(0)
    lengths = torch.tensor([3, 1, 90, 7])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return torch.randn(int(offsets[-1]), 5), offsets


def torchs(net, x, offsets):
    parts = [x[a:b] for a, b in zip(offsets, offsets[1:], strict=False)]
    return torch.cat([net.gru(part[:, None])[1][0] for part in parts])


def test_states_and_gradients_equal_torchs_one_sequence_at_a_time():
    x, offsets = histories()
    net, weight = GRU(5, 6), torch.randn(4, 6)
    grads = []
    for run in (lambda x: net(x, offsets), lambda x: torchs(net, x, offsets)):
        net.zero_grad()
        given = x.clone().requires_grad_()
        out = run(given)
        (out * weight).sum().backward()
        grads.append([out, given.grad, *(p.grad.clone() for p in net.parameters())])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_gradient_the_states_are_the_same():
    x, offsets = histories()
    net = GRU(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(net(x, offsets), torchs(net, x, offsets))


def test_bfloat16_stays_near():
    x, offsets = histories()
    net = GRU(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        result = net(x, offsets)
    assert result.dtype == torch.float32
    assert (result - net(x, offsets)).abs().max().item() == pytest.approx(0, abs=0.03)


def test_time_major_puts_each_event_at_its_step():
    rows, sizes, back = time_major(torch.tensor([0, 2, 5, 6]))  # lengths 2, 3, 1
    assert rows.tolist() == [2, 0, 5, 3, 1, 4] and sizes.tolist() == [3, 2, 1] and back.tolist() == [1, 0, 2]
