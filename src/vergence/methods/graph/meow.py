"""Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively Weighted Negative Samples.

MEOW and AdaMEOW, arXiv:2212.13847.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, elu, normalize
from torch.utils.checkpoint import checkpoint

from vergence.core import BadInput, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.hetero import HeteroSource
from vergence.methods.graph.contexts import Context, Twin, contexts_of, twin_of
from vergence.nets import Dropout

ROWS = 512  # anchors whose scores are held at a time


class MEOW(Method):
    """Find a node's meta-path contexts again from its coarse view, and push off harder what clusters apart.

    Yu, Ge, Li, Zhou 2023, arXiv:2212.13847. The recipe and the defaults are those for ACM. The coarse view
    sees who meets along a meta-path, the fine view also through whom; the fine view is what is kept. The
    masked twins of the fine view are drawn once, from a fixed seed. Differs from the paper: a fixed number
    of epochs in place of patience on the loss; an embedding merges the unmasked contexts only. Differs from
    the released code: densities are of distances to centroids (arXiv:2005.04966), which it takes for inner
    products; PathSim counts paths, where its meta-path graphs are 0 and 1; each node's vector is normalised
    on its own; of a meta-path of five types only the one in the middle is a context, where it adds those on
    the way (DBLP), which HeCo's files do not have.

    Args:
        encoder: A ``ContextEncoder``.
        temperature: Above 0, τ; also the mean of the clusters' temperatures.
        clusters: Numbers of clusters K, each of its own k-means; a negative weighs as many of them as keep it
            apart from the anchor.
        prototypes: Weight of the prototypes' term, 0 or more, λ.
        mask_features: Share of the features' entries above 0 that the twin loses, in [0, 1).
        mask_edges: Share of the edges that the twin loses, in [0, 1): one number, or one a meta-path.
        anchors: How many nodes, drawn anew each step, ask; None: all.
    """

    recipe = Recipe(
        optimizer="adam", lr=7e-4, lr_scaling="none", epochs=200, schedule="constant",
        encoder="vergence.methods.graph.meow:ContextEncoder",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        temperature: float = 0.4,
        clusters: Sequence[int] = (100, 300),
        prototypes: float = 1.0,
        mask_features: float = 0.3,
        mask_edges: float | Sequence[float] = (0.3, 0.2),
        anchors: int | None = None,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0:
            raise BadInput(f"MEOW needs temperature > 0; got {temperature}.")
        if not isinstance(encoder, ContextEncoder):
            raise BadInput("MEOW learns from meta-paths and needs its own encoder; leave --encoder out.")
        if not clusters or min(clusters) < 2:
            raise BadInput(f"MEOW needs clusters of 2 or more; got {list(clusters)}.")
        paths = len(encoder.paths)
        shares = [mask_edges] * paths if isinstance(mask_edges, int | float) else list(mask_edges)
        if len(shares) != paths or not all(0 <= share < 1 for share in [mask_features, *shares]):
            raise BadInput(
                f"MEOW needs mask_features and, for each of {paths} meta-paths, mask_edges in [0, 1); "
                f"got {mask_features} and {mask_edges}."
            )
        self.temperature, self.clusters, self.prototypes = temperature, tuple(clusters), prototypes
        self.mask_features, self.mask_edges, self.anchors = mask_features, shares, anchors
        self.project = nn.Linear(encoder.out_dim, encoder.out_dim)
        self.twin: Twin | None = None

    def setup(self, source: Source) -> None:
        """Draw the masked twin of the graph, once."""
        if not isinstance(source, HeteroSource):
            raise BadInput(f"MEOW learns from typed graphs, opened as hetero:FOLDER/NAME; got {source.uri}.")
        if max(self.clusters) > len(source):
            raise BadInput(
                f"MEOW asks for {max(self.clusters)} clusters of {len(source)} nodes; lower clusters."
            )
        contexts = self.encoder.contexts(source.hetero)  # type: ignore[operator]
        x = self.encoder.features(source.hetero)  # type: ignore[operator]
        self.twin = twin_of(x, contexts, self.mask_features, self.mask_edges, seed=0)

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, views: Any) -> dict[str, Tensor]:
        assert self.twin is not None  # setup came first
        coarse = self.projected(self.encoder.coarse(views.hetero))  # type: ignore[operator]
        fine = self.projected(self.encoder.fine(views.hetero, self.twin))  # type: ignore[operator]
        asking = torch.arange(len(fine), device=fine.device)
        if self.anchors is not None and self.anchors < len(fine):
            asking = torch.randperm(len(fine), device=fine.device)[: self.anchors]
        return self.terms(coarse, fine, asking)

    def projected(self, z: Tensor) -> Tensor:
        return normalize(torch.tanh(self.project(z)), dim=1)

    def terms(self, coarse: Tensor, fine: Tensor, asking: Tensor) -> dict[str, Tensor]:
        clusterings = [k_means(fine.detach(), k) for k in self.clusters]

        def weigh(rows: Tensor) -> Tensor:  # w_ij: how many clusterings keep i and j apart
            apart = fine.new_zeros(len(rows), len(fine))
            for own, _ in clusterings:
                apart += own[rows, None] != own
            return apart

        terms = {"contrast": weighted_info_nce(coarse, fine, asking, weigh, temperature=self.temperature)}
        if self.prototypes:
            near = [
                prototype_nce(coarse[asking], own[asking], centres, self.density(fine.detach(), own, centres))
                for own, centres in clusterings
            ]
            terms["prototypes"] = self.prototypes * torch.stack(near).mean()
        return terms

    def density(self, z: Tensor, own: Tensor, centres: Tensor) -> Tensor:
        """Return each cluster's temperature ``(K,)``: mean distance to its centre / log(size + 10).

        Clusters of one node or none take the largest, the outer tenths are cut off, and the mean is τ.
        """
        size = torch.bincount(own, minlength=len(centres)).float()
        away = (z - centres[own]).norm(dim=1)
        mean = torch.zeros_like(size).index_add(0, own, away) / size.clamp(min=1)
        spread = mean / (size + 10).log()
        spread = torch.where(size > 1, spread, spread.max())
        low, high = spread.quantile(torch.tensor([0.1, 0.9], device=z.device))
        spread = spread.clamp(low, high).clamp(min=1e-6)
        return self.temperature * spread / spread.mean()


class AdaMEOW(MEOW):
    """Learn what each key weighs, w_ij = σ(MLP(z_i + z_j)), in place of clusters (Sec. 4 of the sequel).

    As in the released code the fine view asks and the coarse view answers, the other way round than in MEOW,
    and a node's own key is weighed with the others. Weights may all shrink, for the loss falls with them: it
    is no sign of when to stop, and the number of epochs is fixed. Takes a time in proportion to N² times
    ``hidden``.

    Args:
        encoder: As of MEOW.
        hidden: Width of the hidden layer that weighs negatives.
        **options: As of MEOW; there are no clusters and no prototypes.
    """

    def __init__(self, encoder: nn.Module, *, hidden: int = 16, **options: Any) -> None:
        super().__init__(encoder, clusters=(2,), prototypes=0.0, **options)
        self.into = nn.Linear(int(encoder.out_dim), hidden)  # type: ignore[arg-type]
        self.out = nn.Linear(hidden, 1)

    def terms(self, coarse: Tensor, fine: Tensor, asking: Tensor) -> dict[str, Tensor]:
        def weigh(rows: Tensor) -> Tensor:
            both = self.into(fine[rows])[:, None] + (coarse @ self.into.weight.T)[None]
            return torch.sigmoid(self.out(torch.tanh(both))).squeeze(2)

        cost = weighted_info_nce(fine, coarse, asking, weigh, temperature=self.temperature, own=True)
        return {"contrast": cost}


class ContextEncoder(nn.Module):
    """Nodes of one type, seen through those they meet along meta-paths -> ``(N, width)``.

    Args:
        target: Letter of the type whose nodes are told.
        paths: Names of the meta-paths, such as "pap".
        in_dims: Type -> width of its features, or number of nodes where it has none.
        bare: Types without features: a node is known by its number.
        width: D, of all layers.
        neighbours: Neighbours that a node keeps along each meta-path, the most alike by PathSim.
        dropout: In [0, 1).
    """

    def __init__(
        self,
        *,
        target: str,
        paths: Sequence[str],
        in_dims: Mapping[str, int],
        bare: Sequence[str] = (),
        width: int = 64,
        neighbours: Sequence[int] = (110, 700),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if len(neighbours) != len(paths) or min(neighbours) < 1:
            raise BadInput(
                f"MEOW needs neighbours of 1 or more for each meta-path of {list(paths)}; got {neighbours}."
            )
        self.target, self.paths, self.bare, self.out_dim = target, tuple(paths), tuple(bare), width
        self.neighbours = tuple(neighbours)
        self.types = nn.ModuleDict({kind: nn.Linear(size, width) for kind, size in in_dims.items()})
        self.through = nn.ModuleDict({path: nn.Linear(width, width, bias=False) for path in paths})
        self.convs = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.act, self.drop = nn.PReLU(), Dropout(dropout)
        self.attend, self.query = nn.Linear(width, width), nn.Parameter(torch.empty(width))
        nn.init.normal_(self.query, std=width**-0.5)
        self._seen: tuple[Any, list[Context]] | None = None

    @classmethod
    def for_source(
        cls,
        source: GraphSource,
        *,
        width: int = 64,
        neighbours: int | Sequence[int] | None = None,
        dropout: float = 0.2,
    ) -> nn.Module:
        """Make the encoder of a ``HeteroSource``.

        Args:
            source: Tells types, meta-paths and widths.
            width: As above.
            neighbours: One number, or one a meta-path; None takes those for ACM, 110 along the first
                meta-path and 700 along others.
            dropout: As above.

        Raises:
            BadInput: If the source is no typed graph.
        """
        from vergence.methods.graph import encoders

        if not isinstance(source, HeteroSource):
            raise BadInput(f"MEOW learns from typed graphs, opened as hetero:FOLDER/NAME; got {source.uri}.")
        graph, target, paths = source.hetero, source.target_type, list(source.paths)
        kinds = sorted({target, *(path[len(path) // 2] for path in paths)})
        bare = [kind for kind in kinds if "x" not in graph[kind]]
        if neighbours is None:
            neighbours = [110, *[700] * (len(paths) - 1)]
        many = [neighbours] * len(paths) if isinstance(neighbours, int) else list(neighbours)
        sizes = {kind: graph[kind].num_nodes if kind in bare else graph[kind].x.shape[1] for kind in kinds}
        return encoders.build(
            "vergence.methods.graph.meow:ContextEncoder", target=target, paths=paths, in_dims=sizes,
            bare=bare, width=width, neighbours=many, dropout=dropout,
        )  # fmt: skip

    def contexts(self, graph: Any) -> list[Context]:
        """Return what stands behind each meta-path of a ``HeteroData``; prepared once a graph."""
        if self._seen is None or self._seen[0] is not graph:
            self._seen = graph, contexts_of(graph, self.target, self.paths, self.neighbours)
        return self._seen[1]

    def features(self, graph: Any) -> Tensor | None:
        """Return the target's features, rows of length 1; None where it has none."""
        return None if self.target in self.bare else normalize(graph[self.target].x.float(), dim=1)

    def typed(self, graph: Any, kind: str, x: Tensor | None = None) -> Tensor:
        """Map the nodes of a type into the common space, ``(n, D)`` (Eq. 3); ``x`` in place of their own."""
        layer: Any = self.types[kind]
        if kind in self.bare:
            z = layer.weight.T + layer.bias
        else:
            z = layer(normalize(graph[kind].x.float(), dim=1) if x is None else x)
        return elu(self.drop(z))

    def convolve(self, z: Tensor, spread: Sequence[Tensor]) -> Tensor:
        """Two graph convolutions on the mean of normalised adjacencies, shared by all views."""
        for i, conv in enumerate(self.convs):
            z = self.drop(conv(z))
            z = torch.stack([matrix @ z for matrix in spread]).mean(dim=0)
            z = self.act(z) if i == 0 else z
        return nn.functional.layer_norm(z, z.shape[1:])

    def coarse(self, graph: Any) -> Tensor:
        """Return ``(N, D)`` of who meets along all meta-paths together (Sec. 4.2)."""
        spread = [context.spread for context in self.contexts(graph)]
        return self.convolve(self.typed(graph, self.target), spread)

    def fine(self, graph: Any, twin: Twin | None = None) -> Tensor:
        """Return ``(N, D)`` of the meta-path contexts, with masked twins if given, merged (Sec. 4.3)."""
        contexts, own = self.contexts(graph), self.typed(graph, self.target)
        masked = None if twin is None else self.typed(graph, self.target, twin.x)
        views = []
        for i, context in enumerate(contexts):
            via = context.mean @ self.typed(graph, context.via)
            via = self.drop(self.through[context.path](via))
            views.append(self.convolve(elu(own + via), [context.spread]))
            if twin is not None and masked is not None:
                views.append(self.convolve(elu(masked + via), [twin.spread[i]]))
        return self.merged([normalize(z, dim=1) for z in views])

    def merged(self, views: Sequence[Tensor]) -> Tensor:
        """Weigh views by semantic attention: a softmax of the nodes' mean of a · tanh(W z), dropout on a."""
        query = self.drop(self.query)
        scores = torch.stack([torch.tanh(self.attend(z)).mean(dim=0) @ query for z in views])
        return torch.einsum("v,vnd->nd", scores.softmax(dim=0), torch.stack(list(views)))

    def forward(self, batch: pyg.Data) -> Tensor:
        if "hetero" not in batch:
            raise BadInput("This encoder reads typed graphs, opened as hetero:FOLDER/NAME.")
        z, seeds = self.fine(batch.hetero), batch.get("seeds")
        return z if seeds is None else z[seeds]


