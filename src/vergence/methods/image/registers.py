"""Vision Transformers Need Registers: find the artifact tokens of a vision transformer.

Darcet, Oquab, Mairal, Bojanowski 2024, arXiv:2309.16588. Large, long-trained transformers turn a few
tokens of empty areas into scratch paper: their norm is many times that of the others, and they tell
of the whole image instead of their place. ``report`` finds them. The cure is to train with extra
tokens for that use: ``build("vit-small32", size=32, registers=4)``, with any method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.core.specs import name_of
from vergence.nets.image_encoder import ImageEncoder, Images


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a transformer's patch tokens look like, layer by layer.

    Args:
        norms: ``(L, B, N)``, each token's length after each block, before the final norm.
        outliers: ``(B, N)`` bool, tokens longer than ``cut`` after the last block.
        likeness: ``(B, N)``, mean cosine between a patch's embedding, before positions, and those of
            its up to 4 neighbours; near 1 where the image repeats itself.
        cut: Length above which a token is an outlier.
    """

    norms: Tensor
    outliers: Tensor
    likeness: Tensor
    cut: float

    @property
    def share(self) -> float:
        """Share of tokens that are outliers, in [0, 1]; the paper finds about 0.02 in DINOv2-g."""
        return self.outliers.float().mean().item()

    @property
    def first_layer(self) -> int | None:
        """First block, from 0, after which the mean outlier is above the cut; None without outliers."""
        if not self.outliers.any():
            return None
        above = self.norms[:, self.outliers].mean(1) > self.cut
        return int(above.float().argmax())

    def __str__(self) -> str:
        if not self.outliers.any():
            return f"no artifact tokens: every norm is below {self.cut:.3g}"
        inside, outside = self.likeness[self.outliers].mean(), self.likeness[~self.outliers].mean()
        return (
            f"{self.share:.1%} artifact tokens, norm above {self.cut:.3g}, from block {self.first_layer} on; "
            f"likeness to neighbours {inside:.2f}, elsewhere {outside:.2f}. Train with registers=4."
        )


@torch.no_grad()
def report(encoder: ImageEncoder, images: Images, *, cut: float | None = None) -> Artifacts:
    """Return the token norms of every layer and the artifact tokens among the patches.

    Args:
        encoder: A vision transformer.
        images: A few dozen, as the encoder takes them.
        cut: Norm above which a token is an artifact (150 for DINOv2-g); None takes ``outlier_cut``.

    Raises:
        BadInput: If the encoder is no vision transformer.
    """
    patches: Any = getattr(encoder, "patches", None)
    if patches is None:
        name = name_of(encoder)
        raise BadInput(f"Artifact tokens need a vision transformer; got {name}. Try vit-small32.")
    training = encoder.training
    encoder.eval()
    try:
        embedded = patches(images).float()  # (B, N, D)
        norms = torch.stack([tokens.float().norm(dim=-1) for tokens in encoder.layers(images)])
        grid = encoder(images).map
    finally:
        encoder.train(training)
    cut = outlier_cut(norms[-1]) if cut is None else cut
    return Artifacts(norms, norms[-1] > cut, neighbour_cosine(embedded, *grid.shape[-2:]), cut)


def outlier_cut(norms: Tensor) -> float:
    """Return a cut far outside the bulk of ``norms``: 8 deviations above the median, at least twice it.

    The deviation is 1.4826 times the median distance from the median, which outliers below half of
    all tokens cannot move.

    >>> outlier_cut(torch.tensor([1.0, 1.0, 1.0, 50.0]))
    2.0
    """
    middle = norms.median()
    spread = 1.4826 * (norms - middle).abs().median()
    return torch.maximum(middle + 8 * spread, 2 * middle).item()


def neighbour_cosine(patches: Tensor, rows: int, columns: int) -> Tensor:
    """Return each patch's mean cosine with its up to 4 neighbours.

    Args:
        patches: ``(B, N, D)``, row by row, N = rows · columns.
        rows: Of the grid.
        columns: Of the grid; the grid has 2 patches or more.

    Returns:
        ``(B, N)``, in [-1, 1].
    """
    if rows * columns != patches.shape[1] or rows * columns < 2:
        raise ValueError(
            f"neighbour_cosine needs a grid of 2 or more patches that holds all {patches.shape[1]}; "
            f"got {rows} x {columns}."
        )
    grid = normalize(patches, dim=-1).unflatten(1, (rows, columns))
    across = (grid[:, :, 1:] * grid[:, :, :-1]).sum(-1)
    down = (grid[:, 1:] * grid[:, :-1]).sum(-1)
    total = grid.new_zeros(grid.shape[:3])
    count = torch.zeros_like(total)
    for pairs, here in (
        (across, (slice(None), slice(None), slice(1, None))),
        (across, (slice(None), slice(None), slice(None, -1))),
        (down, (slice(None), slice(1, None))),
        (down, (slice(None), slice(None, -1))),
    ):
        total[here] += pairs
        count[here] += 1
    return (total / count).flatten(1)
