"""Generative Modeling of Graphs via Joint Diffusion of Node and Edge Attributes, arXiv:2402.04046."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.encoders import build
from vergence.nets import mlp

PLACE = "vergence.methods.graph.jointgraphdiff:ScoreNet"
BETA = (0.1, 20.0)  # β0 and β1 of the variance-preserving SDE
FIRST = 1e-3  # the smallest time that is learned and sampled


def marginal(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor of the data and the deviation of the noise at time ``t`` in [0, 1].

    >>> marginal(torch.tensor(0.0))
    (tensor(1.), tensor(0.))
    """
    low, high = BETA
    mean = torch.exp(-0.25 * t**2 * (high - low) - 0.5 * t * low)
    return mean, (1 - mean**2).sqrt()


def noise(x: Tensor, e: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return normal noise in the shapes of ``x`` and ``e``: symmetric, none where no pair is."""
    upper = torch.randn_like(e) * pairs(mask).triu(1)[..., None]
    return torch.randn_like(x) * mask[..., None], upper + upper.transpose(1, 2)


def pairs(mask: Tensor) -> Tensor:
    """Return ``(B, n, n)``, whether two different nodes are both there."""
    own = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return mask[:, :, None] & mask[:, None, :] & ~own


class Block(nn.Module):
    """Nodes attend to nodes by what joins them; what joins them then looks at both and at the attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_h, self.norm_e = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.logit, self.gate = nn.Linear(width, heads), nn.Linear(width, heads)
        self.node = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.edge = nn.Sequential(nn.Linear(3 * width + heads, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, h: Tensor, e: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        u, w = self.norm_h(h), self.norm_e(e)
        q, k, v = (part(u).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value))
        logits = torch.einsum("bihd,bjhd->bijh", q, k) / math.sqrt(q.shape[-1]) + self.logit(w)
        attention = logits.masked_fill(~mask[:, None, :, None], -1e9).softmax(dim=2)
        gated = attention * self.gate(w).sigmoid()
        h = h + self.node(torch.einsum("bijh,bjhd->bihd", gated, v).flatten(2))
        both = h[:, :, None] + h[:, None, :], h[:, :, None] * h[:, None, :]
        return h, e + self.edge(torch.cat([*both, w, attention + attention.transpose(1, 2)], dim=-1))


class ScoreNet(nn.Module):
    """Noisy node attributes, links and edge attributes -> the noise in each; permutation-equivariant.

    A batch's embedding is the mean of its nodes' hidden vectors without noise.

    Args:
        in_dim: F, attributes a node.
        edge_dim: s, attributes an edge; the link itself is one channel more.
        most: Largest number of nodes.
        width: Of the hidden vectors of nodes and of pairs.
        layers: Blocks.
        heads: Of attention; divide ``width``.
        joint: Whether both noises are told from nodes and pairs together; if not, each from its own.
    """

    x_mean: Tensor
    x_std: Tensor
    e_mean: Tensor
    e_std: Tensor
    sizes: Tensor

    def __init__(
        self,
        in_dim: int,
        edge_dim: int = 0,
        most: int = 16,
        width: int = 32,
        layers: int = 5,
        heads: int = 4,
        joint: bool = True,
    ) -> None:
        super().__init__()
        if min(in_dim, most, width, layers, heads) < 1 or edge_dim < 0 or width % heads:
            raise BadInput(
                "A score network needs in_dim, most, width, layers and heads of 1 or more, and heads that "
                f"divide width; got {in_dim}, {most}, {width}, {layers} and {heads}."
            )
        self.in_dim, self.edge_dim, self.out_dim, self.joint = in_dim, edge_dim, width, joint
        self.into_h, self.into_e = nn.Linear(in_dim, width), nn.Linear(1 + edge_dim, width)
        self.time = mlp(16, width, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.to_x = nn.Linear(width, in_dim)
        self.to_e = nn.Linear(width, 1 + edge_dim)
        self.register_buffer("x_mean", torch.zeros(in_dim))
        self.register_buffer("x_std", torch.ones(in_dim))
        self.register_buffer("e_mean", torch.zeros(edge_dim))
        self.register_buffer("e_std", torch.ones(edge_dim))
        self.register_buffer("sizes", torch.ones(most + 1))  # how many graphs have 0, 1, … nodes

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network for the attributes and sizes of a set of graphs."""
        if not isinstance(source, GraphsSource):
            raise BadInput(f"jointgraphdiff learns from sets of graphs; {source.uri} is one graph.")
        edges = source.data.get("edge_attr")
        known = {
            "in_dim": source.in_dim,
            "edge_dim": 0 if edges is None else edges.reshape(len(edges), -1).shape[1],
        }
        known["most"] = int((source.ptr[1:] - source.ptr[:-1])[source.rows].max())
        net = build(PLACE, **{**known, **options})
        assert isinstance(net, cls)
        net.look_at(source)
        return net

    def look_at(self, source: GraphsSource) -> None:
        """Learn the attributes' means and deviations and how large graphs are."""
        sizes = torch.from_numpy((source.ptr[1:] - source.ptr[:-1])[source.rows])
        if int(sizes.max()) >= len(self.sizes):
            raise BadInput(
                f"This score network is for up to {len(self.sizes) - 1} nodes; a graph has {sizes.max()}."
            )
        batch = source.batch(torch.arange(len(source)).numpy())
        self.sizes.copy_(torch.bincount(sizes, minlength=len(self.sizes)))
        self.x_mean.copy_(batch.x.mean(0))
        self.x_std.copy_(_deviation(batch.x))
        if self.edge_dim:
            edges = batch.edge_attr.reshape(batch.num_edges, -1).float()
            self.e_mean.copy_(edges.mean(0))
            self.e_std.copy_(_deviation(edges))

    def dense(self, graph: pyg.Data) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised ``x (B, n, F)``, pairs ``e (B, n, n, 1 + s)`` and ``mask (B, n)``.

        The first channel of a pair is 1 where there is a link and -1 elsewhere; attributes off links are 0.
        """
        row, ptr = graph.batch, graph.ptr
        n = int((ptr[1:] - ptr[:-1]).max())
        place = torch.arange(len(row), device=row.device) - ptr[row]
        x = graph.x.new_zeros(len(ptr) - 1, n, self.in_dim)
        x[row, place] = (graph.x - self.x_mean) / self.x_std
        mask = torch.zeros(len(ptr) - 1, n, dtype=torch.bool, device=row.device)
        mask[row, place] = True
        u, v = graph.edge_index
        e = x.new_zeros(len(x), n, n, 1 + self.edge_dim)
        e[row[u], place[u], place[v], 0] = 1.0
        if self.edge_dim:
            edges = graph.edge_attr.reshape(graph.num_edges, -1).float()
            e[row[u], place[u], place[v], 1:] = (edges - self.e_mean) / self.e_std
        e = torch.cat(
            [2 * e[..., :1].maximum(e[..., :1].transpose(1, 2)) - 1, (e + e.transpose(1, 2))[..., 1:] / 2], -1
        )
        return x, e * pairs(mask)[..., None], mask

    def hidden(self, x: Tensor, e: Tensor, mask: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        waves = t[:, None] * 2.0 ** torch.arange(-1, 7, device=t.device)
        now = self.time(torch.cat([waves.sin(), waves.cos()], dim=1))
        h, w = self.into_h(x) + now[:, None], self.into_e(e) + now[:, None, None]
        for block in self.blocks:
            h, w = block(h, w, mask)
        return h, w

    def predict(self, x: Tensor, e: Tensor, mask: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise in ``x`` and ``e`` at times ``t (B,)``: the scores times minus the deviation."""
        if self.joint:
            h, w = self.hidden(x, e, mask, t)
        else:
            h = self.hidden(x, torch.zeros_like(e), mask, t)[0]
            w = self.hidden(torch.zeros_like(x), e, mask, t)[1]
        return self.to_x(h) * mask[..., None], self.to_e(w) * pairs(mask)[..., None]

    def forward(self, graph: pyg.Data) -> Features:
        x, e, mask = self.dense(graph)
        h, _ = self.hidden(x, e, mask, x.new_full((len(x),), FIRST))
        return Features(pooled=(h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    @torch.no_grad()
    def sample(self, count: int, *, steps: int = 200) -> list[pyg.Data]:
        """Return new graphs with ``x``, ``edge_index`` both ways and ``edge_attr``.

        The reverse SDE from normal noise, by Euler's method; torch's default generator draws.

        Args:
            count: How many, at least 1.
            steps: From time 1 to 0, at least 2.
        """
        if count < 1 or steps < 2:
            raise BadInput(f"sample needs a count of 1 or more and 2 steps or more; got {count} and {steps}.")
        sizes = torch.multinomial(self.sizes, count, replacement=True)
        mask = torch.arange(int(sizes.max()), device=sizes.device) < sizes[:, None]
        n = mask.shape[1]
        x, e = noise(
            self.x_mean.new_zeros(count, n, self.in_dim),
            self.x_mean.new_zeros(count, n, n, 1 + self.edge_dim),
            mask,
        )
        times = torch.linspace(1.0, FIRST, steps, device=x.device)
        step = (1.0 - FIRST) / (steps - 1)
        for i, t in enumerate(times):
            beta, deviation = BETA[0] + t * (BETA[1] - BETA[0]), marginal(t)[1]
            guess = self.predict(x, e, mask, t.expand(count))
            drawn = noise(x, e, mask)
            last = i == steps - 1
            x, e = (
                part
                + step * beta * (part / 2 - predicted / deviation)
                + (0 if last else (step * beta).sqrt() * fresh)
                for part, predicted, fresh in zip((x, e), guess, drawn, strict=True)
            )
        linked = (e[..., 0] > 0) & pairs(mask)
        graphs = []
        for k in range(count):
            u, v = linked[k].nonzero().T
            size = int(sizes[k])
            made = pyg.Data(
                x=x[k, :size] * self.x_std + self.x_mean, edge_index=torch.stack([u, v]), num_nodes=size
            )
            made.edge_attr = e[k, u, v, 1:] * self.e_std + self.e_mean
            graphs.append(made)
        return graphs


def _deviation(values: Tensor) -> Tensor:
    deviation = values.float().std(0, correction=0)
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


class JointGraphDiff(Method):
    """Learn to take away noise from nodes and edges at once, and so to draw new graphs.

    Berman, Kosman, Di Castro, Azencot 2024, arXiv:2402.04046. One variance-preserving SDE on (X, E), where
    links are one more channel of E, with one time for both; the loss is ‖s σ_t + z‖² of each, where both
    scores are told from both noisy parts. ``encoder.sample`` draws graphs.

    Differs from the paper: no official code is known, and the layer follows what the paper says of it; β
    rises to 20, so that no data is left at time 1; links are -1 and 1; attributes are standardised; sampling
    is Euler's method alone; no moving average of weights is kept.

    Args:
        encoder: ``ScoreNet``.
    """

    recipe = Recipe(
        optimizer="adam", lr=2e-3, lr_scaling="none", batch=64, epochs=400, weight_decay=0.0,
        schedule="cosine", encoder=PLACE,
    )  # fmt: skip

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, ScoreNet):
            raise BadInput(
                f"jointgraphdiff trains a ScoreNet; leave --encoder out (got {type(encoder).__name__})."
            )
        self.net = encoder

    def setup(self, source: Source) -> None:
        if not isinstance(source, GraphsSource):
            raise BadInput(f"jointgraphdiff learns from sets of graphs; {source.uri} is one graph.")
        self.net.look_at(source)

    def views(self, graph: pyg.Data) -> tuple[Tensor, ...]:
        """Return noisy nodes and pairs, the noise in them, who is there, and the times."""
        x, e, mask = self.net.dense(graph)
        t = FIRST + (1 - FIRST) * torch.rand(len(x), device=x.device)
        mean, deviation = marginal(t)
        z_x, z_e = noise(x, e, mask)
        x = mean[:, None, None] * x + deviation[:, None, None] * z_x
        e = mean[:, None, None, None] * e + deviation[:, None, None, None] * z_e
        return x, e, z_x, z_e, mask, t

    def loss(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        x, e, z_x, z_e, mask, t = views
        found_x, found_e = self.net.predict(x, e, mask, t)
        nodes = mask.sum() * x.shape[-1]
        edges = (pairs(mask).sum() * e.shape[-1]).clamp(min=1)
        return {
            "nodes": (found_x - z_x).square().sum() / nodes,
            "edges": (found_e - z_e).square().sum() / edges,
        }
