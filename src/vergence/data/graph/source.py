"""Graphs as a ``Source``, at two grains: the nodes of one graph, or whole graphs of a set."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.core.features import InputSpec
from vergence.data.graph import pyg
from vergence.data.graph.base import DEGREES, GraphSource, degree_features
from vergence.data.graph.build import check_features
from vergence.data.graph.csr import CSR
from vergence.data.graph.splits import Split, folds_10, half, random_10_10_80
from vergence.data.loading import batches, order
from vergence.data.source import ArraySource, Skipped

WHOLE = 200_000  # nodes of the largest graph that is read, and learned from, in one piece
_WHOLE_EDGES = 5_000_000  # directed
_READ = 4096  # nodes at a time of a larger graph


class NodeSource(GraphSource):
    """The nodes of one graph.

    A batch is a PyG ``Data`` with ``x`` (degrees one-hot where the graph has no features),
    ``edge_index`` (both directions of undirected edges) and what else the graph has, and

    - ``seeds``: ``(B,)`` int64, the nodes of the batch that are its samples; ``get("seeds")`` is None
      where all are,
    - ``index``: ``(B,)`` int64, their rows in this source,
    - ``label``: ``(B,)`` int64, -1 where unknown,
    - ``node``: ``(N,)`` int64, which nodes of the whole graph these are,
    - ``out_of``: how many nodes the whole graph has.

    A batch that holds every sample is the whole graph, unless they are a few of a large one's; others
    are sampled neighbourhoods of the seeds, ``fanouts`` neighbours a hop.

    Args:
        graph: As ``build`` returns it; ``y`` holds labels ``(N,)`` or marks ``(N, C)``.
        uri: What was opened.
        names: One a node; None counts.
        classes: Names of the labels.
        fixed: Splits that come with the data, the usual one first.
        notes: See ``GraphSource``.
        directed: Whether edges have a direction.
    """

    grain = "nodes"

    def __init__(
        self,
        graph: pyg.Data,
        uri: str,
        *,
        names: Sequence[str] | None = None,
        classes: list[str] | None = None,
        fixed: Sequence[Split] = (),
        notes: Sequence[str] = (),
        directed: bool = False,
        fanouts: tuple[int, ...] = (15, 10),
    ) -> None:
        y = graph.y
        self.uri, self.data, self.classes = uri, graph, classes
        self.fixed = {split.protocol: split for split in fixed}
        self.notes, self.directed, self.fanouts = tuple(notes), directed, fanouts
        self.skipped, self.view_options = Skipped(), {}
        self._names = names if names is not None else [str(i) for i in range(int(graph.num_nodes or 0))]
        self._labels = y.numpy().astype(np.int64) if y is not None and y.ndim == 1 else None
        self._values = y.numpy() if y is not None and y.ndim == 2 else None
        self.in_dim = DEGREES if graph.x is None else graph.x.shape[1]
        self.choose_rows(np.arange(int(graph.num_nodes or 0)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.whole = len(rows) == self.data.num_nodes and bool((rows == np.arange(len(rows))).all())
        self.names = self._names if self.whole else [self._names[i] for i in rows.tolist()]
        self.labels = None if self._labels is None else self._labels[rows]
        self.values = None if self._values is None else self._values[rows]

    def __repr__(self) -> str:
        links = self.data.num_edges if self.directed else (self.data.num_edges + self._loops) // 2
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        kinds = kinds or (0 if self.values is None else self.values.shape[1])
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<{len(self):,} nodes, {links:,} edges, {kinds or 'no'} classes, from {self.uri}{notes}>"

    @property
    def _small(self) -> bool:
        """Whether the graph, which stays whole in a subset, is handled in one piece."""
        return self.data.num_nodes <= WHOLE and self.data.num_edges <= _WHOLE_EDGES

    @cached_property
    def _loops(self) -> int:
        return int((self.data.edge_index[0] == self.data.edge_index[1]).sum())

    @cached_property
    def csr(self) -> CSR:
        """The neighbour lists, in the order of ``data.edge_index``."""
        source, target = self.data.edge_index.numpy()
        weight = self.data.get("edge_weight")
        ptr = np.searchsorted(source, np.arange(int(self.data.num_nodes or 0) + 1))
        return CSR(ptr, target.astype(np.int32), None if weight is None else weight.numpy())

    @cached_property
    def _incoming(self) -> tuple[CSR, np.ndarray | None]:
        """Whose messages each node hears, and where those edges stand in ``data``; None: in this order."""
        if not self.directed:
            return self.csr, None
        source, target = self.data.edge_index.numpy()
        order = np.lexsort((source, target))
        ptr = np.searchsorted(target[order], np.arange(int(self.data.num_nodes or 0) + 1))
        return CSR(ptr, source[order].astype(np.int32)), order

    @cached_property
    def x(self) -> Tensor:
        """Features ``(N, F)`` of every node of the graph; degrees one-hot where it has none."""
        return self.data.x if self.data.x is not None else degree_features(self._degrees)

    @cached_property
    def _degrees(self) -> Tensor:
        return torch.bincount(self.data.edge_index[0], minlength=int(self.data.num_nodes or 0))

    def sample(self, i: int) -> dict[str, Any]:
        """Return a node as a person would look at it: its name, label, degree and neighbours' names."""
        node = int(self.rows[i])
        near = self.csr.neighbours(node)
        label = -1 if self.labels is None else int(self.labels[i])
        shown = self.classes[label] if self.classes and label >= 0 else label
        return {
            "name": self.names[i],
            "label": shown if label >= 0 else None,
            "degree": len(near),
            "neighbours": [self._names[j] for j in near.tolist()],
        }

    def content(self, i: int) -> bytes:
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        """Of the whole graph, since every node may hear of every other."""
        seen = hashlib.blake2b(digest_size=16)
        for name, value in sorted(self.data.to_dict().items()):
            if isinstance(value, Tensor) and name != "y":
                seen.update(name.encode() + np.ascontiguousarray(value.numpy()).data)
        return seen.digest()

    def subset(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return these nodes as samples; the graph around them stays whole."""
        part = super().subset(rows)
        part.fixed = {}
        return part

    def with_graph(self, graph: pyg.Data) -> NodeSource:
        """Return the same samples with other edges, such as without those that are to be predicted."""
        other = NodeSource(
            graph, self.uri, names=self._names, classes=self.classes, fixed=list(self.fixed.values()),
            notes=self.notes, directed=self.directed, fanouts=self.fanouts,
        )  # fmt: skip
        return other if self.whole else other.subset(self.rows)

    @property
    def protocols(self) -> list[str]:
        if self.labels is not None:
            enough = (self.labels >= 0).sum() // 10 >= 5 * len(np.unique(self.labels))  # a tenth must teach
            return [*self.fixed, *(["random-10-10-80"] if enough else [])]
        return [*self.fixed] if self.values is None else [*self.fixed, "random-50-50"]

    def _splits(self, protocol: str, seed: int) -> list[Split]:
        if protocol in self.fixed:
            return [self.fixed[protocol]]
        if self.labels is None:
            return [half(len(self), seed=seed)]
        return [random_10_10_80(self.labels, seed=seed)]

    def fitting_batch(self, paper: int, most: int) -> int:
        return len(self) if self._small else min(len(self), max(paper, most))

    @property
    def reading_batch(self) -> int:  # type: ignore[override]
        return self.fitting_batch(_READ, _READ)

    def probe_batch(
        self, count: int, *, seed: int, spec: InputSpec | None = None, workers: int | None = None
    ) -> Any:
        if not self._small:
            return super().probe_batch(count, seed=seed, spec=spec, workers=workers)
        samples = order(len(self), shuffle=True, seed=seed)[:count]
        return self._stamped(self.whole_graph(), samples, self.rows[samples])

    def work(self, batch: Any) -> int:
        return int(batch.num_nodes)

    def whole_graph(self) -> pyg.Data:
        """Return the batch that holds every sample."""
        graph = copy.copy(self.data)
        graph.x = self.x
        graph.node = torch.arange(int(self.data.num_nodes or 0))
        return self._stamped(graph, np.arange(len(self)), None if self.whole else self.rows)

    def loader(
        self,
        batch_size: int,
        *,
        spec: InputSpec | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[pyg.Data]:
        n = len(self)
        if batch_size >= n and world == 1 and (self.whole or self._small):
            if not start and n:
                yield self.whole_graph()
            return
        places = order(n, shuffle=shuffle, seed=seed, epoch=epoch)
        shares = batches(
            n, batch_size, fill=shuffle, drop_last=drop_last, start=start, rank=rank, world=world
        )
        for number, share in enumerate(shares, start):
            if len(share):
                drawn = np.random.SeedSequence([seed % 2**64, epoch, number, rank]).generate_state(1)
                yield self.around(places[share], seed=int(drawn[0]))

    def around(self, samples: np.ndarray, *, seed: int = 0) -> pyg.Data:
        """Return the sampled neighbourhood of some samples as a batch.

        Args:
            samples: ``(B,)``, rows of this source, each once.
            seed: Of the neighbours.
        """
        from vergence.data.graph.sampling import neighbour_sample

        heard, edges = self._incoming
        piece = neighbour_sample(heard, self.rows[samples], self.fanouts, seed=seed)
        drawn = torch.from_numpy(piece.edges if edges is None else edges[piece.edges])
        graph = pyg.Data(edge_index=torch.from_numpy(piece.edge_index), num_nodes=len(piece.nodes))
        graph.node = torch.from_numpy(piece.nodes)
        known = self.data.x
        graph.x = known[graph.node] if known is not None else degree_features(self._degrees[graph.node])
        for name in ("edge_weight", "edge_attr", "edge_time"):
            if name in self.data:
                graph[name] = self.data[name][drawn]
        return self._stamped(graph, samples, np.arange(len(samples)))

    def _stamped(self, graph: pyg.Data, samples: np.ndarray, seeds: np.ndarray | None) -> pyg.Data:
        graph.seeds = None if seeds is None else torch.from_numpy(np.ascontiguousarray(seeds))
        graph.index = torch.from_numpy(samples.astype(np.int64))
        graph.label = torch.from_numpy(self.labels_of(samples))
        graph.out_of = int(self.data.num_nodes or 0)
        return graph


class GraphsSource(GraphSource, ArraySource):
    """A set of graphs, each a sample.

    A batch is a PyG ``Batch`` with ``x``, ``edge_index``, ``batch``, ``ptr``, ``num_graphs``, what
    else the graphs have (``edge_attr``), and ``index`` and ``label`` ``(B,)`` as every batch has; ``out_of``
    is the number of samples of the source.

    Args:
        graphs: All of them as one ``Data``: node ids run through, edges sorted by graph.
        ptr: ``(n + 1,)``, where each graph's nodes begin.
        uri: What was opened.
        labels: ``(n,)``, -1 where unknown, or None.
        values: ``(n, T)`` numbers to predict, NaN where unknown, or None.
        names: One a graph; None counts.
        classes: Names of the labels.
        notes: See ``GraphSource``.
    """

    grain = "graphs"

    def __init__(
        self,
        graphs: pyg.Data,
        ptr: np.ndarray,
        uri: str,
        *,
        labels: np.ndarray | None = None,
        values: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        classes: list[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if len(ptr) < 2:
            raise BadInput(f"{uri} holds no graphs.")
        empty = np.flatnonzero(np.diff(ptr) == 0)
        if len(empty):
            raise BadInput(f"{uri}: graph {empty[0] + 1} has no nodes; remove it or give it one.")
        self.data, self.ptr, self.uri, self.classes = graphs, np.asarray(ptr, np.int64), uri, classes
        self._labels, self._values, self.notes = labels, values, tuple(notes)
        self.skipped, self.view_options = Skipped(), {}
        self._names = names if names is not None else [str(i) for i in range(len(ptr) - 1)]
        check_features(None if graphs.x is None else graphs.x.numpy(), uri)
        self.in_dim = DEGREES if graphs.x is None else graphs.x.shape[1]
        source = graphs.edge_index[0].numpy()
        self._edge_ptr = np.searchsorted(source, self.ptr)  # edges are sorted by source, so by graph
        self._degrees = torch.bincount(graphs.edge_index[0], minlength=int(ptr[-1]))
        self.choose_rows(np.arange(len(ptr) - 1))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.names = [self._names[i] for i in rows.tolist()]
        self.labels = None if self._labels is None else self._labels[rows]
        self.values = None if self._values is None else self._values[rows]

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        nodes = int(np.diff(self.ptr)[self.rows].sum())
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<{len(self):,} graphs, {nodes:,} nodes, {kinds or 'no'} classes, from {self.uri}{notes}>"

    def sample(self, i: int) -> pyg.Data:
        """Return graph ``i`` as PyG's ``Data``."""
        batch = self.batch(np.array([i]))
        graph = pyg.Data(x=batch.x, edge_index=batch.edge_index, num_nodes=batch.num_nodes)
        if "edge_attr" in batch:
            graph.edge_attr = batch.edge_attr
        return graph

    def content(self, i: int) -> bytes:
        batch = self.batch(np.array([i]))
        held = [batch.edge_index, batch.get("edge_attr"), None if self.data.x is None else batch.x]
        return b"".join(part.numpy().tobytes() for part in held if part is not None)

    @property
    def protocols(self) -> list[str]:
        return [] if self.labels is None else ["tu-10-fold"]

    def _splits(self, protocol: str, seed: int) -> list[Split]:
        assert self.labels is not None
        return folds_10(self.labels, seed=seed)

    def batch(self, index: np.ndarray) -> pyg.Batch:
        """Return some graphs, by their rows in this source, as one PyG ``Batch``."""
        rows = self.rows[index]
        node, ptr = ragged(self.ptr, rows)
        edge, edge_ptr = ragged(self._edge_ptr, rows)
        shift = np.repeat(ptr[:-1] - self.ptr[rows], np.diff(edge_ptr))
        graphs = self.data
        batch = pyg.Batch(
            edge_index=graphs.edge_index[:, edge] + torch.from_numpy(shift),
            batch=torch.from_numpy(np.repeat(np.arange(len(rows)), np.diff(ptr))),
            ptr=torch.from_numpy(ptr),
        )
        batch.num_nodes = len(node)
        batch.x = graphs.x[node] if graphs.x is not None else degree_features(self._degrees[node])
        for name in graphs.to_dict():
            if name.startswith("edge_") and name != "edge_index":
                batch[name] = graphs[name][edge]
        batch.seeds = None
        batch.index = torch.from_numpy(index.astype(np.int64))
        batch.label = torch.from_numpy(self.labels_of(index))
        batch.out_of = len(self)
        if self.values is not None:
            batch.target = torch.from_numpy(self.values[index].astype(np.float32))
        return batch


def ragged(ptr: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the ranges ``ptr[r]`` to ``ptr[r + 1]`` of some rows hold, one after the other.

    Returns:
        Members ``(m,)`` and where each row's begin ``(rows + 1,)``.

    >>> ragged(np.array([0, 2, 3, 6]), np.array([2, 0]))
    (array([3, 4, 5, 0, 1]), array([0, 3, 5]))
    """
    lengths = ptr[rows + 1] - ptr[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    return np.repeat(ptr[rows], lengths) + within, starts
