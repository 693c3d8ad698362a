"""Diffusion: the moments of noise, the loss of nothing, DDIM there and back."""

import pytest
import torch

from vergence.losses.diffusion import ddim, ddim_step, epsilon_loss, guided, kept, noised


def test_what_is_kept_is_a_product():
    shares = kept(4, first=0.1, last=0.4)
    assert shares.tolist() == pytest.approx([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7, 0.9 * 0.8 * 0.7 * 0.6])
    assert float(kept()[-1]) < 1e-4


def test_moments_of_noised_pictures():
    torch.manual_seed(0)
    x = torch.full((2, 100_000), 3.0)
    for share in (0.9, 0.3):
        y = noised(x, torch.randn_like(x), torch.full((2,), share))
        assert float(y.mean()) == pytest.approx(3 * share**0.5, abs=0.01)
        assert float(y.var()) == pytest.approx(1 - share, rel=0.02)


def test_predicting_zero_costs_one():
    torch.manual_seed(0)
    noise = torch.randn(3, 3, 64, 64)
    assert torch.allclose(epsilon_loss(torch.zeros_like(noise), noise), torch.ones(3), atol=0.05)
    assert epsilon_loss(noise, noise).tolist() == [0, 0, 0]


def test_a_step_with_the_true_noise_is_the_other_mixture():
    torch.manual_seed(0)
    x, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    start, end = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    moved = ddim_step(noised(x, noise, start.expand(2)), noise, start, end)
    assert torch.allclose(moved, noised(x, noise, end.expand(2)), atol=1e-12)


def test_inversion_is_exact_for_gaussian_noise_in_the_limit():
    x, shares = torch.randn(2, 3, dtype=torch.float64), kept()

    def predict(y, t):  # of pictures from N(0, 1/4): E[ε | x_t], as a formula
        share = shares[t]
        return (1 - share).sqrt() * y / (share / 4 + 1 - share)

    errors = []
    for steps in (10, 100, 1000):
        times = [((k + 1) * 1000) // steps - 1 for k in range(steps)]
        back = ddim(ddim(x, predict, shares, times, invert=True), predict, shares, times)
        errors.append(float((back - x).abs().max()))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02


def test_guidance_goes_past_the_caption():
    one, other = torch.tensor([3.0]), torch.tensor([1.0])
    assert [guided(one, other, s).item() for s in (0, 1, 2)] == [1, 3, 5]
