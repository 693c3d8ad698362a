"""Fisher Information Embedding for Node and Graph Learning (FIE), arXiv:2305.07580."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Estimator, Features
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.encoders import Readout, build, read_out
from vergence.methods.graph.transforms import sparse

PLACE = "vergence.methods.graph.fie:FIENet"
FLOOR = 1e-4  # of eigenvalues, relative to a kernel of 1: below, the root amplifies rounding


def spherical_kmeans(x: Tensor, k: int, *, generator: torch.Generator, sweeps: int = 50) -> Tensor:
    """Return k unit centres ``(k, D)`` that make the mean cosine of rows to their nearest centre large.

    Starts from k rows; a centre that nobody is nearest to moves to one of the rows that are served worst.

    Args:
        x: ``(n, D)`` rows of length 1, or 0; n of k or more.
        k: Number of centres.
        generator: Of the first centres.
        sweeps: At most; ends when the mean cosine no longer grows.
    """
    centres, before = x[torch.randperm(len(x), generator=generator)[:k]], -torch.inf
    for _ in range(sweeps):
        cosine, nearest = (x @ centres.T).max(1)
        reached = float(cosine.mean())
        if reached - before <= 1e-6 * abs(reached):
            break
        before = reached
        total = torch.zeros_like(centres).index_add(0, nearest, x)
        empty = torch.bincount(nearest, minlength=k) == 0
        total[empty] = x[cosine.topk(int(empty.sum()), largest=False).indices]
        centres = normalize(total, dim=1)
    return centres


class KernelMap(nn.Module):
    """Vectors ``(N, D)`` -> ``(N, M)`` whose products stand in for a kernel (Nystroem, Sec. 4.3).

    ``z = |x| k(W x / |x|) k(W W^T)^-1/2`` with ``k(u) = exp((u - 1) / sigma^2)``, so that z of two anchors
    (rows of W) have the kernel's value as their product.

    Args:
        into: D.
        anchors: M.
        sigma: Width of the kernel, above 0.
    """

    def __init__(self, into: int, anchors: int, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma
        self.register_buffer("anchors", torch.zeros(anchors, into))
        self.register_buffer("root", torch.eye(anchors))

    anchors: Tensor
    root: Tensor

    def kernel(self, cosine: Tensor) -> Tensor:
        return ((cosine - 1) / self.sigma**2).exp()

    def place(self, anchors: Tensor) -> None:
        """Take these unit rows ``(M, D)`` as anchors."""
        values, vectors = torch.linalg.eigh(self.kernel(anchors.double() @ anchors.double().T))
        self.anchors.copy_(anchors)
        self.root.copy_(((vectors * values.clamp(min=FLOOR).rsqrt()) @ vectors.T).float())

    def forward(self, x: Tensor) -> Tensor:
        length = x.norm(dim=1, keepdim=True)
        return length * self.kernel(x @ self.anchors.T / length.clamp(min=1e-12)) @ self.root


def em_step(x: Tensor, means: Tensor, hears: Tensor, *, variance: float) -> Tensor:
    """Return the means ``(N, P, D)`` of a mixture after one EM step on what each node hears.

    The E step is shared: ``r_jp`` is the softmax over p of ``cos(x_j, mu_p) / variance``; the M step is
    each node's own: ``m_ip = sum_j r_jp x_j / sum_j r_jp`` over its neighbours j and itself (Sec. 4.2).

    Args:
        x: ``(N, D)``.
        means: ``(P, D)`` unit rows, where the step starts.
        hears: ``(N, N)`` sparse, 1 where i hears j.
        variance: Of the mixture's components, above 0.
    """
    r = (normalize(x, dim=1) @ means.T / variance).softmax(1)  # (N, P)
    mean = (hears @ (r[:, :, None] * x[:, None]).flatten(1)).unflatten(1, (len(means), -1))
    return mean / (hears @ r)[:, :, None]


class FIELayer(nn.Module):
    """A neighbourhood -> how far one EM step takes a shared mixture towards it, ``(N, P D)``."""

    def __init__(self, width: int, mixtures: int, variance: float) -> None:
        super().__init__()
        self.variance = variance
        self.register_buffer("means", torch.zeros(mixtures, width))

    means: Tensor

    def forward(self, x: Tensor, hears: Tensor) -> Tensor:
        return (em_step(x, self.means, hears, variance=self.variance) - self.means).flatten(1)


class FIENet(nn.Module):
    """A graph -> the kernel map of its features and every layer's answer, side by side.

    Features are scaled to rows of length 1. A set of graphs gets the mean of each graph's nodes.

    Args:
        in_dim: F.
        width: M, anchors of every kernel map.
        mixtures: P.
        depth: Number of layers; each but the last is followed by a kernel map.
        sigma: Width of the kernels.
        variance: Of the mixtures' components.
        readout: None for nodes, "mean" for graphs.
    """

    def __init__(
        self,
        in_dim: int,
        width: int,
        mixtures: int,
        depth: int,
        sigma: float,
        variance: float,
        readout: Readout | None = None,
    ) -> None:
        super().__init__()
        self.in_dim, self.readout = in_dim, readout
        self.out_dim = depth * width + mixtures * width
        self.layers = nn.ModuleList(FIELayer(width, mixtures, variance) for _ in range(depth))
        self.maps = nn.ModuleList(
            KernelMap(into, width, sigma) for into in (in_dim, *[mixtures * width] * (depth - 1))
        )
        self.spec: dict[str, Any] = {}

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return one vector a node, ``(N, D)``."""
        hears, x, kernels = adjacency_with_loops(graph), normalize(graph.x.float(), dim=1), []
        with torch.autocast(x.device.type, enabled=False):  # roots of kernels want all the digits
            for kernel, layer in zip(self.maps, self.layers, strict=True):
                kernels.append(kernel(x))
                x = layer(kernels[-1], hears)
        return torch.cat([*kernels, x], dim=1)

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.nodes(graph), graph, self.readout))


