"""Graph encoders: stacks of the field's four layers that answer with node or graph vectors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features, unknown
from vergence.core.specs import class_at, is_place, own_spec
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.methods.graph.layers import GAT, LAYERS
from vergence.nets import Dropout
from vergence.nets.links import Links

Readout = Literal["sum", "mean", "max"]
ACTS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "none": nn.Identity,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


_WEIGHTED = ("gcn",)  # layers that use ``edge_weight``


class GraphEncoder(nn.Module):
    """A graph, or a batch of them -> ``Features``.

    ``pooled`` is one vector a sample: the vectors of the batch's seeds (of all nodes, where it names
    none), or, with a ``readout``, one vector a graph.

    Args:
        name: Kind of layer: "gcn", "gat", "sage" or "gin".
        in_dim: Width F of ``x``.
        widths: Of the layers' outputs, one each.
        act: After every layer: a key of ``ACTS``.
        norm: Between layer and activation: a key of ``NORMS``. "gin" takes it after the activation,
            as InfoGraph and GraphCL do.
        dropout: Of each layer's input, in [0, 1).
        final: Whether the last layer too is followed by norm and activation.
        concat: Answer with all layers' outputs, side by side, instead of the last one's.
        readout: How nodes become one vector a graph; None keeps them apart.
        **options: Of the layers.

    Attributes:
        out_dim: D, width of the answer.
        in_dim: F.
        widths: Of the layers' outputs.
        depth: Number of layers.
        spec: Arguments with which ``build`` makes this network again (without its weights).
    """

    def __init__(
        self,
        name: str,
        in_dim: int,
        widths: Sequence[int],
        *,
        act: str = "relu",
        norm: str = "none",
        dropout: float = 0.0,
        final: bool = True,
        concat: bool = False,
        readout: Readout | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name, self.in_dim, self.depth, self.final = name, in_dim, len(widths), final
        self.concat, self.readout = concat, readout
        self.widths, self.out_dim = tuple(widths), sum(widths) if concat else widths[-1]
        self.spec: dict[str, Any] = {}
        ends = [in_dim, *widths]
        self.convs = nn.ModuleList(LAYERS[name](a, b, **options) for a, b in zip(ends, widths, strict=False))
        self.norms = nn.ModuleList(NORMS[norm](width) for width in widths)
        self.acts = nn.ModuleList(ACTS[act]() for _ in widths)
        self.drop = Dropout(dropout)

    @property
    def ends_in_relu(self) -> bool:
        """Whether no number of the answer is ever below 0."""
        normed_last = self.name == "gin" and not isinstance(self.norms[-1], nn.Identity)
        return self.final and isinstance(self.acts[-1], nn.ReLU) and not normed_last

    def links(self, graph: pyg.Data) -> Links:
        """Return whom the nodes hear in every layer."""
        weight = graph.get("edge_weight") if self.name in _WEIGHTED else None
        more = () if weight is None else (weight,)
        return LAYERS[self.name].links(graph.edge_index, len(graph.x), *more)

    def layers(self, graph: pyg.Data) -> list[Tensor]:
        """Return every layer's output, each ``(N, width)``."""
        x, outputs = graph.x, []
        if x is None or x.shape[1] != self.in_dim:
            got = "none" if x is None else f"{x.shape[1]}"
            raise BadInput(f"This encoder was built for {self.in_dim} node features; the graph has {got}.")
        with torch.autocast(x.device.type, enabled=False):  # sums over neighbours want all the digits
            x, links = x.float(), self.links(graph)
            for i, (conv, norm, act) in enumerate(zip(self.convs, self.norms, self.acts, strict=True)):
                x = conv(self.drop(x), links)
                if self.final or i < self.depth - 1:
                    x = norm(act(x)) if self.name == "gin" else act(norm(x))
                outputs.append(x)
        return outputs

    def attention(self, graph: pyg.Data) -> list[tuple[Tensor, Tensor]]:
        """Return whom nodes listen to: a layer of "gat" each, nothing for other kinds.

        Returns:
            Edges ``(2, E)`` from heard to hearing, with a loop at every node, and shares ``(E, H)`` that
            sum to 1 over what a node hears.
        """
        if self.name != "gat":
            return []
        links, convs = self.links(graph), cast(list[GAT], list(self.convs))
        edges = torch.stack([links.source, links.target])
        heard = [graph.x.float(), *self.layers(graph)[:-1]]
        return [(edges, conv.shares(self.drop(x), links)) for conv, x in zip(convs, heard, strict=True)]

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return one vector a node of the batch, ``(N, D)``, seeds or not."""
        outputs = self.layers(graph)
        return torch.cat(outputs, dim=1) if self.concat else outputs[-1]

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.nodes(graph), graph, self.readout))


def read_out(nodes: Tensor, graph: pyg.Data, readout: Readout | None) -> Tensor:
    """Return one vector a sample, ``(B, D)``, of node vectors ``(N, D)``.

    Args:
        nodes: Of all nodes of the batch.
        graph: The batch; its ``seeds`` or its ``batch`` say what a sample is.
        readout: "sum", "mean" or "max" over each graph; None takes the seeds, all nodes where there are none.
    """
    if readout is None:
        seeds = graph.get("seeds")
        return nodes if seeds is None else nodes[seeds]
    row = graph.get("batch")
    if row is None:
        row = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
    count = int(graph.num_graphs) if "ptr" in graph else int(row.max()) + 1
    if readout == "max":
        where = row[:, None].expand_as(nodes)
        return nodes.new_zeros(count, nodes.shape[1]).scatter_reduce(
            0, where, nodes, "amax", include_self=False
        )
    total = nodes.new_zeros(count, nodes.shape[1]).index_add(0, row, nodes)
    if readout == "sum":
        return total
    return total / torch.bincount(row, minlength=count).clamp(min=1)[:, None]


class Table(nn.Module):
    """One stored vector a sample: what methods without a network leave behind.

    Args:
        vectors: ``(n, D)``, of the rows of the source that they were learned from. A source of another
            number of rows is refused.
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors.detach().float(), requires_grad=False)
        self.out_dim = vectors.shape[1]
        self.spec = {"name": "table", "in_dim": 0, "rows": len(vectors), "width": self.out_dim}

    def fresh(self) -> None:
        """Nothing was there before."""

    def forward(self, graph: pyg.Data) -> Features:
        rows, total = len(self.vectors), graph.get("out_of")
        if total is not None and total != rows:
            raise BadInput(
                f"A method without a network knows the {rows:,} samples that it learned from, and here are "
                f"{total:,}; learn from these."
            )
        node = graph.node if "node" in graph else graph.index
        seeds = graph.get("seeds")
        return Features(pooled=self.vectors[node if seeds is None else node[seeds]])


