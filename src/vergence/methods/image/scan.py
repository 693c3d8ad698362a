"""SCAN: Learning to Classify Images without Labels, arXiv:2005.12320."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from vergence.core import BadInput, Clock, Estimator, Method, Recipe, Stage
from vergence.data import Source
from vergence.data.image.batch import ImageBatch, photos_at
from vergence.engine import embed
from vergence.engine.distributed import gather
from vergence.losses.pseudo_labels import confident_cross_entropy, disagreement, mean_entropy
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.classifier import Classifier
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, plain
from vergence.views.pixels.strong import Strong

Pair = tuple[Tensor, Tensor]
_SCORES = 1 << 24  # cosines held at a time


class SCAN(Method):
    """Sort photos into classes that nobody named: a photo and its nearest neighbours are to be of one class.

    Features are learned first; then each photo's nearest neighbours are looked up, and a classifier learns to
    answer for both alike, to be sure, and to use all classes. At last it learns from its own sure answers. A
    run keeps the ``Classifier``: ``probabilities(images)`` says how sure it is of each class.

    Van Gansbeke et al. 2020, arXiv:2005.12320. Differs from the paper: the pretext task is the library's
    SimCLR with its own recipe; ``init=`` and ``pretext=False`` take other features. Neighbours are the k
    nearest others by the encoder's vectors; the released code takes SimCLR's projected ones, and draws from
    the k + 1 nearest, of which the photo itself is one. Views show the central square of a photo. The head
    is chosen by the loss that was trained, on the photos as they are; there the released code leaves λ out.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        clusters: C, the classes to be found.
        heads: Linear layers that learn side by side from other starts; that of the lowest loss is kept.
        neighbours: k, neighbours of a photo, 1 or more.
        entropy: Weight λ of the entropy of all answers, at least 0; without it one class takes all photos.
        pretext: Learn features first. False takes the encoder as it comes.
        frozen: Train the heads alone while clustering, as the paper does for ImageNet. Learning from the sure
            answers then trains the features too, as in the released code; ``self_label=False`` keeps them.
        self_label: Learn from the sure answers at last, with the whole network.
        threshold: Probability above which an answer is sure, in [0, 1).
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-4, lr_scaling="none", batch=128, epochs=50, weight_decay=1e-4,
        decay_vectors=True, schedule="constant",
    )  # fmt: skip
    encoder: Classifier
    nearest: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        clusters: int = 10,
        heads: int = 1,
        neighbours: int = 20,
        entropy: float = 5.0,
        pretext: bool = True,
        frozen: bool = False,
        self_label: bool = True,
        threshold: float = 0.99,
    ) -> None:
        super().__init__(encoder if isinstance(encoder, Classifier) else Classifier(encoder, clusters))
        if min(clusters, 2 * heads, 2 * neighbours) < 2 or entropy < 0 or not 0 <= threshold < 1:
            raise BadInput(
                "SCAN needs 2 clusters or more, 1 head and 1 neighbour or more, entropy of at least 0 and "
                f"threshold in [0, 1); got {clusters}, {heads}, {neighbours}, {entropy} and {threshold}."
            )
        self.others = nn.ModuleList(
            nn.Linear(self.encoder.out_dim, self.encoder.classify.out_features) for _ in range(heads - 1)
        )
        self.neighbours, self.entropy, self.threshold = neighbours, entropy, threshold
        self.pretext, self.frozen, self.self_label = pretext, frozen, self_label
        self.crop = whole(encoder)
        self.strong = Strong()
        self.register_buffer("nearest", torch.zeros(0, 1, dtype=torch.int64))  # (n, k) rows of the source

    @property
    def heads(self) -> list[nn.Linear]:
        """The linear layers, the classifier's own first."""
        return [self.encoder.classify, *(cast(nn.Linear, head) for head in self.others)]

    def stages(self, source: Source) -> Sequence[Stage]:
        pretext = Stage("pretext", lambda before: SimCLR(self.encoder.backbone))
        label = Stage("self-label", lambda before: SelfLabel(self.encoder, self.crop, self.threshold))
        return [
            *([pretext] if self.pretext else []),
            Stage("cluster", lambda before: self),
            Stage("head", lambda before: LowestLoss(clustering=self)),
            *([label] if self.self_label else []),
        ]

    def setup(self, source: Source) -> None:
        """Until neighbours are looked up, each photo is its own."""
        if len(source) < 2:
            raise BadInput(f"SCAN needs 2 photos or more to find neighbours; {source.uri} has {len(source)}.")
        self.source = source
        self.nearest = torch.arange(len(source), device=self.nearest.device)[:, None]
        if self.frozen:
            self.encoder.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.encoder.backbone.eval()
        return self

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, flip=options.get("flip", self.crop.flip))

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[ImageBatch]) -> None:
        """Look up each photo's neighbours, once, by the features as they are when this stage begins."""
        if clock.step:
            return
        self.eval()
        read = [(batch.index, self.features(batch)) for batch in loader]
        index, vectors = (torch.cat(part) for part in zip(*read, strict=True))
        neighbours = index[nearest_others(vectors, self.neighbours)]
        nearest = torch.arange(len(self.source), device=index.device)[:, None].repeat(1, neighbours.shape[1])
        nearest[index] = neighbours
        self.nearest = nearest

    def features(self, batch: ImageBatch) -> Tensor:
        """Return the vectors ``(B, D)`` by which neighbours are looked up."""
        return self.encode(batch).float()

    def views(self, batch: ImageBatch) -> Pair:
        """Return a strong view of each photo and one of a neighbour of it, ``(B, 3, S, S)`` both."""
        of = self.nearest[batch.index]
        drawn = torch.randint(of.shape[1], (len(of), 1), device=of.device)
        rows = of.gather(1, drawn)[:, 0].cpu().numpy()
        other = photos_at(self.source, rows, spec=self.encoder.input_spec).to(batch.pixels.device)
        first, second = (self.strong(self.crop(photos).pixels) for photos in (batch, other))
        return first, second

    def answers(self, vectors: Tensor) -> Tensor:
        """Return the logits ``(B, H, C)`` of all heads for the encoder's vectors."""
        weight, bias = (
            torch.cat([getattr(head, name) for head in self.heads]) for name in ("weight", "bias")
        )
        return linear(vectors, weight, bias).unflatten(1, (len(self.heads), -1))

    def loss(self, views: Pair) -> dict[str, Tensor]:
        first, second = (self.answers(self.encode(view)) for view in views)
        spread = mean_entropy(gather(first))
        self.watch("entropy", spread.mean())
        apart = disagreement(first, second)
        return {"neighbours": apart.sum(), "entropy": -self.entropy * spread.sum()}  # Eq. 2, of all heads

    def losses(self, vectors: Tensor, nearest: Tensor) -> Tensor:
        """Return Eq. 2 of each head ``(H,)``, over all photos and all of their neighbours.

        Args:
            vectors: ``(n, D)``, of the photos as they are.
            nearest: ``(n, k)``, rows of ``vectors``.
        """
        answers = self.answers(vectors)
        apart = torch.stack([disagreement(answers, answers[of]) for of in nearest.T])
        return apart.mean(0) - self.entropy * mean_entropy(answers)