def adjacency_with_loops(graph: pyg.Data) -> Tensor:
    """Return who hears whom, ``(N, N)`` sparse: neighbours and each node itself, once."""
    nodes, edges = len(graph.x), graph.edge_index
    loops = torch.arange(nodes, device=edges.device).expand(2, -1)
    every = torch.cat([edges[:, edges[0] != edges[1]], loops], dim=1)
    return sparse(every, torch.ones(every.shape[1], device=edges.device), nodes)


class FIE(Estimator):
    """Attention without training: neighbourhoods as one EM step of a Gaussian mixture, then a kernel map.

    Chen, Pellizzoni, Borgwardt 2023, arXiv:2305.07580, the unsupervised mode: anchors and means are
    spherical k-means of what their layer sees, layer by layer; no label, no gradient. Two nodes are alike
    whose neighbourhoods move the mixture alike.

    Differs from the released code: the M step divides by the sum of the responsibilities, as EM does,
    where the code takes a softmax of them; and they are sharp by ``variance``, where the code divides
    cosines by the width, after which all P means nearly agree. Differs from the paper: the supervised mode
    is not here.

    Args:
        width: Anchors of every kernel map.
        mixtures: P, components of each layer's mixture.
        depth: Number of layers.
        sigma: Width of the kernels, above 0.
        variance: Of the components, above 0.
        samples: Vectors that k-means sees, at most.
    """

    def __init__(
        self,
        *,
        width: int = 512,
        mixtures: int = 8,
        depth: int = 4,
        sigma: float = 1.0,
        variance: float = 1.0,
        samples: int = 300_000,
    ) -> None:
        if min(width, mixtures, depth, samples) < 1 or sigma <= 0 or variance <= 0:
            raise BadInput(
                "FIE needs width, mixtures, depth and samples of 1 or more, sigma and variance above 0."
            )
        self.width, self.mixtures, self.depth = width, mixtures, depth
        self.sigma, self.variance, self.samples = sigma, variance, samples

    @torch.no_grad()
    def fit(self, source: GraphSource, *, seed: int = 0) -> Self:  # type: ignore[override]
        """Place anchors and means for the nodes of a graph, or of all graphs of a set.

        Args:
            source: Of graphs.
            seed: Of k-means.
        """
        graph = (
            source.batch(torch.arange(len(source)).numpy())
            if isinstance(source, GraphsSource)
            else source.whole_graph()  # type: ignore[attr-defined]
        )
        width = min(self.width, len(graph.x))
        net = self.network(source.in_dim, width, None if source.grain == "nodes" else "mean")
        draws = torch.Generator().manual_seed(seed)
        hears, x = adjacency_with_loops(graph), normalize(graph.x.float(), dim=1)
        for kernel, layer in zip(net.maps, net.layers, strict=True):
            kernel.place(self.centres(x, width, draws))  # type: ignore[operator]
            z = kernel(x)
            layer.means.copy_(self.centres(z, self.mixtures, draws))  # type: ignore[operator]
            x = layer(z, hears)
        self.encoder = net
        return self

    def network(self, in_dim: int, width: int, readout: Readout | None) -> FIENet:
        """Return the network whose anchors and means are to be placed."""
        net = build(
            PLACE, in_dim=in_dim, width=width, mixtures=self.mixtures, depth=self.depth, sigma=self.sigma,
            variance=self.variance, readout=readout,
        )  # fmt: skip
        assert isinstance(net, FIENet)
        return net

    def centres(self, x: Tensor, k: int, draws: torch.Generator) -> Tensor:
        """Return k unit vectors ``(k, D)`` that stand for rows of x."""
        if k > len(x):
            raise BadInput(f"FIE needs as many nodes as mixtures; got {len(x)} and {k}.")
        seen = x[torch.randperm(len(x), generator=draws)[: max(k, self.samples)]]
        return spherical_kmeans(normalize(seen, dim=1), k, generator=draws)