def names() -> list[str]:
    """Return every name that ``build`` knows."""
    return [*LAYERS, "table"]


def build(name: str | None = None, **spec: Any) -> nn.Module:
    """Make an encoder again from its ``spec``, or a new one.

    Args:
        name: One of ``names()``; None takes "gin" with a readout and "gcn" without. A paper's own
            encoder goes by its class, "vergence.methods.graph.KEY:Class".
        **spec: Arguments of ``stack``, of ``Table`` or of that class.

    Raises:
        BadInput: If the name or an option does not exist or is out of its range.

    >>> build("gcn", in_dim=8, width=(64, 32)).out_dim
    32
    >>> build("gin", in_dim=8, width=32, layers=3, readout="sum").out_dim
    96
    """
    if name == "table":
        return Table(torch.zeros(spec["rows"], spec["width"]))
    if is_place(name):
        encoder = class_at(name)(**spec)
        encoder.spec = {"name": name, **spec}  # type: ignore[assignment]
        return encoder
    return stack(name, **spec)


def stack(
    name: str | None = None,
    *,
    in_dim: int,
    width: int | Sequence[int] = 256,
    layers: int = 2,
    readout: Readout | None = None,
    **options: Any,
) -> GraphEncoder:
    """Stack layers of one kind.

    Args:
        name: "gcn", "gat", "sage" or "gin"; None takes "gin" with a readout and "gcn" without.
        in_dim: Width of the nodes' features, at least 1.
        width: Of every layer, or one a layer.
        layers: How many, where ``width`` is one number.
        readout: "sum", "mean" or "max" for sets of graphs, None for the nodes of one.
        **options: ``act``, ``norm``, ``dropout``, ``final``, ``concat`` (see ``GraphEncoder``), and of
            the layers: ``heads`` and ``attention_dropout`` of "gat", ``bias`` of "gcn".

    Raises:
        BadInput: If the name or an option does not exist or is out of its range.
    """
    name = name or ("gcn" if readout is None else "gin")
    if name not in LAYERS:
        raise unknown("graph encoder", name, names())
    widths = [width] * layers if isinstance(width, int) else [int(w) for w in width]
    if in_dim < 1 or not widths or min(widths) < 1:
        raise BadInput(
            f"A graph encoder needs features, layers and widths of 1 or more; got {in_dim}, {widths}."
        )
    if readout is not None and readout not in ("sum", "mean", "max"):
        raise unknown("readout", readout, ("sum", "mean", "max"))
    own = {"act": "relu", "norm": "none", "dropout": 0.0, "final": True, "concat": False}
    if name == "gin":
        own |= {"norm": "batch", "concat": readout is not None}
    fit = [*own, *list(inspect.signature(LAYERS[name]).parameters)[2:]]
    for option in options:
        if option not in fit:
            raise unknown(f"option of {name}", option, [*fit, "width", "layers", "readout"])
    for option, known in (("act", ACTS), ("norm", NORMS)):
        if (value := options.get(option, own[option])) not in known:
            raise unknown(option, str(value), known)
    encoder = GraphEncoder(name, in_dim, widths, readout=readout, **{**own, **options})
    kept = width if isinstance(width, int) else widths
    encoder.spec = {
        "name": name,
        "in_dim": in_dim,
        "width": kept,
        "layers": layers,
        "readout": readout,
        **options,
    }
    return encoder


