"""Graphs in a report: nodes with what is around them, or whole graphs as small drawings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from markupsafe import Markup
from scipy.sparse import csr_array
from torch import Tensor, nn

from vergence.data.graph import GraphSource, GraphsSource, NodeSource
from vergence.data.graph.csr import CSR
from vergence.engine.devices import device_of
from vergence.reports.drawing import drawing, ink
from vergence.reports.figures import Line, bars, columns, curve
from vergence.reports.subject import Drawn, Panel, Section
from vergence.store.table import Store
from vergence.use.clustering import Clusters

LINKS = 30_000  # edges that the map draws at most
EGO, WHOLE = 18, 120  # nodes that a drawing shows at most: around a node, of a graph
_FEW = 24  # different numbers that get a column each
_GREY = "#9298a8"


def subject(store: Store, parts: Clusters, source: GraphSource, encoder: nn.Module) -> Drawn:
    """Return how the page shows the samples of a graph source, whichever its grain."""
    return {"nodes": Nodes, "graphs": Graphs}[source.grain](store, parts, source, encoder)


class _Graph(Drawn):
    """What both grains share."""

    raw = "the raw features"
    labelling = "Give a graph whose nodes, or a set whose graphs, have labels, and run vergence measure."
    unlabelled = False

    def by_group(self, values: np.ndarray) -> list[tuple[str, float, int]]:
        """Return the mean of ``(n,)`` numbers in each class (each cluster, without classes)."""
        word, of, names = self.groupings[0]
        labels = [f"{word} {name}" if word == "cluster" else name for name in names]
        return [(name, float(values[of == i].mean()), i) for i, name in enumerate(labels) if (of == i).any()]

    def colours(self, groups: Sequence[int]) -> list[str]:
        """Return the colours of groups, grey for -1."""
        return [ink(*self.palette[g]) if g >= 0 else _GREY for g in groups]

    @property
    def word(self) -> str:
        """What samples are coloured by: "class", "folder" or "cluster"."""
        return self.groupings[0][0]


class Nodes(_Graph):
    """The nodes of one graph.

    Args:
        store: Their embeddings.
        parts: Their clusters.
        source: The same nodes, in the store's order.
        encoder: Made the embeddings; one with ``attention(graph) -> [(edges (2, E), shares (E, H))]``,
            an entry a layer, is asked whom it listens to.
    """

    one, many = "node", "nodes"
    lines = "Lines are the graph's edges."
    drawn = (
        "Each is drawn, ringed, among its neighbours, in the colours of the map; beside the cosine stands "
        "whether the two are linked, or how many neighbours they share."
    )

    def __init__(self, store: Store, parts: Clusters, source: NodeSource, encoder: nn.Module) -> None:
        super().__init__(store, parts)
        self.source, self.encoder = source, encoder
        self.node = source.rows  # of each row of the store
        self.row = np.full(source.csr.nodes, -1)
        self.row[self.node] = np.arange(len(self.node))

    @cached_property
    def csr(self) -> CSR:
        """Neighbours in either direction, without loops."""
        csr = self.source.csr.without_loops()
        return csr.undirected() if self.source.directed else csr

    @cached_property
    def adjacency(self) -> csr_array:
        """``(N, N)``, as ``csr`` says."""
        return self.csr.scipy()

    def draw(self, row: int) -> bytes:
        """Draw a node, ringed, among its neighbours (the best connected of them, where they are many)."""
        node = int(self.node[row])
        near = self.csr.neighbours(node).astype(np.int64)
        near = near[np.argsort(-self.csr.degrees[near], kind="stable")][: EGO - 1]
        if 0 < len(near) <= EGO // 3:  # room for their neighbours too
            further = np.unique(np.concatenate([self.csr.neighbours(v)[:8] for v in near]))
            near = np.concatenate([near, np.setdiff1d(further, [*near, node])])[: EGO - 1]
        shown = np.array([node, *near])
        piece = self.adjacency[shown][:, shown].tocoo()
        of = np.append(self.groupings[0][1], -1)[self.row[shown]]  # row -1: not among the samples
        return drawing(np.stack([piece.row, piece.col]), self.colours(of.tolist()), centre=0)

    def facts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        return [f"degree {d}" for d in self.csr.degrees[self.node[np.asarray(rows)]].tolist()]

    def bonds(self, row: int, others: np.ndarray) -> list[str]:
        """Say which nodes are linked to this one, or how many neighbours they share."""
        own, theirs = self.adjacency[[self.node[row]]], self.adjacency[self.node[others]]
        linked = np.asarray(own[:, self.node[others]].todense()).ravel() > 0
        shared = (theirs.astype(bool).astype(int) @ own.astype(bool).astype(int).T).toarray().ravel()
        return [
            "linked" if tie else f"{count} shared" if count else "apart"
            for tie, count in zip(linked, shared.tolist(), strict=True)
        ]

    def links(self, rows: np.ndarray) -> np.ndarray:
        place = np.full(self.csr.nodes, -1)
        place[self.node[rows]] = np.arange(len(rows))
        edges = place[self.csr.edge_index()]
        edges = edges[:, (edges[0] < edges[1]) & (edges[0] >= 0)]
        if edges.shape[1] > LINKS:
            edges = edges[:, np.random.default_rng(0).choice(edges.shape[1], LINKS, replace=False)]
        return edges

    def sections(self) -> list[Section]:
        degrees = self.csr.degrees[self.node]
        alone = int((degrees == 0).sum())
        text = (
            f"{self.csr.edges // 2:,} edges; neighbours of a node: mean {degrees.mean():.3g}, median "
            f"{np.median(degrees):g}, maximum {degrees.max():,}; isolated nodes: {alone:,}."
        )
        panels = [
            Panel(
                "Degrees",
                "Number of nodes by number of neighbours.",
                histogram(degrees, label="Nodes", x_name="neighbours"),
            ),
            Panel(
                f"Mean degree by {self.word}",
                "Whether some groups are better connected.",
                bars(self.by_group(degrees), label=f"Mean degree by {self.word}"),
            ),
        ]
        ties = self._ties()
        if ties is not None:
            panels.append(ties)
        sections = [Section("graph", "Degrees", "How is it connected?", text, panels)]
        listening = self._attention()
        return [*sections, listening] if listening is not None else sections

    def _ties(self, most: int = 100_000) -> Panel | None:
        """Compare linked nodes with pairs at random: what the embedding kept of the graph."""
        random, unit = np.random.default_rng(0), self.store.directions()
        ends = self.row[self.csr.edge_index()]
        ends = ends[:, (ends >= 0).all(0)]
        if not ends.size:
            return None
        if ends.shape[1] > most:
            ends = ends[:, random.choice(ends.shape[1], most, replace=False)]
        chance = random.integers(len(unit), size=ends.shape)
        chance = chance[:, chance[0] != chance[1]]
        both = [(unit[a] * unit[b]).sum(1) for a, b in (ends, chance)]
        borders = np.linspace(min(v.min() for v in both), max(v.max() for v in both) + 1e-6, 31)
        middle = ((borders[1:] + borders[:-1]) / 2).tolist()
        lines = [
            Line(name, middle, (100 * np.histogram(v, borders)[0] / max(len(v), 1)).tolist(), i)
            for i, (name, v) in enumerate(zip(("linked", "at random"), both, strict=True))
        ]
        svg = curve(lines, label="Percent of pairs", x_name="cosine")
        how = "Percent of pairs by their cosine. Two hills apart: the vectors know the edges."
        return Panel("Linked nodes and others", how, svg, legend=["linked", "at random"])

    @torch.no_grad()
    def _attention(self) -> Section | None:
        """Weigh how evenly nodes listen to those they hear, against listening to all alike."""
        ask = getattr(self.encoder, "attention", None)
        batch = next(self.source.loader(self.source.reading_batch))
        layers = ask(batch.to(device_of(self.encoder))) if ask is not None else []
        if not layers:
            return None
        panels: list[Panel] = []
        means: list[float] = []
        lines: list[Line] = []
        for number, (edges, shares) in enumerate(layers, 1):
            entropy, heard = entropies(edges, shares, int(batch.num_nodes))
            some = heard > 1
            if not some.any():
                return None
            entropy, most, heard = entropy[some], np.log(heard[some]), heard[some]
            means.append(float((entropy / most).mean()))
            counts, borders = np.histogram(np.clip(entropy / most, 0, 1), 20, (0, 1))
            names = [f"{border:.2g}" for border in borders]
            how = "Entropy of a node's attention as a share of the largest: 1 listens to all alike."
            svg = columns(counts.tolist(), names, label="Nodes", x_name="evenness")
            panels.append(Panel(f"Layer {number}: evenness", how, svg, means[-1]))
            which = np.digitize(heard, bins(heard))
            groups = [which == i for i in np.unique(which)]
            x = [float(np.log2(heard[group].mean())) for group in groups]
            if not lines:
                lines.append(Line("uniform", x, [float(most[group].mean()) for group in groups], 0))
            lines.append(Line(f"layer {number}", x, [float(entropy[g].mean()) for g in groups], number))
        panels.append(
            Panel(
                "Entropy",
                "Nats, the mean over heads, by how many a node hears (logarithm, base 2).",
                curve(lines, label="Entropy of attention", x_name="log2 of nodes heard"),
                legend=[line.name for line in lines],
            )
        )
        listed = " and ".join(f"{mean:.3f}" for mean in means)
        text = (
            f"How evenly each node spreads its attention over the nodes it hears: {listed} of the largest "
            f"entropy, on average{', layer by layer' if len(means) > 1 else ''}. Close to 1, attention does "
            "no more than an average would; close to 0, a node listens to one other."
        )
        return Section("attention", "Attention", "Whom does it listen to?", text, panels)


class Graphs(_Graph):
    """Whole graphs of a set.

    Args:
        store: Their embeddings.
        parts: Their clusters.
        source: The same graphs, in the store's order.
        encoder: Made the embeddings.
    """

    one, many = "graph", "graphs"
    drawn = "Colours are kinds of nodes, where their features say one of a few."

    def __init__(self, store: Store, parts: Clusters, source: GraphsSource, encoder: nn.Module) -> None:
        super().__init__(store, parts)
        self.source = source
        self.nodes = np.diff(source.ptr)[source.rows]
        starts = np.searchsorted(source.data.edge_index[0].numpy(), source.ptr)
        loops = np.cumsum(np.append(0, (source.data.edge_index[0] == source.data.edge_index[1]).numpy()))
        directed, own = np.diff(starts)[source.rows], np.diff(loops[starts])[source.rows]
        self.edges = (directed - own) // 2

    def draw(self, row: int) -> bytes:
        """Draw a graph; its nodes have colours where their features are one of a few kinds."""
        graph = self.source.sample(row)
        n, edges = int(graph.num_nodes or 0), graph.edge_index.numpy()
        kinds = np.full(n, -1) if self._kinds is None else self._kinds[graph.x.argmax(1).numpy()]
        if n > WHOLE:  # the well-connected part of it
            kept = np.argsort(-np.bincount(edges[0], minlength=n), kind="stable")[:WHOLE]
            place = np.full(n, -1)
            place[kept] = np.arange(WHOLE)
            n, edges, kinds = WHOLE, place[edges], kinds[kept]
            edges = edges[:, (edges >= 0).all(0)]
        plain = "#6f84ff"
        shades = [ink(round(250 + 47 * k) % 360, k % 2) if k >= 0 else plain for k in kinds.tolist()]
        return drawing(edges, shades)

    @cached_property
    def _kinds(self) -> np.ndarray | None:
        """The colour of each column of features, the most frequent first, where features are one-hot."""
        x = self.source.data.x
        if x is None or x.shape[1] > 64 or not bool(((x == 0) | (x == 1)).all() and (x.sum(1) == 1).all()):
            return None
        return np.argsort(np.argsort(-x.sum(0).numpy(), kind="stable"))

    def facts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        return [f"{self.nodes[row]} nodes, {self.edges[row]} edges" for row in rows]

    def sections(self) -> list[Section]:
        nodes, density = self.nodes, 2 * self.edges / np.maximum(self.nodes, 1)
        text = (
            f"{len(nodes):,} graphs with {int(nodes.sum()):,} nodes and {int(self.edges.sum()):,} edges; "
            f"nodes of a graph: mean {nodes.mean():.3g}, median {np.median(nodes):g}, minimum "
            f"{nodes.min():,}, maximum {nodes.max():,}; neighbours of a node: mean "
            f"{2 * self.edges.sum() / max(nodes.sum(), 1):.3g}."
        )
        panels = [
            Panel(
                "Sizes",
                "Number of graphs by number of nodes.",
                histogram(nodes, label="Graphs", x_name="nodes"),
            ),
            Panel(
                f"Mean size by {self.word}",
                "Nodes a graph: a large difference can be told without looking at any edge.",
                bars(self.by_group(nodes), label=f"Mean size by {self.word}"),
            ),
            Panel(
                f"Mean degree by {self.word}",
                "Whether some groups are more densely knit.",
                bars(self.by_group(density), label=f"Mean degree by {self.word}"),
            ),
        ]
        return [Section("graph", "Sizes", "How large are they?", text, panels)]


def bins(values: np.ndarray) -> np.ndarray:
    """Return borders of bins ``(k + 1,)`` for whole numbers: one each while they are few, then ever wider.

    >>> bins(np.array([0, 3])).tolist()
    [0, 1, 2, 3, 4]
    """
    low, high = int(values.min()), int(values.max())
    if high - low < _FEW:
        return np.arange(low, high + 2)
    borders = [low]
    while borders[-1] <= high:
        borders.append(max(borders[-1] + 1, int(borders[-1] * 1.4)))
    return np.array(borders)


def histogram(values: np.ndarray, *, label: str, x_name: str) -> Markup:
    """Draw how often whole numbers occur."""
    borders = bins(values)
    counts = np.histogram(values, borders)[0]
    names = [str(a) if b == a + 1 else f"{a}–{b - 1}" for a, b in pairwise(borders.tolist())]
    return columns(counts.tolist(), names, label=label, x_name=x_name)


def entropies(edges: Tensor, shares: Tensor, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entropy of what each node pays to those it hears, and how many they are.

    Args:
        edges: ``(2, E)`` from heard to hearing.
        shares: ``(E, H)``, which sum to 1 over those that a node hears, in every head.
        nodes: N.

    Returns:
        ``(N,)`` nats, the mean over heads, in [0, log of the second]; ``(N,)`` int64.
    """
    own = -(torch.xlogy(shares, shares)).float().mean(1)
    entropy = torch.zeros(nodes, device=own.device).index_add(0, edges[1], own)
    return entropy.cpu().numpy(), torch.bincount(edges[1], minlength=nodes).cpu().numpy()
