"""Transfer of Representations to Video Label Propagation: Implementation Factors Matter.

McKee, Zhan, Shuai, Modolo, Tighe, Lazebnik 2022, arXiv:2203.05553.

The labels of the first frame are carried through a clip by the tokens of any frozen encoder. Cell i of
frame t looks at the cells j, no further than r from it, of the reference frames R_t: the first one and the
last m. The k of highest cosine s_ij = φ_i·φ_j, over all references together, count by softmax weights

    w_ij = exp(s_ij / τ) / Σ_j exp(s_ij / τ),

and the cell's label is Σ_j w_ij label_j, soft, which later frames look at in turn.

What the paper finds is that stride, layer, radius, memory and k decide more than how the encoder was trained:
they are the arguments here, and the encoder's stride and layer those of ``vergence.tokens``.

Differs from the paper: no public code is known, and what it does not say is done as the released evaluation
of DINO does it (square neighbourhood, mixed labels kept soft), but labels of cells are shares of the
area, not its nearest pixel, and maps are not stretched to [0, 1] before the largest is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vergence.core import BadInput, Features
from vergence.use.affinity import propagate


def propagate_labels(
    maps: Iterable[Tensor],
    first: Tensor,
    *,
    k: int = 10,
    radius: int | None = 12,
    memory: int = 7,
    temperature: float = 0.07,
    keep_first: bool = True,
    hard: bool = False,
) -> Iterator[Tensor]:
    """Carry the labels of a clip's first frame through it, frame by frame.

    Args:
        maps: Of T frames, one ``(D, h, w)`` after the other.
        first: ``(C, h, w)``, how much of each cell has each label; keypoints are maps of bumps.
        k: Cells that count.
        radius: In cells; None looks everywhere.
        memory: How many of the last frames are looked at, 0 or more.
        temperature: Of the softmax over cosines.
        keep_first: Whether the first frame is looked at throughout.
        hard: Whether later frames look at each cell's one likeliest label, not at the mixture.

    Yields:
        T maps ``(C, h, w)``, the first as it was given. Where ``first`` adds up to 1 in each cell, they do.

    Raises:
        BadInput: If nothing is to be looked at, or sizes differ.
    """
    if memory < 0 or (memory == 0 and not keep_first):
        raise BadInput(
            f"Labels come from the first frame or from a memory of 1 or more; got memory={memory}."
        )
    frames: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    begin: list[tuple[Tensor, Tensor]] = []
    for cells in maps:
        if cells.shape[1:] != first.shape[1:]:
            raise BadInput(
                f"Labels of {tuple(first.shape[1:])} cells do not fit maps of {tuple(cells.shape[1:])}."
            )
        if not begin:
            begin, label = [(cells, first)], first
            if not keep_first:
                frames.append(begin[0])
        else:
            known = [*(begin if keep_first else []), *frames]
            references, labels = (torch.stack(part)[None] for part in zip(*known, strict=True))
            label = propagate(cells[None], references, labels, k=k, radius=radius, temperature=temperature)[0]
            frames.append((cells, _hardened(label) if hard else label))
        yield label


def _hardened(label: Tensor) -> Tensor:
    return one_hot(label.argmax(0), len(label)).permute(2, 0, 1).to(label.dtype)


def label_shares(classes: Tensor, count: int, features: Features) -> Tensor:
    """Return how much of the area around each token has each class, ``(count, h, w)``.

    Args:
        classes: ``(H, W)`` in [0, count).
        count: C.
        features: Of the picture, on a grid with ``stride`` and ``offset``.
    """
    return at_cells(one_hot(classes.long(), count).permute(2, 0, 1).float(), features)


def at_cells(shares: Tensor, features: Features) -> Tensor:
    """Return the mean ``(C, h, w)`` of a map ``(C, H, W)`` over the area around each token.

    Raises:
        BadInput: If the features are on no grid with ``stride`` and ``offset``.
    """
    if features.grid is None or features.stride is None or features.offset is None:
        raise BadInput(
            "Labels of cells need tokens on a grid with stride and offset; choose another encoder."
        )
    for axis in (0, 1):
        n, stride, offset = features.grid[axis], features.stride[axis], features.offset[axis]
        length = shares.shape[axis + 1]
        edges = (torch.arange(n + 1, device=shares.device) - 0.5) * stride + offset
        # the outermost cells take what lies beyond them, as the nearest centre does
        edges[0], edges[-1] = min(0.0, float(edges[0])), max(float(length), float(edges[-1]))
        pixel = torch.arange(length, device=shares.device)
        low, high = torch.maximum(pixel, edges[:-1, None]), torch.minimum(pixel + 1, edges[1:, None])
        cover = (high - low).clamp_min(0)  # (n, length)
        cover = cover / cover.sum(1, keepdim=True).clamp_min(1e-12)
        shares = torch.movedim(torch.tensordot(cover, shares, ([1], [axis + 1])), 0, axis + 1)
    return shares


def at_pixels(labels: Tensor, features: Features, size: Sequence[int]) -> Tensor:
    """Return labels ``(C, h, w)`` of cells at the pixels ``(C, H, W)``, mixed bilinearly between centres."""
    placed = Features.of_map(
        labels.mean((1, 2))[None], labels[None], stride=features.stride, offset=features.offset
    )
    height, width = size
    return placed.at_pixels(height, width)[0]


def pixel_labels(labels: Tensor, features: Features, size: Sequence[int]) -> Tensor:
    """Return the class ``(H, W)`` of each pixel; see ``at_pixels``."""
    return at_pixels(labels, features, size).argmax(0)


def track_masks(
    frames: Iterable[Features],
    first: Tensor,
    *,
    k: int = 10,
    radius: int | None = 12,
    memory: int = 7,
    temperature: float = 0.07,
    keep_first: bool = True,
    hard: bool = False,
) -> Tensor:
    """Follow the things that a mask of the first frame names through a clip.

    Args:
        frames: Features of one frame each, ``tokens (1, N, D)`` on a grid with ``stride`` and ``offset``, as
            ``vergence.tokens`` gives them; taken one at a time.
        first: ``(H, W)`` whole numbers from 0 (the ground).
        k: See ``propagate_labels``, as all that follow.
        radius: In cells.
        memory: In frames.
        temperature: Of the softmax.
        keep_first: Whether the first frame is looked at throughout.
        hard: Whether labels are made hard.

    Returns:
        ``(T, H, W)`` int64, the first frame as it was given.

    Raises:
        BadInput: If the features have no grid, or there is nothing to follow.
    """
    known, count = iter(frames), int(first.max()) + 1
    if count < 2:
        raise BadInput("There is nothing to follow: every pixel of the first mask is 0.")
    start = next(known)
    shares = label_shares(first, count, start)
    labels = propagate_labels(
        map(_map_of, chain([start], known)), shares.to(_map_of(start)), k=k, radius=radius, memory=memory,
        temperature=temperature, keep_first=keep_first, hard=hard,
    )  # fmt: skip
    later = [pixel_labels(label, start, first.shape) for i, label in enumerate(labels) if i]
    return torch.stack([first.long(), *later])


def _map_of(features: Features) -> Tensor:
    cells = features.map
    if cells is None or cells.ndim != 4 or len(cells) != 1:
        raise BadInput("Frames need features of one picture each, with tokens on a grid.")
    return cells[0].float()