def weighted_info_nce(
    anchors: Tensor, keys: Tensor, asking: Tensor, weigh: Any, *, temperature: float, own: bool = False
) -> Tensor:
    """Return the mean of -log e^(s_ii/τ) / Σ_(j≠i) w_ij e^(s_ij/τ) of unit rows (Eq. 9).

    Memory grows with N: a block of rows is scored, and scored again in the backward pass.

    Args:
        anchors: ``(N, D)``.
        keys: ``(N, D)``, row i belongs to anchor i.
        asking: ``(n,)``, the anchors that ask.
        weigh: Rows ``(r,)`` -> weights ``(r, N)``, 0 or more; of each row one other above 0.
        temperature: τ.
        own: Whether j = i is in the sum too, with its weight.
    """

    def cost(a: Tensor, rows: Tensor) -> Tensor:
        scores = (a @ keys.T - 1) / temperature  # at most 0
        mine, weight = scores.gather(1, rows[:, None])[:, 0], weigh(rows)
        if not own:
            weight = weight.scatter(1, rows[:, None], 0.0)
        mass = (scores.exp() * weight).sum(dim=1).clamp(min=torch.finfo(scores.dtype).tiny)
        return (mass.log() - mine).sum()

    blocks = asking.split(ROWS)
    if len(blocks) == 1:
        return cost(anchors[asking], asking) / len(asking)
    total = [checkpoint(cost, anchors[rows], rows, use_reentrant=False) for rows in blocks]
    return torch.stack(total).sum() / len(asking)


def prototype_nce(z: Tensor, own: Tensor, centres: Tensor, phi: Tensor) -> Tensor:
    """Return the cost of picking one's own centroid, each at its temperature (Eq. 10; arXiv:2005.04966).

    Args:
        z: ``(n, D)``.
        own: ``(n,)``, each one's cluster.
        centres: ``(K, D)``.
        phi: ``(K,)``, φ.
    """
    return cross_entropy(z @ centres.T / phi, own)


def k_means(z: Tensor, k: int, *, rounds: int = 20) -> tuple[Tensor, Tensor]:
    """Return clusters ``(N,)`` and unit centres ``(K, D)`` of unit rows; a cluster that empties stays put."""
    centres = z[torch.randperm(len(z), device=z.device)[:k]]
    own = (z @ centres.T).argmax(dim=1)
    for _ in range(rounds):
        total = torch.zeros_like(centres).index_add(0, own, z)
        centres = torch.where((total.norm(dim=1) > 0)[:, None], normalize(total, dim=1), centres)
        before, own = own, (z @ centres.T).argmax(dim=1)
        if torch.equal(before, own):
            break
    return own, centres
