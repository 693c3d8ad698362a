"""CorLoc: does one box a picture lie on a thing? Beside the box in the centre and the whole picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vergence.core import BadInput, Features
from vergence.evaluate.dense import dense, of_pictures
from vergence.evaluate.protocols.detection import corloc
from vergence.evaluate.score import Score
from vergence.nets.image_encoder import image_size
from vergence.use.affinity import normalised_cut, split, threshold_graph

if TYPE_CHECKING:
    from vergence.data.targets import Boxes
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("boxes",)
CENTRE = 0.7  # of the sides: half of the area
ALIKE = 0.2  # least cosine, about the picture's mean token, of two tokens that hang together


def centre_boxes(sizes: Tensor, share: float = CENTRE) -> Tensor:
    """Return the box in the middle of each picture, ``(B, 4)`` left, top, right, bottom in pixels.

    Args:
        sizes: ``(B, 2)`` height and width.
        share: Of each side; 1 is the whole picture.
    """
    if not 0 < share <= 1:
        raise ValueError(f"centre_boxes needs a share in (0, 1]; got {share}.")
    width_height = sizes.flip(1).float()
    return torch.cat([width_height * (1 - share) / 2, width_height * (1 + share) / 2], 1)


def beside_fixed_boxes(boxes: Tensor, truth: Boxes, sizes: Tensor, *, seed: int = 0) -> dict[str, Score]:
    """Score found boxes, and those that look at nothing, on the same pictures.

    Args:
        boxes: ``(B, 4)``, one a picture.
        truth: Of the B pictures.
        sizes: ``(B, 2)`` height and width in pixels.
        seed: Of the bootstraps, so that they draw the same pictures.

    Returns:
        "CorLoc", "CorLoc, centre box" and "CorLoc, whole picture".
    """
    fixed = {"centre box": centre_boxes(sizes), "whole picture": centre_boxes(sizes, 1.0)}
    scores = {"CorLoc": corloc(boxes, truth, seed=seed)}
    return scores | {f"CorLoc, {name}": corloc(box, truth, seed=seed) for name, box in fixed.items()}


def cut_boxes(features: Features, size: int) -> Tensor:
    """Return the box of what a normalised cut of each picture's tokens sets apart, ``(B, 4)`` in pixels.

    Tokens, about their mean, are joined where they are alike; of the two sides of the best cut, the thing is
    the one that has less of the picture's edge, and its largest connected piece gets the box. Where no cut
    can be made, the box is the whole picture.

    Args:
        features: On a grid of two axes, with ``stride`` and ``offset``.
        size: Side of the pictures in pixels.

    Source: after Wang et al. 2022 (TokenCut), arXiv:2202.11539, whose side is the one with the larger entry
    of the eigenvector and whose edges are of 0 or 1.
    """
    assert features.tokens is not None
    if features.grid is None or len(features.grid) != 2 or features.stride is None or features.offset is None:
        raise BadInput("cut_boxes needs tokens on a grid (h, w) with stride and offset.")
    h, w = features.grid
    (down, right), (top, left) = features.stride, features.offset
    edge = np.ones((h, w), bool)
    edge[1:-1, 1:-1] = False
    boxes = []
    for tokens in features.tokens.float():
        try:
            graph = threshold_graph(tokens - tokens.mean(0), ALIKE)
            side = split(graph, normalised_cut(graph).vectors[:, 0]).reshape(h, w)
        except BadInput:  # every token is alike, or alike none
            boxes.append([0.0, 0.0, float(size), float(size)])
            continue
        thing = side if side[edge].mean() <= (~side)[edge].mean() else ~side
        pieces, _ = ndimage.label(thing)
        largest = np.bincount(pieces[thing]).argmax()
        rows, columns = ndimage.find_objects((pieces == largest).astype(int))[0]
        box = [
            left + (columns.start - 0.5) * right,
            top + (rows.start - 0.5) * down,
            left + (columns.stop - 0.5) * right,
            top + (rows.stop - 0.5) * down,
        ]
        boxes.append([min(max(v, 0.0), float(size)) for v in box])
    return torch.tensor(boxes)


def _corloc(split_: Split, seed: int) -> Scores:
    pair = dense(split_.encoder, split_.test, "boxes")
    if pair is None:
        return
    features, truth = pair
    size = image_size(split_.encoder)
    rows = torch.arange(len(features.pooled))
    boxes = torch.cat([cut_boxes(of_pictures(features, part), size) for part in rows.split(64)])
    sizes = torch.full((len(rows), 2), size)
    yield from beside_fixed_boxes(boxes, truth, sizes, seed=seed).items()


PROTOCOLS = {"corloc": _corloc}
