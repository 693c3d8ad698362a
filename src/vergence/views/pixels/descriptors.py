"""Descriptors of pictures that nothing was learned for: gradients' directions, local contrast, scattering.

Each takes ``(B, C, H, W)`` and gives ``(B, ...)``; a whole batch at a time, wherever it lies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad


def oriented_gradients(pixels: Tensor, *, bins: int = 24, cell: int = 8) -> Tensor:
    """Return histograms of the gradients' directions in cells, ``(B, C * bins, H // cell, W // cell)``.

    A gradient (Sobel, 3 x 3) adds its length to the two directions next to its own, by nearness; opposite
    directions are one. Cells are averaged, not normalised.

    Args:
        pixels: ``(B, C, H, W)`` float, H and W at least ``cell``.
        bins: Directions on half a circle.
        cell: Side of a cell in pixels.

    Source: Dalal and Triggs, Histograms of Oriented Gradients for Human Detection (2005), without blocks.
    """
    b, channels, height, width = pixels.shape
    if min(height, width) < cell:
        raise ValueError(f"oriented_gradients needs pictures of a cell or more; got {height} x {width}.")
    across = pixels.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    slope = conv2d(pixels.reshape(-1, 1, height, width), torch.stack([across, across.T])[:, None], padding=1)
    length = slope.norm(dim=1)
    place = torch.atan2(slope[:, 0], slope[:, 1]) * (bins / math.pi)
    histogram = []
    for k in range(bins):
        away = ((place - k + bins / 2).remainder(bins) - bins / 2).abs()
        histogram.append(avg_pool2d(length * (1 - away).clamp_min(0), cell))
    return torch.stack(histogram, 1).view(b, channels * bins, height // cell, width // cell)


def local_deviation(pixels: Tensor, *, side: int = 3) -> Tensor:
    """Return the standard deviation of the pixels in a square around each one, ``(B, C, H, W)``.

    Args:
        pixels: ``(B, C, H, W)`` float; mirrored at the borders.
        side: Of the square, odd.
    """
    wide = pad(pixels, [side // 2] * 4, mode="reflect")
    mean = avg_pool2d(wide, side, 1)
    return (avg_pool2d(wide.square(), side, 1) - mean.square() + 1e-8).clamp_min(0).sqrt()


class Scattering(nn.Module):
    """Averages of a picture, of the moduli of its wavelets, and of the moduli of wavelets of these.

    ``(B, C, S, S)`` becomes ``(B, C, M, S / 2^J, S / 2^J)``: with two scales and eight angles, M = 81 maps.

    Args:
        size: S in pixels, a multiple of 2^scales.
        scales: J, octaves of wavelets; averages are over about 2^J pixels.
        angles: L, directions on half a circle.

    Source: Bruna and Mallat, arXiv:1203.1513, with the Morlet wavelets of Kymatio, arXiv:1812.11214.
    """

    waves: Tensor
    low: Tensor

    def __init__(self, size: int, *, scales: int = 2, angles: int = 8) -> None:
        super().__init__()
        if scales < 1 or angles < 1 or size % 2**scales:
            raise ValueError(
                f"Scattering needs a size that 2^scales divides and 1 angle or more; "
                f"got {size}, {scales} and {angles}."
            )
        self.scales, self.angles = scales, angles
        side = 2**scales
        whole = ((size + side) // side + 1) * side
        self.margin = (whole - size) // 2
        waves = []
        for j in range(scales):
            for k in range(angles):
                angle = (angles // 2 - 1 - k) * math.pi / angles
                waves.append(_morlet(whole, 0.8 * 2**j, angle, 0.75 * math.pi / 2**j, 4 / angles))
        self.register_buffer("waves", torch.stack(waves).view(scales, angles, whole, whole), persistent=False)
        low = torch.fft.fft2(_gabor(whole, 0.8 * 2 ** (scales - 1), 0.0, 0.0, 1.0)).real
        self.register_buffer("low", low.float(), persistent=False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(pad(pixels.float(), [self.margin] * 4, mode="reflect"))[:, :, None]
        maps = [self.average(spectrum, 0)]
        for j in range(self.scales):
            first = self.modulus(spectrum * self.waves[j], j)  # (B, C, L, ., .)
            maps.append(self.average(first, j))
            for i in range(j + 1, self.scales):
                both = first[:, :, :, None] * _coarse(self.waves[i], j)
                maps.append(self.average(self.modulus(both, i - j).flatten(2, 3), i))
        return torch.cat(maps, 2)

    @staticmethod
    def modulus(spectrum: Tensor, octaves: int) -> Tensor:
        """Return the spectrum of a modulus, with every 2^octaves-th sample kept."""
        return torch.fft.fft2(torch.fft.ifft2(_thinned(spectrum, octaves)).abs())

    def average(self, spectrum: Tensor, octaves: int) -> Tensor:
        """Return the averages of a map of which every 2^octaves-th sample was kept, without the margin."""
        smooth = _thinned(spectrum * _coarse(self.low, octaves), self.scales - octaves)
        edge = self.margin // 2**self.scales
        return torch.fft.ifft2(smooth).real[..., edge:-edge, edge:-edge]


def _thinned(spectrum: Tensor, octaves: int) -> Tensor:
    """Return the spectrum of a map of which every 2^octaves-th sample along each axis is kept."""
    k = 2**octaves
    return spectrum.unflatten(-1, (k, -1)).unflatten(-3, (k, -1)).mean((-4, -2))


def _coarse(response: Tensor, octaves: int) -> Tensor:
    """Return a filter's response for maps of which every 2^octaves-th sample was kept."""
    if not octaves:
        return response
    side = response.shape[-1]
    kept = torch.fft.fftfreq(side, device=response.device) * 2 ** (octaves + 1)
    low = (kept >= -1) & (kept < 1)
    return _thinned(response * low[:, None] * low, octaves) * 4**octaves


def _gabor(side: int, sigma: float, angle: float, frequency: float, slant: float) -> Tensor:
    """Return a wave under a Gaussian, ``(side, side)`` complex128 about the corner, wrapped around."""
    at = torch.arange(-2 * side, 3 * side, dtype=torch.float64)
    down, across = at[:, None], at[None]
    along = down * math.cos(angle) + across * math.sin(angle)
    beside = across * math.cos(angle) - down * math.sin(angle)
    wave = torch.polar(torch.exp(-(along**2 + (slant * beside) ** 2) / (2 * sigma**2)), frequency * along)
    wrapped = wave.unflatten(1, (5, side)).unflatten(0, (5, side)).sum((0, 2))
    return wrapped * slant / (2 * math.pi * sigma**2)


def _morlet(side: int, sigma: float, angle: float, frequency: float, slant: float) -> Tensor:
    """Return the response ``(side, side)`` of a wave under a Gaussian, less what gives it mean 0."""
    wave, bump = (_gabor(side, sigma, angle, f, slant) for f in (frequency, 0.0))
    return torch.fft.fft2(wave - wave.sum() / bump.sum() * bump).real.float()
