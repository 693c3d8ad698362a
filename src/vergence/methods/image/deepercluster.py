"""Unsupervised Pre-Training of Image Features on Non-Curated Data (DeeperCluster), arXiv:1905.01278."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from vergence.core import BadInput, Clock, Method, Recipe, input_spec
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import from_first, world
from vergence.nets import width_of
from vergence.nets.image_encoder import image_size
from vergence.nets.kmeans import kmeans
from vergence.nets.sobel import Sobel
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.geometry import quarter_turns

Views = tuple[Tensor, Tensor, Tensor]
_LEAST = 1e-5  # share of the largest variance that every direction is taken to have


class DeeperCluster(Method):
    """Say to which group of photos a turned photo belongs and how it was turned, both in one answer.

    Every few epochs the features of all photos are grouped, a few large groups first, then each into many
    small ones. The large group and the turn make up the super-class; each super-class has a classifier of its
    own for the small groups in it. Small groups are sampled as often as large ones, so that what is rare in a
    pile that nobody sorted is learned too.

    Caron, Bojanowski, Mairal, Joulin 2019, arXiv:1905.01278. Differs from the paper: the encoder is that of
    the data, ``timm:vgg16_bn`` is the paper's, and the classifiers read its vectors as they are, without
    another ReLU. One classifier of the small groups is averaged over the batch, not over the part of its
    super-class. Slopes of grey values fill two of three channels (``Sobel``).

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        clusters: k, small groups in all; None takes one for 300 photos as the paper does, at least 100 where
            each has ten photos.
        super_clusters: m, large groups. 1, without turns, is DeepCluster.
        rotate: Turn photos by 0 to 3 quarters; with ``clusters`` and ``super_clusters`` of 1 that is RotNet.
        every: T, epochs from one grouping to the next.
        components: Principal components that are grouped, at most.
        iterations: Steps of k-means, from random photos.
        sobel: Show slopes of grey values instead of colours.
    """

    recipe = Recipe(optimizer="sgd", lr=0.1, batch=3072, epochs=100, weight_decay=1e-5, schedule="constant")
    encoder: nn.Module
    supers: Tensor
    subs: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        clusters: int | None = None,
        super_clusters: int = 4,
        rotate: bool = True,
        every: int = 3,
        components: int = 4096,
        iterations: int = 10,
        sobel: bool = True,
    ) -> None:
        super().__init__(Sobel(encoder) if sobel else encoder)
        counts = (super_clusters, every, components, iterations)
        if min(counts) < 1 or (clusters is not None and clusters < super_clusters):
            raise BadInput(
                "DeeperCluster needs super_clusters, every, components and iterations of 1 or more, and as "
                f"many clusters as super_clusters; got {', '.join(map(str, counts))} and {clusters}."
            )
        self.clusters, self.super_clusters, self.turns = clusters, super_clusters, 4 if rotate else 1
        self.every, self.components, self.iterations = every, components, iterations
        self.width = width_of(encoder)
        self.super_head = nn.Linear(self.width, super_clusters * self.turns)  # V
        self.sub_heads = nn.Linear(self.width, super_clusters * self.turns)  # W of all super-classes
        self.crop = Augment(image_size(encoder), scale=(0.08, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)
        for name in ("supers", "subs"):  # of each photo: its large group, its small group within that
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def setup(self, source: Source) -> None:
        """Until they are grouped, all photos are of one group."""
        device = self.supers.device
        self.supers = torch.zeros(len(source), dtype=torch.int64, device=device)
        self.subs = torch.zeros_like(self.supers)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        kept = {name: value for name, value in options.items() if name in ("scale", "ratio", "flip")}
        self.crop = dataclasses.replace(self.crop, **kept)

    def batches(self, source: Source) -> UniformOverGroups:
        return UniformOverGroups(self, source)

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[ImageBatch]) -> None:
        """Group the features of all photos, upright and whole, and begin with new classifiers.

        What tells turns alone, or nothing apart, has the same classes as before and stays. Photos that cannot
        be read are in no group, -1. All processes take the groups of the first.
        """
        if clock.epoch % self.every:
            return
        self.eval()
        read = [(batch.index, self.encode(batch).float()) for batch in loader]
        index, vectors = (torch.cat(part) for part in zip(*read, strict=True))
        n, m = len(vectors), self.super_clusters
        k = self.clusters if self.clusters is not None else max(n // 300, min(100, n // 10))
        x = whitened(vectors, self.components)
        supers = kmeans(x, min(m, n), self.iterations)
        subs = torch.zeros_like(supers)
        for group in range(m):
            rows = (supers == group).nonzero()[:, 0]
            if len(rows):
                subs[rows] = kmeans(x[rows], min(max(1, k // m), len(rows)), self.iterations)
        groups = torch.full((2, len(self.supers)), -1, device=self.supers.device)
        groups[:, index] = torch.stack([supers, subs])
        self.supers, self.subs = from_first(groups)
        if m > 1:
            self.replace("super_head", nn.Linear(self.width, m * self.turns))
        classes = m * self.turns * (int(self.subs.max()) + 1)
        if classes > m * self.turns or classes != self.sub_heads.out_features:
            self.replace("sub_heads", nn.Linear(self.width, classes))

    def views(self, batch: ImageBatch) -> Views:
        """Return a turned crop of each photo ``(B, 3, S, S)``, its super-class and its sub-class in that."""
        pixels = self.crop(batch).pixels
        turns = torch.randint(self.turns, (len(pixels),), device=pixels.device)
        answer = self.turns * self.supers[batch.index] + turns
        return quarter_turns(pixels, turns), answer, self.subs[batch.index]

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, answer, sub = views
        vectors = self.encode(images)
        logits = self.super_head(vectors).float()
        self.watch("super_accuracy", (logits.argmax(1) == answer).float().mean())
        return {"super": cross_entropy(logits, answer), "sub": self.sub_loss(vectors, answer, sub)}

    def sub_loss(self, vectors: Tensor, answer: Tensor, sub: Tensor) -> Tensor:
        """Return the cross-entropy of the sub-classes, each by the classifier of its photo's super-class."""
        weight = self.sub_heads.weight.unflatten(0, (self.super_head.out_features, -1))  # (4m, k/m, D)
        bias = self.sub_heads.bias.view(len(weight), -1)
        total = vectors.new_zeros((), dtype=torch.float32)
        for one in answer.unique().tolist():
            rows = (answer == one).nonzero()[:, 0]
            scores = linear(vectors[rows], weight[one], bias[one]).float()
            total = total + cross_entropy(scores, sub[rows], reduction="sum")
        return total / len(vectors)

    def draw(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Draw ``count`` rows, evenly over large groups, and within each evenly over its small groups."""
        supers, subs = self.supers.cpu().numpy(), self.subs.cpu().numpy()
        large, rows = np.unique(supers[supers >= 0]), []
        for group in large:
            members = np.flatnonzero(supers == group)
            small = [members[subs[members] == sub] for sub in np.unique(subs[members])]
            each = -(-count // (len(large) * len(small)))
            rows += [random.choice(part, each, replace=len(part) < each) for part in small]
        return random.permutation(np.concatenate(rows))[:count]


class UniformOverGroups:
    """A sampler of photos, evenly over the groups that a method has put them in.

    Args:
        method: Draws rows; its ``batch_size`` is set.
        source: Of these rows.
    """

    def __init__(self, method: DeeperCluster, source: Source) -> None:
        self.method, self.source = method, source

    def __len__(self) -> int:
        return max(1, len(self.source) // (self.method.batch_size * world()))

    def epoch(self, epoch: int, *, seed: int, start: int, rank: int, world: int) -> Iterator[ImageBatch]:
        """Yield the batches of an epoch for one process, but for the first ``start``."""
        size = self.method.batch_size
        rows = self.method.draw(len(self) * world * size, np.random.default_rng([seed % 2**64, epoch]))
        rows = rows.reshape(-1, world, size)[:, rank].ravel()
        spec = input_spec(self.method.encoder)
        for batch in self.source.subset(rows).loader(
            size, spec=spec, start=start, workers=self.method.workers
        ):
            yield dataclasses.replace(batch, index=torch.from_numpy(rows)[batch.index])


def whitened(vectors: Tensor, components: int) -> Tensor:
    """Return vectors ``(n, D)`` in their principal components, each of variance 1, scaled to length 1.

    Args:
        vectors: float32.
        components: At most; a direction without variance is taken to have a little.
    """
    x = vectors.double() - vectors.double().mean(0)
    variance, directions = torch.linalg.eigh(x.T @ x / len(x))
    variance = variance.clamp_min(_LEAST * variance[-1].clamp_min(torch.finfo(x.dtype).tiny))
    kept = slice(max(0, x.shape[1] - components), None)
    return normalize(x @ (directions[:, kept] / variance[kept].sqrt()), dim=1).float()
