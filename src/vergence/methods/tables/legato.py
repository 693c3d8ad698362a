"""LEGATO: Learning Representations without Compositional Assumptions, arXiv:2305.19726."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from vergence.core import BadInput, Method, Recipe
from vergence.data.tables.batch import TableBatch
from vergence.data.tables.source import TableSource
from vergence.engine.distributed import gather
from vergence.methods.tables.encoders import TableEncoder
from vergence.nets import mlp

FAINT = 0.1  # edges below this are cut


class Latent(NamedTuple):
    """A batch of latent graphs, and what they were pooled from.

    Args:
        graph: A ``(B, K, K)`` over the groups of columns.
        nodes: X' ``(B, n, h / ρ)``.
        links: A' ``(B, n, n)``.
        assignment: S ``(B, K, n)``; each column sums to 1.
    """

    graph: Tensor
    nodes: Tensor
    links: Tensor
    assignment: Tensor


class LEGATO(Method):
    """Groups of columns become nodes, a graph among them is learned, pooled into fewer nodes, and undone.

    Liu, Berrevoets, Qian, van der Schaar 2023, arXiv:2305.19726. An autoencoder: mean squared error of
    every group, the difference of the graphs, orthogonal latent nodes and a sparse graph. Patience is
    left out: it trains as long as it is told. Missing numbers are the column's mean and are not
    reconstructed. The released code searches α and β for every data set by the validation loss. Differs from
    it: the latent nodes of relational convolutions are not batch-normalised once more; what relates two views
    is h wide and has a bias (there 100, without).

    Args:
        encoder: A ``ViewGraph``.
        orthogonality: Weight of the mean |cosine| between latent nodes, α, not negative.
        sparsity: Weight of ‖A - I‖₁, β, not negative.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", batch=128, epochs=1000, weight_decay=1e-3,
        schedule="constant", encoder="vergence.methods.tables.legato:ViewGraph",
    )  # fmt: skip

    def __init__(self, encoder: nn.Module, *, orthogonality: float = 0.01, sparsity: float = 0.1) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, ViewGraph):
            raise BadInput(f"LEGATO needs the encoder ViewGraph; got {type(encoder).__name__}.")
        if min(orthogonality, sparsity) < 0:
            raise BadInput(f"LEGATO needs weights of 0 or more; got {orthogonality} and {sparsity}.")
        self.orthogonality, self.sparsity = orthogonality, sparsity
        groups, wide, dim = len(encoder.groups), encoder.wide, encoder.dim
        self.back = encoder.convolution(encoder.nodes, wide, dim)
        self.unassign = encoder.convolution(encoder.nodes, wide, groups)
        self.decoders = nn.ModuleList(mlp(dim, dim, len(group), norm=False) for group in encoder.groups)

    def views(self, batch: TableBatch) -> TableBatch:
        return batch

    def loss(self, views: TableBatch) -> dict[str, Tensor]:
        encoder: ViewGraph = self.encoder  # type: ignore[assignment]
        values = encoder.scaled(views)
        latent = encoder.latent(values.nan_to_num(0.0))
        nodes = leaky_relu(self.back(latent.links, latent.nodes))  # (B, n, h)
        spread = self.unassign(latent.links, latent.nodes).softmax(2)  # S' (B, n, K), over output nodes
        views_back = spread.mT @ nodes  # X̂ (B, K, h)
        graph_back = cut(spread.mT @ latent.links @ spread)  # Â (B, K, K)
        errors = []
        for i, (group, decoder) in enumerate(zip(encoder.groups, self.decoders, strict=True)):
            known = ~values[:, group].isnan()
            miss = decoder(views_back[:, i]) - values[:, group].nan_to_num(0.0)
            errors.append((miss.square() * known).sum() / known.sum().clamp_min(1))
        size = len(values)
        apart = gather(latent.graph - graph_back)  # one norm over the samples of all processes
        own = torch.eye(len(encoder.groups), device=values.device)
        return {
            "views": torch.stack(errors).mean(),
            "graph": torch.linalg.vector_norm(apart) / len(apart),
            "orthogonality": self.orthogonality * off_diagonal(latent.nodes),
            "sparsity": self.sparsity * (latent.graph - own).abs().sum() / size,
        }


