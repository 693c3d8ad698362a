"""GraphCL's four augmentations of sets of graphs (arXiv:2010.13902), a whole batch at a time.

Each takes a PyG ``Batch``, the graphs that are to change, and a ratio; the rest of the batch stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vergence.data.graph import pyg


def counts(graph: pyg.Data) -> Tensor:
    """Return the number of nodes of every graph, ``(G,)``."""
    return graph.ptr[1:] - graph.ptr[:-1]


def lowest(score: Tensor, group: Tensor, many: Tensor) -> Tensor:
    """Mark the ``many[g]`` entries of lowest score in every group.

    Args:
        score: ``(n,)`` float.
        group: ``(n,)`` int64, ascending.
        many: ``(G,)``.
    """
    order = torch.argsort(score, stable=True)
    order = order[torch.argsort(group[order], stable=True)]  # by group, then score
    sizes = torch.bincount(group, minlength=len(many))
    start = torch.cumsum(sizes, 0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - start[group[order]]
    return rank < many[group]


def keep_nodes(graph: pyg.Data, kept: Tensor) -> pyg.Data:
    """Return the batch with only the nodes that ``kept`` ``(N,)`` marks, and the edges between them."""
    place = torch.cumsum(kept, 0) - 1
    both = kept[graph.edge_index].all(0)
    view = copy.copy(graph)
    edges = graph.edge_index.shape[1]
    for name, value in graph.to_dict().items():
        if (
            name.startswith("edge_")
            and name != "edge_index"
            and isinstance(value, Tensor)
            and len(value) == edges
        ):
            view[name] = value[both]
    view.edge_index = place[graph.edge_index[:, both]]
    view.x, view.batch = graph.x[kept], graph.batch[kept]
    view.num_nodes = len(view.batch)
    sizes = torch.bincount(view.batch, minlength=len(graph.ptr) - 1)
    view.ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return view


def drop_nodes(graph: pyg.Data, chosen: Tensor, ratio: float) -> pyg.Data:
    """Remove ``ratio`` of each chosen graph's nodes with their edges; one node always stays."""
    sizes = counts(graph)
    gone = torch.minimum((sizes * ratio).long(), sizes - 1) * chosen
    return keep_nodes(graph, ~lowest(torch.rand(len(graph.batch), device=gone.device), graph.batch, gone))


def mask_nodes(graph: pyg.Data, chosen: Tensor, ratio: float) -> pyg.Data:
    """Replace the features of ``ratio`` of each chosen graph's nodes by noise around the batch's mean.

    Differs from the released code, which draws the noise from N(0.5, 0.5) whatever the features are.
    """
    hit = lowest(
        torch.rand(len(graph.batch), device=graph.x.device), graph.batch, (counts(graph) * ratio).long()
    )
    hit &= chosen[graph.batch]
    noise = torch.randn_like(graph.x) * graph.x.std(0, correction=0) + graph.x.mean(0)
    view = copy.copy(graph)
    view.x = torch.where(hit[:, None], noise, graph.x)
    return view


def perturb_edges(graph: pyg.Data, chosen: Tensor, ratio: float) -> pyg.Data:
    """Remove ``ratio`` of each chosen graph's links, both directions, and add as many between random nodes.

    Added links carry the values of the removed ones. Differs from the released code, which only removes.
    """
    a, b = graph.edge_index
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    link, of = torch.unique(low * len(graph.batch) + high, return_inverse=True)
    group = graph.batch[link // len(graph.batch)]
    many = (torch.bincount(group, minlength=len(chosen)) * ratio).long() * chosen
    moved = lowest(torch.rand(len(link), device=a.device), group, many)
    sizes, start = counts(graph)[group], graph.ptr[:-1][group]
    first, second = ((torch.rand(len(link), device=a.device) * sizes).long() + start for _ in range(2))
    forward = a <= b
    view = copy.copy(graph)
    to = torch.where(forward, first[of], second[of]), torch.where(forward, second[of], first[of])
    hit = moved[of]
    view.edge_index = torch.stack([torch.where(hit, to[0], a), torch.where(hit, to[1], b)])
    return view


def subgraph(graph: pyg.Data, chosen: Tensor, ratio: float) -> pyg.Data:
    """Keep a connected part of each chosen graph, ``1 - ratio`` of its nodes where it reaches that far.

    The part grows from a random node by random neighbours of what it holds. Differs from the
    released code, which keeps ``ratio`` of the nodes and never grows beyond the first node's neighbours.
    """
    sizes = counts(graph)
    n = len(graph.batch)
    aim = torch.where(chosen, (sizes - (sizes * ratio).long()).clamp(min=1), sizes)
    noise = torch.rand(n, device=aim.device)
    first = graph.ptr[:-1] + (torch.rand(len(sizes), device=aim.device) * sizes).long()
    # When a random spread over the edges arrives: the nodes that it meets first are a connected part.
    a, b = graph.edge_index
    delay = torch.empty(len(a), device=aim.device).exponential_() + 1e-6
    arrival = torch.full((n,), torch.inf, device=aim.device)
    arrival[first] = 0.0
    while True:
        nearer = arrival.scatter_reduce(0, b, arrival[a] + delay, "amin")
        if torch.equal(nearer, arrival):
            break
        arrival = nearer
    reached = torch.isfinite(arrival)
    many = torch.minimum(aim, torch.bincount(graph.batch[reached], minlength=len(sizes)))
    many = torch.where(chosen, many, sizes)
    score = torch.where(reached, arrival, noise + 1e30)
    return keep_nodes(graph, lowest(score, graph.batch, many))


def identity(graph: pyg.Data, chosen: Tensor, ratio: float) -> pyg.Data:
    """Leave the graphs as they are."""
    return copy.copy(graph)


AUGMENTS: dict[str, Callable[[pyg.Data, Tensor, float], pyg.Data]] = {
    "drop_nodes": drop_nodes,
    "perturb_edges": perturb_edges,
    "mask_nodes": mask_nodes,
    "subgraph": subgraph,
    "identity": identity,
}


def augmented(graph: pyg.Data, names: Sequence[str], ratio: float) -> pyg.Data:
    """Change every graph of a batch by one augmentation of ``names``, drawn for each graph."""
    drawn = torch.randint(len(names), (len(graph.ptr) - 1,), device=graph.ptr.device)
    for i, name in enumerate(names):
        chosen = drawn == i
        if bool(chosen.any()):
            graph = AUGMENTS[name](graph, chosen, ratio)
    return graph
