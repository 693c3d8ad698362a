"""CoReS: Compatible Representations via Stationarity.

Biondi, Pernici, Bruni, Del Bimbo 2023, arXiv:2111.07632.

An index filled by an old model stays of use after an upgrade if both models put each class in the same
place. So the classifier is fixed, not learned: its K weights are the vertices of a regular simplex in K - 1
dimensions, with K beyond the classes of today. Class c owns vertex c for ever; vertices without a class
stay in the softmax, so that nothing settles where later classes will be. At an upgrade a new network is
trained from scratch on all data so far, without a look at the old one (Sec. 3).

Differs from the paper: views are cropped to at least 40 % of the photo and mirrored, at any size of image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from vergence.core import BadInput, Method, Recipe, input_spec, pooled
from vergence.core.specs import wrapping
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.nets import width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment


def simplex(count: int) -> Tensor:
    """Return the vertices of a regular simplex about 0: ``(K, K - 1)`` of length 1, cosines -1/(K - 1).

    The first K - 1 are those of the identity, the last makes all edges equal (Eq. 5); then they are centred
    and scaled.

    Args:
        count: K, at least 2.
    """
    if count < 2:
        raise BadInput(f"A simplex needs 2 or more vertices; got {count}.")
    d = count - 1
    last = torch.full((1, d), (1 - (d + 1) ** 0.5) / d, dtype=torch.float64)
    vertices = torch.cat([torch.eye(d, dtype=torch.float64), last])
    vertices = vertices - vertices.mean(0)
    return (vertices / vertices.norm(dim=1, keepdim=True)).float()


class Stationary(nn.Module):
    """An encoder followed by a linear layer to the space of the simplex.

    A run of ``CoReS`` keeps this one.

    Args:
        encoder: Maps images to ``(B, D)`` or ``Features``.
        classes: K, of now and later.
    """

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = encoder
        self.out_dim = classes - 1
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, classes=classes)
        self.place = nn.Linear(width_of(encoder), self.out_dim, bias=False)

    def forward(self, images: Any) -> Tensor:
        """Return the features ``(B, K - 1)``; compare them by cosine."""
        return self.place(pooled(self.backbone(images)))


class CoReS(Method):
    """Learn labelled images so that vectors of later versions can be searched in an earlier one's index.

    Args:
        encoder: Maps images to ``(B, D)`` or ``Features``; new for every version.
        classes: K, the same for every version. Labels of a source are vertices: they must keep their order.
    """

    reads = ("labels",)
    recipe = Recipe(
        optimizer="sgd", lr=0.1, lr_scaling="none", batch=128, epochs=100, weight_decay=5e-4,
        schedule="steps", milestones=(0.7,), gamma=0.1,
    )  # fmt: skip
    vertices: Tensor

    def __init__(self, encoder: nn.Module, *, classes: int = 100) -> None:
        super().__init__(encoder if isinstance(encoder, Stationary) else Stationary(encoder, classes))
        self.register_buffer("vertices", simplex(classes))
        self.crop = Augment(image_size(encoder), scale=(0.4, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)

    def setup(self, source: Source) -> None:
        labels = source.labels
        if labels is None or labels.min() < 0:
            raise BadInput(f"CoReS learns from labels, and not every image of {source.uri} has one.")
        if labels.max() >= len(self.vertices):
            raise BadInput(
                f"{source.uri} has {labels.max() + 1} classes, more than the {len(self.vertices)} vertices; "
                "set classes higher, from the first version on."
            )

    def views(self, batch: ImageBatch) -> tuple[Any, Tensor]:
        return self.crop(batch), batch.label

    def loss(self, views: tuple[Any, Tensor]) -> dict[str, Tensor]:
        view, labels = views
        logits = linear(self.encoder(view).float(), self.vertices)  # (B, K), vertices without a class too
        return {"place": cross_entropy(logits, labels)}


@dataclass(frozen=True, slots=True)
class Compatibility:
    """How the versions of a model get on with each other.

    Args:
        table: ``(V, V)``; ``[t, s]`` with t >= s is how well queries of version t do against the gallery of
            version s, NaN above the diagonal.
        share: AC, the share of pairs t > s that do better than s does alone; NaN of one version.
        mean: AM, the mean of the table.
    """

    table: np.ndarray
    share: float
    mean: float


def compatibility(table: np.ndarray) -> Compatibility:
    """Sum up a table of accuracies ``(V, V)``; what is above the diagonal is not looked at (Eq. 2, 3)."""
    table = np.asarray(table, np.float64)
    t, s = np.tril_indices(len(table), -1)
    share = float((table[t, s] > table[s, s]).mean()) if len(t) else float("nan")
    low = np.tril_indices(len(table))
    return Compatibility(
        np.where(np.tri(len(table), dtype=bool), table, np.nan), share, float(table[low].mean())
    )


def verification(
    first: np.ndarray, second: np.ndarray, same: np.ndarray, *, folds: int = 10, seed: int = 0
) -> float:
    """Return how often pairs are rightly called the same or not, by a threshold chosen on other pairs.

    Args:
        first: ``(P, D)`` vectors by one version.
        second: ``(P, D)`` by the same or another.
        same: ``(P,)`` bool, whether a pair is of one class.
        folds: Parts; each is judged by the cosine that separates the pairs of all others best.
        seed: Of the parts.
    """
    same = np.asarray(same, bool)
    if not 2 <= folds <= len(same) or len(first) != len(second) or len(first) != len(same):
        raise BadInput(
            f"Verification needs as many pairs as answers, and 2 to that many folds; got {len(first)}, "
            f"{len(second)}, {len(same)} and {folds}."
        )
    x, y = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (first, second))
    cosine = (x * y).sum(1)
    part = np.random.default_rng(seed).permutation(len(same)) % folds
    right = 0
    for fold in range(folds):
        learn, test = part != fold, part == fold
        right += int(((cosine[test] > _threshold(cosine[learn], same[learn])) == same[test]).sum())
    return right / len(same)


def _threshold(cosine: np.ndarray, same: np.ndarray) -> float:
    """Return the value that most pairs are on the right side of, between two that occur."""
    order = np.argsort(cosine)
    cosine, same = cosine[order], same[order]
    right = np.r_[0, np.cumsum(~same)] + np.r_[np.cumsum(same[::-1])[::-1], 0]  # the first i are called apart
    edges = np.r_[-2.0, (cosine[1:] + cosine[:-1]) / 2, 2.0]
    return float(edges[right.argmax()])