class GCN(nn.Module):
    """One graph convolution: D^-½ A D^-½ X W + b (Kipf and Welling, arXiv:1609.02907), a graph a sample.

    A node without a loop gets one of weight 1; the graphs of views have A_ii = 1 already.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Linear(into, out)

    def forward(self, links: Tensor, nodes: Tensor) -> Tensor:
        return self.weight(normalised(links) @ nodes)


class RelationalGCN(nn.Module):
    """A graph convolution with weights of its own for every two nodes, so that views are told apart.

    Node i gets Σ_j A_ij X_j W_ij + b (Schlichtkrull et al., arXiv:1703.06103, with one relation a pair, the
    node itself among them, and edges weighted).
    """

    def __init__(self, nodes: int, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(nodes, nodes, into, out))
        bound = (6 / (into + out)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, links: Tensor, nodes: Tensor) -> Tensor:
        sent = torch.einsum("bjh,ijho->bijo", nodes, self.weight)
        return (links[..., None] * sent).sum(2) + self.bias


def normalised(links: Tensor) -> Tensor:
    """Return D^-½ A D^-½ of graphs ``(B, K, K)``, with a loop of 1 at nodes that have none."""
    looped = links + torch.diag_embed((links.diagonal(dim1=1, dim2=2) == 0).to(links))
    root = looped.sum(2).rsqrt()
    return root[:, :, None] * looped * root[:, None]


class ViewGraph(TableEncoder):
    """Groups of columns -> the nodes of a smaller latent graph, flattened or averaged.

    Args:
        numbers: See ``TableEncoder``.
        categories: None.
        flagged: See ``TableEncoder``; flags are not read.
        groups: Of each view the places of its numbers; None takes each number for itself.
        dim: Width of a view's node, h.
        ratio: Latent nodes a view, ρ, in (0, 1]; latent nodes are h / ρ wide.
        mean: Average the latent nodes in place of putting them side by side.
        complete: Take every two views for linked instead of learning a graph.
        relational: Convolve with weights of its own for every two nodes, whose number grows with the
            square of the views.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        groups: Sequence[Sequence[int]] | None = None,
        dim: int = 80,
        ratio: float = 0.5,
        mean: bool = False,
        complete: bool = False,
        relational: bool = False,
    ) -> None:
        if not 0 < ratio <= 1 or dim < 1:
            raise BadInput(f"ViewGraph needs ratio in (0, 1] and dim of 1 or more; got {ratio} and {dim}.")
        super().__init__(numbers, categories, flagged)
        self.groups = [list(g) for g in groups] if groups is not None else [[i] for i in range(len(numbers))]
        if len(self.groups) < 2:
            raise BadInput("LEGATO needs 2 or more groups of numeric columns: table:FILE?group=NAME:a,b&…")
        self.dim, self.average, self.complete, self.relational = dim, mean, complete, relational
        views, self.wide = len(self.groups), round(dim / ratio)
        self.nodes = math.ceil(ratio * views)
        self.out_dim = self.wide if mean else self.wide * self.nodes
        self.views = nn.ModuleList(mlp(len(group), dim, dim, norm=False) for group in self.groups)
        self.norm = nn.BatchNorm1d(dim)  # one for all views
        self.relate = None if complete else nn.Linear(dim + views, dim)
        self.pool = self.convolution(views, dim, self.wide)
        self.assign = self.convolution(views, dim, self.nodes)

    def convolution(self, nodes: int, into: int, out: int) -> nn.Module:
        """Return a convolution on graphs of so many nodes."""
        return RelationalGCN(nodes, into, out) if self.relational else GCN(into, out)

    @classmethod
    def of_source(cls, source: TableSource) -> dict[str, Any]:
        """Take the groups of a table; columns of no group are a group each.

        Raises:
            BadInput: If it has categorical columns.
        """
        columns = source.columns
        if columns.categorical:
            raise BadInput(
                f"LEGATO takes columns of numbers; {source.uri} has categories as well "
                f"({', '.join(columns.categorical[:5])}). Leave them out: table:FILE?categorical="
            )
        groups = [[columns.numeric.index(name) for name in names] for _, names in columns.groups]
        taken = {place for group in groups for place in group}
        return {"groups": groups + [[i] for i in range(len(columns.numeric)) if i not in taken]}

    def latent(self, values: Tensor) -> Latent:
        """Return the latent graphs of scaled rows ``(B, M)``."""
        each = [view(values[:, group]) for view, group in zip(self.views, self.groups, strict=True)]
        x = torch.stack(each, 1)  # (B, K, h)
        x = self.norm(x.flatten(0, 1)).view_as(x)
        graph = self.graph(x)
        nodes = leaky_relu(self.pool(graph, x))  # Z (B, K, h / ρ)
        assignment = self.assign(graph, x).softmax(1)  # S (B, K, n), over input nodes
        links = assignment.mT @ graph @ assignment
        return Latent(graph, assignment.mT @ nodes, cut(links), assignment)

    def graph(self, x: Tensor) -> Tensor:
        """Return A ``(B, K, K)``: |cosine| of what becomes of two views' nodes, 0 where it is faint."""
        if self.relate is None:
            return x.new_ones(len(x), x.shape[1], x.shape[1])
        place = torch.eye(x.shape[1], device=x.device).expand(len(x), -1, -1)
        relation = normalize(leaky_relu(self.relate(torch.cat([x, place], 2))), dim=2)
        return cut((relation @ relation.mT).abs())

    def forward(self, batch: TableBatch) -> Tensor:
        nodes = self.latent(self.scaled(batch).nan_to_num(0.0)).nodes
        return nodes.mean(1) if self.average else nodes.flatten(1)


def cut(links: Tensor) -> Tensor:
    """Return links with the faint ones 0."""
    return links * (links >= FAINT)


def off_diagonal(nodes: Tensor) -> Tensor:
    """Return the mean |cosine| between different nodes of graphs ``(B, n, d)``; 0 of single nodes."""
    n = nodes.shape[1]
    unit = normalize(nodes, dim=2)
    near = (unit @ unit.mT).abs()
    return (near.sum((1, 2)) - near.diagonal(dim1=1, dim2=2).sum(1)).mean() / max(1, n * (n - 1))
