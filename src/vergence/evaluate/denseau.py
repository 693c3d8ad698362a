"""Correlation between Alignment-Uniformity and Performance of Dense Contrastive Representations.

Moon, Kim, Choi 2022, arXiv:2210.08819. Two numbers of a network's cells tell, without labels, what it is
worth for dense tasks. Of unit vectors f of one crop's cells and f' of another's, with pairs (i, j) of the
same place,

    alignment   A = mean |f_i - f'_j|^α          over pairs,
    uniformity  U = log mean exp(-t |f_i - f_k|²)  over two different cells,

the latter within a photo, where cells are to differ from each other, and across photos, apart. A rule that
pairs cells for training is worth what share of its pairs is of one content: its purity.

Differs from the paper: pairs are those of the crops' geometry, whatever rule a network was trained with; the
correlation is that of a linear regression, since the paper's own formula is not known here.

In the library's own world the two did not forecast what cells are worth: over seven rules of pairing cells
of mosaics, R of ``forecast`` with the probe was from -0.97 to -0.50, over five seeds, where purity ranked the
rules as the probe did (``benchmarks/records/denseau.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Features
from vergence.core.specs import name_of
from vergence.data.source import Source
from vergence.engine.devices import device_of
from vergence.evaluate.inputs import Array
from vergence.losses import uniformity
from vergence.nets.crops import match_by_place
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View

_BLOCK = 1 << 24  # pairs of cells held at a time


def alignment(first: Tensor, second: Tensor, match: Tensor, shown: Tensor, *, power: float = 2.0) -> Tensor:
    """Return how far apart matched cells of each photo are, on average ``(B,)``; NaN where it has no pair.

    Args:
        first: ``(B, N, D)`` cells; rows are first scaled to unit length.
        second: ``(B, M, D)`` cells of another crop.
        match: ``(B, N)`` int64, the cell of ``second`` that each cell of ``first`` belongs to.
        shown: ``(B, N)`` bool, which of those are pairs.
        power: α, above 0. At 2 the result is in [0, 4].

    Source: Wang & Isola, arXiv:2005.10242, Sec. 4.1.1, of cells.

    >>> cells = torch.eye(2)[None]
    >>> alignment(cells, cells, torch.tensor([[0, 0]]), torch.ones(1, 2, dtype=torch.bool))
    tensor([1.])
    """
    if first.ndim != 3 or second.ndim != 3 or match.shape != first.shape[:2] or shown.shape != match.shape:
        raise BadInput(
            "alignment needs cells (B, N, D) and (B, M, D), and match and shown (B, N); got "
            f"{tuple(first.shape)}, {tuple(second.shape)}, {tuple(match.shape)} and {tuple(shown.shape)}."
        )
    f, g = normalize(first, dim=2), normalize(second, dim=2)
    apart = (f - g.gather(1, match[:, :, None].expand_as(f))).square().sum(2).pow(power / 2)
    return (apart * shown).sum(1) / shown.sum(1)


def uniformity_within(cells: Tensor, *, t: float = 2.0) -> Tensor:
    """Return the uniformity of the cells of each photo, ``(B,)`` in [-4t, 0]; 0 where all are the same.

    Args:
        cells: ``(B, N, D)`` with N >= 2; rows are first scaled to unit length.
        t: Above 0.
    """
    n = cells.shape[1]
    itself = torch.eye(n, dtype=torch.bool, device=cells.device)
    means = []
    for f in normalize(cells, dim=2).split(max(1, _BLOCK // n**2)):
        likeness = (2 * t * (f @ f.mT - 1)).exp()  # |f - g|² = 2 - 2 f·g
        means.append(likeness.masked_fill(itself, 0).sum((1, 2)) / (n * (n - 1)))
    return torch.cat(means).log()


def purity(match: Tensor, first: Tensor, second: Tensor, shown: Tensor) -> float:
    """Return the share of pairs whose cells have one class, of those where both classes are known.

    Args:
        match: ``(B, N)`` int64, which cell of the second crop each of the first belongs to.
        first: ``(B, N)`` classes of the first crop's cells, below 0 where unknown.
        second: ``(B, M)`` of the second's.
        shown: ``(B, N)`` bool, which of those are pairs.

    Raises:
        BadInput: If no pair has two known classes.
    """
    other = second.gather(1, match)
    known = shown & (first >= 0) & (other >= 0)
    if not known.any():
        raise BadInput("purity needs pairs of cells whose classes are known; none is.")
    return float((first == other)[known].double().mean())


@dataclass(frozen=True, slots=True)
class DenseGeometry:
    """What cells of a network are like.

    Args:
        alignment: ``(n,)``, of each photo's matched cells; NaN where its crops do not overlap. Lower is
            better. within: ``(n,)``, uniformity of each photo's cells. Lower is more spread. across:
            Uniformity of cells of different photos, one drawn from each.
    """

    alignment: np.ndarray
    within: np.ndarray
    across: float

    def to_dict(self) -> dict[str, float]:
        """Return the means over photos, and ``across``."""
        return {
            "alignment": float(np.nanmean(self.alignment)),
            "within": float(self.within.mean()),
            "across": self.across,
        }


@torch.no_grad()
def dense_geometry(
    encoder: nn.Module,
    source: Source,
    *,
    crops: Callable[..., list[View]] | None = None,
    batch: int = 128,
    seed: int = 0,
) -> DenseGeometry:
    """Measure alignment and uniformity of an encoder's cells on two crops of each photo, without labels.

    Compare networks whose maps have the same grid and width: uniformity depends on both.

    Args:
        encoder: Of images, with cells.
        source: Of images.
        crops: A batch and a generator -> two views of each photo; None takes crops of at least half of it,
            mirrored by chance, in their own colours.
        batch: Photos at a time.
        seed: Of the crops and of the cells drawn.

    Raises:
        BadInput: If the encoder has no cells, or no two crops overlap.
    """
    size, device, training = image_size(encoder), device_of(encoder), encoder.training
    augment = Augment(size, scale=(0.5, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)
    make = crops or (lambda photos, generator: [augment(photos, generator) for _ in range(2)])
    generator = torch.Generator().manual_seed(seed)
    aligned, within, drawn = [], [], []
    encoder.eval()
    for photos in source.loader(batch, spec={"size": size}):
        views = make(photos, generator)
        first, second = (cells_of(encoder, encoder(view.pixels.to(device))) for view in views)
        assert first.grid is not None and first.tokens is not None and second.tokens is not None
        rows, columns = first.grid
        match, shown = match_by_place(views[0], views[1], (rows, columns))
        f, g = first.tokens.cpu().double(), second.tokens.cpu().double()
        aligned.append(alignment(f, g, match, shown))
        within.append(uniformity_within(f))
        cell = torch.randint(f.shape[1], (len(f),), generator=generator)
        drawn.append(f[torch.arange(len(f)), cell])
    encoder.train(training)
    apart = torch.cat(aligned).numpy()
    if np.isnan(apart).all():
        raise BadInput(f"No two crops of a photo of {source.uri} overlap: take larger ones.")
    across = float(uniformity(torch.cat(drawn)))
    return DenseGeometry(apart, torch.cat(within).numpy(), across)


def cells_of(encoder: nn.Module, seen: Any) -> Features:
    """Return an encoder's answer, which must have cells on a grid."""
    if not isinstance(seen, Features) or seen.tokens is None or seen.grid is None:
        raise BadInput(f"Dense alignment needs an encoder with cells; {name_of(encoder)} has none.")
    return seen


def forecast(alignments: Array, uniformities: Array, scores: Array) -> float:
    """Return how well low alignment and low uniformity go with a high score, over networks, in [-1, 1].

    It is the correlation R of a least-squares regression of the scores on (-A, -U), with the sign of the sum
    of its two standardised slopes: below 0 where better scores go with worse geometry.

    Args:
        alignments: ``(R,)``, A of each network.
        uniformities: ``(R,)``, U of each.
        scores: ``(R,)``, what each is worth.

    Raises:
        BadInput: With fewer than four networks, whose line fits anything.
    """
    a, u, y = (np.asarray(x, np.float64) for x in (alignments, uniformities, scores))
    if not a.shape == u.shape == y.shape or a.ndim != 1 or len(a) < 4:
        raise BadInput(f"forecast needs A, U and scores of 4 networks or more; got {a.shape} and {y.shape}.")
    if not y.std():
        return 0.0
    x = np.stack([-a, -u], 1)
    spread = x.std(0)
    x = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
    y = (y - y.mean()) / y.std()
    slopes = np.linalg.lstsq(x, y, rcond=None)[0]
    said = x @ slopes
    return math.copysign(float(np.sqrt((said @ said) / (y @ y))), slopes.sum())
