"""VISAGE: Video Instance Segmentation with Appearance-Guided Enhancement.

Kim, Kang, Heo, Hwang, Oh, Kim 2024, arXiv:2312.04885.

The objects that a segmenter finds in each frame of a video are given their identities: who was who before. An
object has a query embedding r, by which the segmenter found it, and an appearance a, what the feature maps
show inside its mask. Each new frame is matched to what is remembered of the tracks, by the assignment of
largest sum of

    (1 - w) cos(r, memory of r) + w cos(a, memory of a).

Queries know places above all: where objects cross, they swap. Appearance does not know twins apart. A memory
is the mean of a track's last embeddings, each weighted by its recency, 1/n to 1, plus its score.

Differs from the paper: queries and maps are taken as they come, where the paper trains a head on each with a
contrastive loss beside the segmenter. Masks are shares, not logits. The newest frame of a memory weighs most;
the released code gives it the least weight, 1/n, and the oldest 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from vergence.core import BadInput


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one frame, in any order.

    Args:
        queries: ``(Q, C)``, by which they were found.
        appearance: ``(Q, D)``, what they look like; see ``appearance_in_masks``.
        scores: ``(Q,)`` in [0, 1], how sure the segmenter is of each; None takes 1.
    """

    queries: Tensor
    appearance: Tensor
    scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def at(self, order: Tensor) -> Objects:
        """Return the same objects in another order ``(Q,)``."""
        scores = None if self.scores is None else self.scores[order]
        return Objects(self.queries[order], self.appearance[order], scores)


def appearance_in_masks(maps: Sequence[Tensor], masks: Tensor) -> Tensor:
    """Return the mean of feature maps inside each mask, those of several levels side by side.

    Args:
        maps: Of L levels ``(D_l, h_l, w_l)``, such as the last stages of a backbone.
        masks: ``(Q, H, W)`` in [0, 1]; brought to the size of each level, what is above 1/2 is inside.

    Returns:
        ``(Q, D_1 + ... + D_L)``; a mask without an inside gives zeros on that level.
    """
    levels = []
    for cells in maps:
        small = interpolate(masks[None].float(), cells.shape[1:], mode="bilinear", align_corners=False)[0]
        inside = (small > 0.5).to(cells.dtype)
        total = torch.einsum("qhw,dhw->qd", inside, cells)
        levels.append(total / inside.sum((1, 2))[:, None].clamp_min(1))
    return torch.cat(levels, 1)


def follow_objects(frames: Iterable[Objects], *, weight: float = 0.75, memory: int = 5) -> Tensor:
    """Find out which object of each frame is which track; the first frame begins the tracks.

    Args:
        frames: Q objects each, taken one frame at a time; what is not seen has an empty mask.
        weight: w, of appearance against queries, in [0, 1].
        memory: Frames of a track that are remembered, 1 or more.

    Returns:
        ``(T, Q)`` int64: the object of frame t that is track q.

    Raises:
        BadInput: If the frames do not hold equally many objects, or there are none.
    """
    if not 0 <= weight <= 1 or memory < 1:
        raise BadInput(
            f"follow_objects needs weight in [0, 1] and memory of 1 or more; got {weight} and {memory}."
        )
    known: deque[Objects] = deque(maxlen=memory)
    orders: list[Tensor] = []
    for objects in frames:
        if not known:
            order = torch.arange(len(objects))
        elif len(objects) != len(known[0]):
            raise BadInput(
                f"follow_objects needs as many objects in every frame; got {len(known[0])}, then "
                f"{len(objects)}. Give those that are not seen an empty mask."
            )
        else:
            order = assignment(similarity(remembered(known), objects, weight=weight))
        known.append(objects.at(order.to(objects.queries.device)))
        orders.append(order)
    if not orders:
        raise BadInput("follow_objects needs 1 frame or more.")
    return torch.stack(orders)


def remembered(known: Sequence[Objects]) -> Objects:
    """Return the mean of tracks over frames, the newest last, weighted by recency plus score."""
    n = len(known)
    recency = torch.arange(1, n + 1, device=known[0].queries.device) / n  # of the newest frame 1
    scores = torch.stack([o.queries.new_ones(len(o)) if o.scores is None else o.scores for o in known])
    share = recency[:, None] + scores  # (n, Q)
    share = (share / share.sum(0))[..., None]
    queries, appearance = (
        torch.stack(part) for part in zip(*((o.queries, o.appearance) for o in known), strict=True)
    )
    return Objects((share * queries).sum(0), (share * appearance).sum(0))


def similarity(tracks: Objects, objects: Objects, *, weight: float) -> Tensor:
    """Return how alike each track and each object are, ``(Q tracks, Q objects)`` in [-1, 1]."""
    queries = normalize(tracks.queries, dim=1) @ normalize(objects.queries, dim=1).T
    appearance = normalize(tracks.appearance, dim=1) @ normalize(objects.appearance, dim=1).T
    return (1 - weight) * queries + weight * appearance


def assignment(alike: Tensor) -> Tensor:
    """Return the object of each track, ``(Q,)`` int64, such that the sum of ``alike (Q, Q)`` is largest."""
    return torch.from_numpy(linear_sum_assignment(alike.double().cpu().numpy(), maximize=True)[1]).long()
