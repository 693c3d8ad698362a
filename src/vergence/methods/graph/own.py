"""Networks of the user's own as graph encoders: PyG's way, ``forward(x, edge_index)``."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features
from vergence.core.specs import own_spec, place_of
from vergence.data.graph import pyg
from vergence.methods.graph.encoders import Readout, read_out
from vergence.nets.own import Own, answer, own_module, renewed, width_of_answer

_OPTIONAL = ("edge_weight", "edge_attr", "batch")  # given where forward takes them and the graph has them


class OwnGraphEncoder(nn.Module):
    """A network of the user's own that reads graphs.

    If its ``forward`` takes ``x`` and ``edge_index``, it gets these, and ``edge_weight``, ``edge_attr`` and
    ``batch`` where it takes them and the graph has them; else it gets the batch, a PyG ``Data``. It answers
    with one vector a node ``(N, D)``, or, of sets of graphs, one a graph.

    Args:
        own: The network, its spec, or what makes it of the width of the features.
        in_dim: Width F of ``x``.
        readout: How nodes become one vector a graph; None keeps them apart.

    Attributes:
        net: The network.

    Raises:
        BadInput: If it cannot read such graphs, or answers with something else.
    """

    def __init__(self, own: Own, *, in_dim: int, readout: Readout | None = None) -> None:
        super().__init__()
        self.net, self.in_dim, self.readout = own_module(own, in_dim), in_dim, readout
        takes = inspect.signature(self.net.forward).parameters
        self.takes = [name for name in ("x", "edge_index", *_OPTIONAL) if name in takes]
        self.apart = {"x", "edge_index"} <= set(takes)
        edges = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        example = pyg.Data(x=torch.zeros(4, in_dim), edge_index=edges)
        gets = f"a graph, x (4, {in_dim}) float32 and edge_index (2, 4)"
        if not self.apart:
            gets += ", as one PyG Data (name the arguments of its forward x and edge_index to get these)"
        if readout is not None:
            example.batch, example.ptr = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 4])
            example.num_graphs = 2
        self.out_dim = width_of_answer(self.forward, self.net, example, gets)
        self.spec: dict[str, Any] = {
            "name": place_of(type(self)), "in_dim": in_dim, "readout": readout, "own": own_spec(self.net),
        }  # fmt: skip

    def fresh(self) -> OwnGraphEncoder | None:
        """Return the same network with new random weights, or None where there can be none."""
        net = renewed(self.net)
        return None if net is None else OwnGraphEncoder(net, in_dim=self.in_dim, readout=self.readout)

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return one vector a node, ``(N, D)``; raises ``BadInput`` if the network answers for graphs."""
        return self._answer(graph, (int(graph.num_nodes or 0),))

    def _answer(self, graph: pyg.Data, rows: tuple[int, ...]) -> Tensor:
        if graph.x is None or graph.x.shape[1] != self.in_dim:
            got = "none" if graph.x is None else f"{graph.x.shape[1]}"
            raise BadInput(f"This encoder was built for {self.in_dim} node features; the graph has {got}.")
        known = {name: graph.get(name) for name in self.takes}
        given = {name: value for name, value in known.items() if value is not None}
        with torch.autocast(graph.x.device.type, enabled=False):  # sums over neighbours want all the digits
            output = self.net(**given) if self.apart else self.net(graph)
        return answer(output, self.net, rows).pooled

    def forward(self, graph: pyg.Data) -> Features:
        nodes = int(graph.num_nodes or 0)
        rows = (nodes,) if self.readout is None else (nodes, int(graph.num_graphs))
        vectors = self._answer(graph, rows)
        if self.readout is not None and len(vectors) != nodes:
            return Features(vectors)
        return Features(read_out(vectors, graph, self.readout))
