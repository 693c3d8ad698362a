"""Corruptions: a linear probe learned on clean pictures, judged on noisy, blurred, pale and coarse ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vergence.core import BadInput, input_spec, pooled
from vergence.data import Source
from vergence.engine.devices import device_of
from vergence.evaluate.inputs import labelled
from vergence.evaluate.protocols.linear import Softmax, fit_probe
from vergence.evaluate.score import Score, mean_score
from vergence.views.pixels.augment import plain
from vergence.views.pixels.colour import adjust_brightness, adjust_contrast, gaussian_blur
from vergence.views.pixels.compression import jpeg

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
SEVERITIES = 5


def _full(pixels: Tensor, value: float) -> Tensor:
    return torch.full((len(pixels),), value, device=pixels.device)


def _noise(pixels: Tensor, level: float, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    return (pixels + level * drawn).clamp(0, 1)


def _impulses(pixels: Tensor, level: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(pixels.shape, generator=generator).to(pixels.device)
    pixels = torch.where(drawn < level / 2, 0.0, pixels)
    return torch.where(drawn > 1 - level / 2, 1.0, pixels)


def _pixelate(pixels: Tensor, level: float, generator: torch.Generator) -> Tensor:
    height, width = pixels.shape[2:]
    small = interpolate(pixels, (max(1, round(height * level)), max(1, round(width * level))), mode="area")
    return interpolate(small, (height, width), mode="nearest")


Corruption = Callable[[Tensor, float, torch.Generator], Tensor]

CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "impulses": (_impulses, (0.01, 0.02, 0.05, 0.08, 0.14)),
    "blur": (
        lambda p, level, _: gaussian_blur(p, _full(p, level * p.shape[-1])),
        (0.01, 0.015, 0.02, 0.03, 0.04),
    ),
    "contrast": (lambda p, level, _: adjust_contrast(p, _full(p, level)), (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": (lambda p, level, _: adjust_brightness(p, _full(p, level)), (1.1, 1.3, 1.5, 1.75, 2.0)),
    "pixelate": (_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": (lambda p, level, _: jpeg(p, _full(p, level)), (80.0, 65.0, 58.0, 50.0, 40.0)),
}
"""Name -> (change, its strength at severities 1 to 5); blur is a share of the side, jpeg a quality."""


def corrupt(pixels: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` in [0, 1] with one corruption of ``CORRUPTIONS``.

    Args:
        pixels: In [0, 1].
        name: Of the corruption.
        severity: 1 to 5.
        generator: Of the noise.

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, whose strengths these are: noise, contrast and
    compression those for small pictures, coarse pixels those for large ones. Differs: blur is by a share of
    the side, brightness multiplies; fog, frost, snow, motion, zoom and elastic changes are left out.
    """
    if name not in CORRUPTIONS or not 1 <= severity <= SEVERITIES:
        raise ValueError(
            f"corrupt needs one of {', '.join(CORRUPTIONS)} at 1 to 5; got {name} at {severity}."
        )
    change, strengths = CORRUPTIONS[name]
    return change(pixels, strengths[severity - 1], generator)


def corruptions(
    encoder: nn.Module, train: tuple[np.ndarray, np.ndarray], test: Source, *, seed: int = 0
) -> dict[str, Score]:
    """Judge a linear probe of clean pictures on corrupted ones.

    Args:
        encoder: Of images, with ``input_spec``.
        train: Features ``(N, D)`` of clean pictures and their labels, which the probe learns from.
        test: Labelled pictures, each corrupted in every way.
        seed: Of the probe's held-out fifth and the noise.

    Returns:
        The share of right answers: "clean"; by the name of each corruption over all severities; and "mean"
        over all corruptions. Intervals are over pictures.
    """
    size_of(encoder)  # before the probe, which takes longer
    x, y = labelled(*train, "corruptions")
    known, code = y.unique(return_inverse=True)
    probe = fit_probe(x, code, len(known), seed=seed)
    shares = right_when_corrupted(encoder, probe_answer(encoder, probe, known), test, seed=seed)
    return {name: mean_score(share, seed=seed) for name, share in shares.items()}


def probe_answer(encoder: nn.Module, probe: Softmax, known: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what names pictures ``(B, 3, H, W)`` by a probe of the encoder's features.

    Args:
        encoder: Of images.
        probe: Of its features.
        known: ``(C,)`` labels of the probe's classes.
    """

    def answer(shown: Tensor) -> Tensor:
        return known[probe.logits(pooled(encoder(shown)).float().to(known.device)).argmax(1)]

    return answer


@torch.no_grad()
def right_when_corrupted(
    encoder: nn.Module, answer: Callable[[Tensor], Tensor], test: Source, *, seed: int = 0
) -> dict[str, Tensor]:
    """Ask what has learned from clean pictures to name corrupted ones.

    Args:
        encoder: Of images, with ``input_spec``; it does not train meanwhile.
        answer: (pictures ``(B, 3, H, W)`` on the encoder's device) -> labels ``(B,)``.
        test: Labelled pictures, each corrupted in every way.
        seed: Of the noise.

    Returns:
        The share of right answers of each picture ``(n,)``: "clean"; by the name of each corruption over all
        severities; and "mean" over all corruptions.
    """
    size = size_of(encoder)
    device, training = device_of(encoder), encoder.training
    encoder.eval()
    generator = torch.Generator().manual_seed(seed)
    right: dict[str, list[Tensor]] = {name: [] for name in ("clean", *CORRUPTIONS)}
    for batch in test.loader(256, spec={"size": size}):
        pixels = plain(batch, size).to(device)

        def is_right(shown: Tensor, truth: Tensor = batch.label) -> Tensor:
            return (answer(shown).cpu() == truth).float()

        right["clean"].append(is_right(pixels))
        for name in CORRUPTIONS:
            severities = range(1, SEVERITIES + 1)
            each = [is_right(corrupt(pixels, name, severity, generator)) for severity in severities]
            right[name].append(torch.stack(each).mean(0))
    encoder.train(training)
    shares = {name: torch.cat(parts) for name, parts in right.items()}
    shares["mean"] = torch.stack([shares[name] for name in CORRUPTIONS]).mean(0)
    return shares


def size_of(encoder: nn.Module) -> int:
    """Return the side of the encoder's images in pixels; raise ``BadInput`` if it does not say it."""
    size = (input_spec(encoder) or {}).get("size")
    if not size:
        raise BadInput(
            f"corruptions needs an encoder of images; {type(encoder).__name__} does not say its size."
        )
    return int(size)


def _corruptions(split: Split, seed: int) -> Scores:
    scores = corruptions(split.encoder, (split.train_x, split.train_y), split.test, seed=seed)
    yield from ((f"corrupted: {name}", score) for name, score in scores.items())


PROTOCOLS = {"corruptions": _corruptions}
