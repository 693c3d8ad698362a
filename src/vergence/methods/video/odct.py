"""Online Deep Clustering with Video Track Consistency, arXiv:2206.03086."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.source import Source
from vergence.data.video.batch import VideoBatch
from vergence.engine.distributed import from_first, gather_by_rank
from vergence.methods.video.views import image_encoder
from vergence.nets import width_of
from vergence.nets.online_clusters import OnlineClusters
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.clips import evenly
from vergence.views.pixels.augment import Augment

_RECENTRE = 10  # steps
_TRACKS = 50  # for each cluster, where their number is not given


@dataclass(frozen=True, slots=True)
class Tracks:
    """Crops of things, and whose they are.

    Args:
        crops: ``(B, T, 3, S, S)`` in [0, 1].
        index: ``(B,)`` int64, the tracks' rows in their source.
    """

    crops: Tensor
    index: Tensor


class ODCT(Method):
    """Say to which cluster a crop belongs, where all crops of one track belong to the same.

    Every clip of the source is a track: crops of one thing, from frame to frame. A memory holds a vector of
    each crop and a label of each track, that of the centroid nearest to the mean of its crops. A classifier
    learns the labels, the vectors move on, and so do labels and centroids, in every step: no epoch waits for
    a clustering. Views of a thing that look like those of another are one class with their own track.

    Alfani, Becattini, Seidenari, Del Bimbo 2022, arXiv:2206.03086; online clusters are those of ODC, Zhan et
    al. 2020, arXiv:2006.10645. Differs from the paper, which has no public code: whether it takes the mean
    or a vote of a track's crops is not known, the mean is ours; classes are weighted by their tracks, not
    crops. All crops of a track are in one batch. The first clusters are those of the network as it begins,
    without whitening.

    Args:
        encoder: An image encoder on frames (``FrameEncoder``), which says how many crops a track has.
        clusters: K, 2 or more; None takes one for 50 tracks.
        dim: Width of the vectors that are clustered.
        hidden: Width of the layer before them.
        momentum: Share of a new vector in the memory, in (0, 1].
        smallest: Tracks of a cluster below which it is given up; at most half of the mean.
        dropout: Share of the hidden layer that is left out, in [0, 1).
        tracks: Whether crops of a track share a label; without it every crop has its own, as in ODC.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.06, batch=512, epochs=440, weight_decay=1e-5,
        schedule="steps", milestones=(10 / 11,), gamma=0.4, encoder="resnet18",
    )  # fmt: skip
    encoder: VideoEncoder

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        clusters: int | None = None,
        dim: int = 256,
        hidden: int = 512,
        momentum: float = 0.5,
        smallest: int = 20,
        dropout: float = 0.5,
        tracks: bool = True,
    ) -> None:
        super().__init__(encoder)
        if not 0 <= dropout < 1:
            raise BadInput(f"ODCT needs dropout in [0, 1); got {dropout}.")
        image_encoder(encoder, "ODCT")
        self.neck = nn.Sequential(
            nn.Linear(width_of(encoder), hidden),
            nn.BatchNorm1d(hidden, affine=False, momentum=0.001),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(dim, clusters or 2)
        self.memory = OnlineClusters(clusters or 2, momentum=momentum, smallest=smallest)
        self.chosen, self.dim, self.tracks = clusters, dim, tracks
        self.crop = Augment(encoder.size)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def setup(self, source: Source) -> None:
        """Choose how many clusters there are, where nobody did."""
        members = len(source) * (1 if self.tracks else self.encoder.frames)
        clusters = self.chosen or max(2, members // _TRACKS)
        if clusters > members:
            raise BadInput(f"ODCT cannot put {members} tracks into {clusters} clusters; choose fewer.")
        self.memory.clusters = clusters
        self.memory.smallest = min(self.memory.smallest, members // (2 * clusters))
        self.memory.empty(members, self.encoder.frames if self.tracks else 1, self.dim)
        if clusters != self.classifier.out_features:
            device = self.classifier.weight.device
            self.classifier = nn.Linear(self.classifier.in_features, clusters, device=device)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = replace(self.crop, **options)

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[VideoBatch]) -> None:
        """Fill the memory before the first step."""
        if clock.step:
            return
        self.eval()
        read = [(batch.index, self.vectors(self.encoder.clips(batch))) for batch in loader]
        index, vectors = (torch.cat(part) for part in zip(*read, strict=True))
        whole = vectors.mean(0).expand(int(index.max()) + 1, -1, -1).clone()  # also of what cannot be read
        whole[index] = vectors
        self.memory.start(self.members(whole))
        self.memory.labels = from_first(self.memory.labels)
        self.memory.recentre()

    def vectors(self, crops: Tensor) -> Tensor:
        """Return the vectors ``(B, T, dim)`` of crops ``(B, T, 3, S, S)``."""
        seen = image_encoder(self.encoder, "ODCT")(crops.flatten(0, 1))
        return self.neck(seen if isinstance(seen, Tensor) else seen.pooled).unflatten(0, crops.shape[:2])

    def members(self, vectors: Tensor) -> Tensor:
        """Return vectors ``(B, T, D)`` as the memory has them: without tracks ``(B T, 1, D)``."""
        return vectors if self.tracks else vectors.flatten(0, 1)[:, None]

    def places(self, index: Tensor) -> Tensor:
        """Return where members of the tracks ``index (B,)`` are in the memory."""
        if self.tracks:
            return index
        frames = self.encoder.frames
        return (frames * index[:, None] + torch.arange(frames, device=index.device)).flatten()

    def views(self, batch: VideoBatch) -> Tracks:
        frames = self.encoder.frames
        some = batch.take(evenly(batch.pixels.shape[1], frames))
        return Tracks(self.crop(some.images()).pixels.unflatten(0, (-1, frames)), batch.index)

    def loss(self, views: Tracks) -> dict[str, Tensor]:
        vectors = self.vectors(views.crops)  # (B, T, dim)
        places = self.places(views.index)
        labels = self.memory.labels[places].view(len(views.index), -1).expand(vectors.shape[:2])
        answers = self.classifier(vectors).float().flatten(0, 1)
        self.seen.append((places, self.members(vectors.detach())))
        self.watch("accuracy", (answers.argmax(1) == labels.flatten()).float().mean())
        return {"cluster": cross_entropy(answers, labels.flatten(), weight=self.memory.weights())}

    @torch.no_grad()
    def step_end(self, clock: Clock) -> None:
        """Move vectors and labels of the tracks just seen, then clusters; all processes alike."""
        for places, vectors in self.seen:
            self.watch("changed", self.memory.write(gather_by_rank(places), gather_by_rank(vectors)))
        self.seen.clear()
        if clock.step % _RECENTRE == 0:
            self.memory.recentre()
        self.memory.give_up_small()
        self.memory.labels = from_first(self.memory.labels)
        self.memory.centroids = from_first(self.memory.centroids)