def for_source(
    source: GraphSource, name: str | None = None, *, size: int | None = None, **options: Any
) -> nn.Module:
    """Make the encoder that suits a source: node vectors of one graph, summed graph vectors of a set.

    Args:
        source: Of graphs; tells the width of the features.
        name: As in ``build``.
        size: Must be None: graphs have no side.
        **options: As in ``stack``; of sets of graphs, ``width`` is 32 and ``layers`` 3 by default. A paper's
            own encoder gets them with ``in_dim``, or makes itself in its classmethod ``for_source``.

    Raises:
        BadInput: As ``build`` does, and for a ``size``.
    """
    if size is not None:
        raise BadInput(f"{source.uri} holds graphs, which have no size in pixels; leave --size out.")
    if is_place(name):
        own = class_at(name)
        made = own.for_source(source, **options) if hasattr(own, "for_source") else None
        return made or build(name, in_dim=source.in_dim, **options)
    chosen: dict[str, Any] = {} if source.grain == "nodes" else {"readout": "sum", "width": 32, "layers": 3}
    return build(name, in_dim=source.in_dim, **{**chosen, **options})


def adapt(make: Callable[[int], nn.Module], source: GraphSource, *, size: int | None = None) -> nn.Module:
    """Return a network of the user's own as an encoder of nodes or graphs; see ``own.OwnGraphEncoder``.

    Args:
        make: From the width of the nodes' features to the network.
        source: Of graphs.
        size: Must be None.

    Raises:
        BadInput: If it cannot read them, or answers with something else than vectors.
    """
    if size is not None:
        raise BadInput(f"{source.uri} holds graphs, which have no size in pixels; leave --size out.")
    own: Any = class_at("vergence.methods.graph.own:OwnGraphEncoder")
    encoder: Any = own(make, in_dim=source.in_dim, readout=None if source.grain == "nodes" else "sum")
    encoder.spec["own"] = own_spec(encoder.net)
    return encoder
