"""The generator: captions steer it, its maps are where they are said to be."""

import pytest
import torch

from vergence.nets.denoiser import BLOCKS
from vergence.nets.generator import Generator


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    net = Generator(["red", "blue", "star"], width=16, context=16).eval()
    torch.nn.init.normal_(net.denoiser.last.weight, std=0.05)
    return net


def test_maps_have_the_sizes_of_their_blocks(small):
    maps = small.features(torch.zeros(2, 3, 32, 32), 50)
    assert tuple(maps) == BLOCKS
    for name, value in maps.items():
        side = 16 if name.endswith("0") else 8
        assert value.shape == (2, small.denoiser.channels(name), side, side)


def test_words_matter_and_padding_does_not(small):
    x = torch.randn(1, 3, 32, 32)
    red, blue = (small.predict(x, 500, small.encode([text]))[0] for text in ("a red star", "a blue star"))
    assert not torch.allclose(red, blue)
    words, seen = small.encode(["a red star"])
    count = int(seen.sum())
    short = small.predict(x, 500, (words[:, :count], seen[:, :count]))[0]
    assert torch.allclose(red, short, atol=1e-5)


def test_tokens_leave_unknown_words_out(small):
    row = small.captions.tokens(["A RED, purple star."])[0]
    assert row[:4].tolist() == [1, 2, 4, 0]


def test_a_fresh_generator_takes_pictures_for_noise_as_far_as_they_are():
    net, x = Generator(["red"], width=16), torch.randn(2, 3, 32, 32)
    noise, _ = net.predict(x, torch.tensor([3, 900]), net.encode(["", "red"]))
    share = net.shares[torch.tensor([3, 900])].float().view(2, 1, 1, 1)
    assert torch.allclose(noise, (1 - share).sqrt() * x)