class LowestLoss(Estimator):
    """Keep that head of a clustering whose loss over all photos is the lowest.

    Args:
        clustering: Trained; its classifier gets that head.

    Attributes:
        losses: Of each head, where there are several, after ``fit``.
    """

    def __init__(self, *, clustering: SCAN) -> None:
        self.clustering = clustering

    @torch.no_grad()
    def fit(self, source: Source, *, seed: int = 0) -> Self:
        clustering = self.clustering
        self.encoder = clustering.encoder
        self.losses: list[float] = []
        if len(clustering.heads) > 1:
            seen = embed(self.encoder, source)
            device = clustering.nearest.device
            place = torch.full((len(source),), -1)
            place[seen.index] = torch.arange(len(seen.index))
            nearest = place[clustering.nearest.cpu()[seen.index]].to(device)
            self.losses = clustering.losses(torch.from_numpy(seen.vectors).to(device), nearest).tolist()
            best = clustering.heads[int(np.argmin(self.losses))]
            self.encoder.classify.load_state_dict(best.state_dict())
        return self


class SelfLabel(Method):
    """Learn to name, from a strong view of a photo, the class that the classifier is sure of without it.

    Args:
        encoder: The classifier; all of it is trained, also what was frozen before.
        crop: Crops and mirrors before the strong view.
        threshold: Probability above which an answer is sure.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-4, lr_scaling="none", batch=1000, epochs=200, weight_decay=1e-4,
        decay_vectors=True, schedule="constant",
    )  # fmt: skip
    encoder: Classifier

    def __init__(self, encoder: Classifier, crop: Augment, threshold: float) -> None:
        super().__init__(encoder.requires_grad_(True))
        self.crop, self.threshold = crop, threshold
        self.strong = Strong()

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, flip=options.get("flip", self.crop.flip))

    def views(self, batch: ImageBatch) -> Pair:
        """Return each photo as it is and a strong view of it, ``(B, 3, S, S)`` both."""
        return plain(batch, self.crop.size), self.strong(self.crop(batch).pixels)

    def loss(self, views: Pair) -> dict[str, Tensor]:
        weak, strong = views
        with torch.no_grad():
            known = gather(self.encoder.logits(weak))
        self.watch("sure", (known.softmax(1).amax(1) > self.threshold).float().mean())
        predicted = gather(self.encoder.logits(strong))
        return {"self-label": confident_cross_entropy(known, predicted, threshold=self.threshold)}


def whole(encoder: nn.Module) -> Augment:
    """Return views of photos' central squares as they are, mirrored or not."""
    return Augment(image_size(encoder), scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)


def nearest_others(vectors: Tensor, k: int) -> Tensor:
    """Return each row's ``k`` nearest other rows by cosine, nearest first, ``(n, k)``; n - 1 at most."""
    unit = normalize(vectors, dim=1)
    n = len(unit)
    k = min(k, n - 1)
    parts = []
    for rows in torch.arange(n, device=unit.device).split(max(1, _SCORES // n)):
        scores = unit[rows] @ unit.T
        scores[torch.arange(len(rows), device=unit.device), rows] = -2.0
        parts.append(scores.topk(k, 1).indices)
    return torch.cat(parts)
