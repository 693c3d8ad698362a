"""Generator: a small diffusion model that draws pictures from captions, and whose inner maps can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vergence.losses.diffusion import ddim, epsilon_loss, guided, kept, noised
from vergence.nets.denoiser import Denoiser

LONGEST = 24  # words of a caption, the first one included


class CaptionEncoder(nn.Module):
    """Vectors of a caption's words: one layer of a transformer over words and their places.

    Args:
        vocabulary: Words, in lower case; others are left out.
        width: Channels of a word.
    """

    def __init__(self, vocabulary: Sequence[str], width: int = 64) -> None:
        super().__init__()
        self.vocabulary = list(vocabulary)
        self.number = {word: i + 2 for i, word in enumerate(self.vocabulary)}  # 0: none, 1: the first one
        self.words = nn.Embedding(len(self.vocabulary) + 2, width)
        self.places = nn.Embedding(LONGEST, width)
        self.layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
        )
        self.norm = nn.LayerNorm(width)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Return word numbers ``(B, LONGEST)``; every caption begins with the same one, and 0 is none."""
        rows = torch.zeros(len(captions), LONGEST, dtype=torch.long)
        for row, text in zip(rows, captions, strict=True):
            numbers = [self.number[w] for w in re.findall(r"[a-z]+", text.lower()) if w in self.number]
            row[: 1 + len(numbers)] = torch.tensor([1, *numbers])[:LONGEST]
        return rows

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map word numbers ``(B, L)`` to vectors ``(B, L, width)`` and which of them count ``(B, L)``."""
        seen = tokens > 0
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        return self.norm(self.layer(x, src_key_padding_mask=~seen)), seen


class Generator(nn.Module):
    """A diffusion model of pictures with captions: encode caption, denoise, read inner maps.

    The network says v = √ᾱ ε - √(1 - ᾱ) x_0 (Salimans, Ho 2022, arXiv:2202.00512), from which noise is
    computed: ε = √(1 - ᾱ) x_t + √ᾱ v. Where little of x_0 is left, small errors of ε are large ones of it.

    >>> from vergence.nets.generator import Generator
    >>> net = Generator(["red", "star"], width=16)
    >>> noise, maps = net.predict(torch.zeros(1, 3, 32, 32), 100, net.encode(["a red star"]))
    >>> maps["up1"].shape
    torch.Size([1, 32, 8, 8])

    Args:
        vocabulary: Words that captions are made of.
        width: Of the denoiser.
        context: Channels of a word.
        size: Pixels a side, a multiple of 4.
        steps: Times T of the diffusion.
    """

    shares: Tensor

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        width: int = 40,
        context: int = 64,
        size: int = 32,
        steps: int = 1000,
    ) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {
            "vocabulary": list(vocabulary),
            "width": width,
            "context": context,
            "size": size,
            "steps": steps,
        }
        self.size, self.steps = size, steps
        self.captions, self.denoiser = CaptionEncoder(vocabulary, context), Denoiser(width, context=context)
        self.register_buffer("shares", kept(steps), persistent=False)

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the words ``(B, L, context)`` of captions and which count; "" is no caption."""
        return self.captions(self.captions.tokens(captions).to(self.shares.device))

    def predict(
        self, x: Tensor, t: int | Tensor, words: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict the noise of noised pictures ``(B, 3, H, W)`` at time t, with every block's map."""
        times = torch.as_tensor(t, device=x.device).expand(len(x))
        velocity, maps = self.denoiser(x, times, *words)
        share = self.shares[times].to(x.dtype).view(-1, 1, 1, 1)
        return (1 - share).sqrt() * x + share.sqrt() * velocity, maps

    def features(
        self, x: Tensor, t: int, captions: Sequence[str] | None = None, *, noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the maps of every block for clean pictures that are noised to time t.

        Args:
            x: Pictures ``(B, 3, H, W)`` in [-1, 1].
            t: Time in [0, steps).
            captions: None for none.
            noise: ε, drawn where it is not given.

        Returns:
            By name of block, as ``Denoiser`` lists them.
        """
        noise = torch.randn_like(x) if noise is None else noise
        mixed = noised(x, noise, self.shares[t].expand(len(x)))
        return self.predict(mixed, t, self.encode([""] * len(x) if captions is None else captions))[1]

    def loss(self, x: Tensor, tokens: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return the error of the predicted noise of each picture, ``(B,)``; predicting zero costs 1."""
        predicted, _ = self.predict(noised(x, noise, self.shares[t]), t, self.captions(tokens))
        return epsilon_loss(predicted, noise)

    def sample(
        self, captions: Sequence[str], *, noise: Tensor | None = None, steps: int = 25, guidance: float = 1.0
    ) -> Tensor:
        """Draw pictures ``(B, 3, size, size)`` of captions by DDIM, values about [-1, 1].

        Args:
            captions: B of them.
            noise: Where DDIM begins, drawn where it is not given.
            steps: Of DDIM.
            guidance: 1 for the caption as it is; larger follows it more closely.
        """
        if noise is None:
            noise = torch.randn(len(captions), 3, self.size, self.size, device=self.shares.device)
        return ddim(noise, self._way(captions, guidance), self.shares, self.times(steps))

    def invert(self, x: Tensor, captions: Sequence[str], *, steps: int = 25) -> Tensor:
        """Return the noise ``(B, 3, H, W)`` from which DDIM draws these pictures again."""
        return ddim(x, self._way(captions, 1.0), self.shares, self.times(steps), invert=True)

    def times(self, steps: int) -> list[int]:
        """Return evenly spaced times of DDIM, from small to large, the last one T - 1."""
        return [((k + 1) * self.steps) // steps - 1 for k in range(steps)]

    def _way(self, captions: Sequence[str], guidance: float) -> Callable[[Tensor, int], Tensor]:
        words, none = self.encode(captions), self.encode([""] * len(captions))

        def predict(x: Tensor, t: int) -> Tensor:
            noise = self.predict(x, t, words)[0]
            return noise if guidance == 1 else guided(noise, self.predict(x, t, none)[0], guidance)

        return predict
