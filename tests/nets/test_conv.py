import pytest
import torch
from torch.nn.functional import conv2d

from vergence.nets.conv import Conv3x3


@pytest.mark.parametrize(
    ("count", "height", "width"), [(13, 8, 8), (40, 4, 4), (3, 5, 7), (1, 1, 1), (8, 2, 8)]
)
def test_both_gradients_are_those_of_the_plain_convolution(count, height, width):
    torch.manual_seed(0)
    layer = Conv3x3(16, 24).to(torch.bfloat16)
    x = torch.randn(count, 16, height, width).bfloat16().contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    pull = torch.randn(count, 24, height, width).bfloat16()
    out = layer(x)
    out.backward(pull)

    twin = x.detach().float().requires_grad_()
    weight = layer.weight.detach().float().requires_grad_()
    expected = conv2d(twin, weight, padding=1)
    expected.backward(pull.float())

    torch.testing.assert_close(out.float(), expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(x.grad.float(), twin.grad, atol=0.05, rtol=0.02)
    torch.testing.assert_close(layer.weight.grad.float(), weight.grad, atol=0.1, rtol=0.02)


def test_autocast_gives_full_precision_gradients_to_full_precision_weights():
    layer, x = Conv3x3(8, 8), torch.randn(4, 8, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32 and x.grad.dtype == torch.float32
    half = x.grad.clone()
    x.grad = None
    conv2d(x, layer.weight, padding=1).square().sum().backward()
    assert (half - x.grad).norm() < 0.02 * x.grad.norm()


def test_a_frozen_layer_passes_the_gradient_through():
    layer = Conv3x3(8, 8).to(torch.bfloat16).requires_grad_(False)
    x = torch.randn(2, 8, 4, 4).bfloat16().requires_grad_()
    layer(x).sum().backward()
    assert x.grad.abs().sum() > 0 and layer.weight.grad is None
