"""Clusters that follow a network while it learns: a memory of vectors and labels, and centroids (ODC).

Zhan, Xie, Liu, Ong, Loy 2020, arXiv:2006.10645.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.nets.kmeans import kmeans

_STEPS = 20  # of k-means


class OnlineClusters(nn.Module):
    """Unit vectors of M members, each of T parts that share one label; and K centroids.

    A member of one part is a sample of ODC.

    Args:
        clusters: K.
        momentum: Share of a new vector in a part's row, in (0, 1].
        smallest: Members of a cluster below which it is given up.

    Attributes:
        rows: ``(M, T, D)``.
        labels: ``(M,)`` int64.
        centroids: ``(K, D)``, means of the rows of each cluster.
    """

    rows: Tensor
    labels: Tensor
    centroids: Tensor

    def __init__(self, clusters: int, *, momentum: float = 0.5, smallest: int = 20) -> None:
        super().__init__()
        if clusters < 2 or not 0 < momentum <= 1 or smallest < 0:
            raise BadInput(
                "Online clusters need 2 or more of them, momentum in (0, 1] and smallest of 0 or more; "
                f"got {clusters}, {momentum} and {smallest}."
            )
        self.clusters, self.momentum, self.smallest = clusters, momentum, smallest
        self.register_buffer("rows", torch.zeros(0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("centroids", torch.zeros(0))

    def empty(self, members: int, parts: int, dim: int) -> None:
        """Make room for vectors ``(M, T, D)``; until they come, members are dealt out to clusters in turn."""
        device = self.rows.device
        self.rows = torch.zeros(members, parts, dim, device=device)
        self.labels = torch.arange(members, device=device) % self.clusters
        self.centroids = torch.zeros(self.clusters, dim, device=device)

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Begin with vectors ``(M, T, D)``, in clusters by k-means of the members' means."""
        if len(vectors) < self.clusters:
            raise BadInput(f"{self.clusters} clusters need as many members; got {len(vectors)}.")
        self.rows = normalize(vectors.float(), dim=2)
        self.labels = kmeans(self.rows.mean(1), self.clusters, _STEPS)
        self.centroids = self.rows.new_zeros(self.clusters, self.rows.shape[2])
        self.recentre()

    @torch.no_grad()
    def write(self, index: Tensor, vectors: Tensor) -> Tensor:
        """Move the rows of members ``index (B,)`` towards ``vectors (B, T, D)`` and give them new labels.

        The label is the centroid of largest product with the mean of the member's rows.

        Returns:
            The share of labels that changed.
        """
        new = self.momentum * normalize(vectors.float(), dim=2)
        self.rows[index] = normalize((1 - self.momentum) * self.rows[index] + new, dim=2)
        labels = self.nearest(index, torch.arange(self.clusters, device=index.device))
        changed = (labels != self.labels[index]).float().mean()
        self.labels[index] = labels
        return changed

    def nearest(self, index: Tensor, among: Tensor) -> Tensor:
        """Return the likest cluster of ``among (k,)`` for members ``index (B,)``, ``(B,)``."""
        return among[(self.rows[index].mean(1) @ self.centroids[among].T).argmax(1)]

    @torch.no_grad()
    def recentre(self) -> None:
        """Move every centroid to the mean of its rows; those of empty clusters stay."""
        means, size = self.rows.mean(1), self.sizes()
        sums = torch.zeros_like(self.centroids).index_add_(0, self.labels, means)
        self.centroids = torch.where(size[:, None] > 0, sums / size.clamp_min(1)[:, None], self.centroids)

    @torch.no_grad()
    def give_up_small(self) -> None:
        """Give members of small clusters to their likest large one, and split the largest in their place."""
        size = self.sizes()
        small, large = (size < self.smallest).nonzero()[:, 0], (size >= self.smallest).nonzero()[:, 0]
        if not len(small) or not len(large):
            return
        lost = torch.isin(self.labels, small).nonzero()[:, 0]
        if len(lost):
            self.labels[lost] = self.nearest(lost, large)
        for empty in small.tolist():
            self._split(empty)

    def _split(self, empty: int) -> None:
        """Part the largest cluster in two by k-means; one half becomes the cluster ``empty``."""
        largest = int(self.sizes().argmax())
        members = (self.labels == largest).nonzero()[:, 0]
        means = self.rows[members].mean(1)
        side = kmeans(means, 2, _STEPS)
        if side.min() == side.max():
            side = torch.randperm(len(members)).to(side.device) % 2
        self.labels[members[side == 1]] = empty
        for cluster, part in ((largest, side == 0), (empty, side == 1)):
            self.centroids[cluster] = means[part].mean(0)

    def sizes(self) -> Tensor:
        """Return the members of each cluster, ``(K,)`` int64."""
        return self.labels.bincount(minlength=self.clusters)

    def weights(self) -> Tensor:
        """Return a weight of each class, ``(K,)``: one over the root of its size; together 1."""
        weight = (self.sizes() + 1e-5).rsqrt()
        return weight / weight.sum()
