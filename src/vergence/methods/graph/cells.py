"""Cells of graph architecture search: operations on nodes and edges, and choices between them.

Cai et al. 2021, arXiv:2109.01356, Sec. 4. A cell has states of nodes and of edges; a new state is the sum of
operations on earlier pairs of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

NODE_OPS = ("none", "identity", "max", "mean", "sum")
EDGE_OPS = ("none", "identity", "difference", "gaussian", "product", "sum", "mean", "max")
SIDES = ("nodes", "edges")
KEPT = 2  # inputs of every state, after the search
_OPEN, _DROPPED = -1, -2

Input = tuple[int, str]  # an earlier state and the operation on it
Genotype = dict[str, list[list[Input]]]  # "nodes" and "edges": the inputs of every new state


class Message(nn.Module):
    """New nodes from messages ``sigmoid(B E) * V_src + C E``, combined by max, mean or sum (Sec. 4.1)."""

    def __init__(self, kind: str, width: int, affine: bool) -> None:
        super().__init__()
        self.kind, self.width = kind, width
        self.gate, self.shift = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.after = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=affine))

    def messages(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        return self.gate(e).sigmoid() * v[edges[0]] + self.shift(e)

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        messages, target = self.messages(v, e, edges), edges[1]
        if self.kind == "max":
            where = target[:, None].expand_as(messages)
            result = torch.zeros_like(v).scatter_reduce(0, where, messages, "amax", include_self=False)
        else:
            result = torch.zeros_like(v).index_add(0, target, messages)
            if self.kind == "mean":
                result = result / torch.bincount(target, minlength=len(v)).clamp(min=1)[:, None]
        return self.after(result)


class Relation(nn.Module):
    """New edges ``sigmoid(scale(t)) * E + shift(t)`` with t made of both ends (Sec. 4.2)."""

    def __init__(self, kind: str, width: int, affine: bool) -> None:
        super().__init__()
        self.kind = kind
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.after = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=affine))

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Return t ``(E, width)``, the same whichever end comes first."""
        if self.kind == "difference":
            return (a - b).abs()
        if self.kind == "gaussian":
            return (-((a - b) ** 2)).exp()
        if self.kind == "product":
            return a * b
        if self.kind == "max":
            return torch.maximum(a, b)
        return (a + b) / 2 if self.kind == "mean" else a + b

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        t = self.between(v[edges[0]], v[edges[1]])
        return self.after(self.scale(t).sigmoid() * e + self.shift(t))


class Identity(nn.Module):
    """The earlier state as it is; of "nodes" V, of "edges" E."""

    def __init__(self, side: str) -> None:
        super().__init__()
        self.side = side

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        return v if self.side == "nodes" else e


def operation(side: str, name: str, width: int, *, affine: bool) -> nn.Module:
    """Make an operation; "none" has no module."""
    if name == "identity":
        return Identity(side)
    return (Message if side == "nodes" else Relation)(name, width, affine)


class Choice(nn.Module):
    """Which operation leads from one earlier state to a new one; all cells share it.

    Attributes:
        alpha: Logits of the operations' weights.
        chosen: What was decided for, saved with the weights: the place among ``names``, or a number below 0
            while it is open (``open``) and where the input was dropped.
    """

    chosen: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(names)))
        self.register_buffer("chosen", torch.tensor(_OPEN))

    @property
    def open(self) -> bool:
        return int(self.chosen) == _OPEN

    @property
    def operation(self) -> str | None:
        """Return the operation that was decided for; None while it is open and of a dropped input."""
        return self.names[int(self.chosen)] if self.chosen >= 0 else None

    def shares(self) -> dict[str, Tensor]:
        """Return the weight of every operation; they sum to 1."""
        return dict(zip(self.names, self.alpha.softmax(0), strict=True))

    def importance(self) -> float:
        """Return the weight that "none" does not have, in [0, 1]."""
        return sum(float(share.detach()) for name, share in self.shares().items() if name != "none")

    def decide(self) -> None:
        """Take the heaviest operation but "none"."""
        shares = {name: float(share.detach()) for name, share in self.shares().items() if name != "none"}
        best = max(shares, key=lambda name: shares[name])
        self.chosen.fill_(self.names.index(best))

    def drop(self) -> None:
        """Leave the input out."""
        self.chosen.fill_(_DROPPED)


def criterion(choices: Sequence[Choice]) -> Tensor:
    """Return how much each of several choices is to be preferred, ``(n,)`` float64 in [0, 1].

    SGAS's first criterion (Li et al. 2020, arXiv:1912.00195, Eq. 5): importance, the weight that "none" does
    not have, times certainty, 1 less the normalised entropy of the other operations, each brought to [0, 1]
    by the least and the largest of these choices; 0 where all are equal.

    Args:
        choices: Of the same operations.
    """
    share = torch.stack([choice.alpha.detach() for choice in choices]).double().softmax(1)
    rest = share[:, [name != "none" for name in choices[0].names]]
    importance = rest.sum(1)
    p = rest / importance[:, None]
    entropy = -torch.xlogy(p, p).sum(1) / math.log(max(2, p.shape[1]))
    return _min_max(importance) * _min_max(1 - entropy)


def _min_max(x: Tensor) -> Tensor:
    span = x.max() - x.min()
    return (x - x.min()) / span if span > 0 else torch.zeros_like(x)


class Mixed(nn.Module):
    """All operations at once, weighted by an open choice; the chosen one alone afterwards."""

    def __init__(self, side: str, choice: Choice, width: int) -> None:
        super().__init__()
        self.choice = choice
        names = [name for name in choice.names if name != "none"]
        self.ops = nn.ModuleDict({name: operation(side, name, width, affine=False) for name in names})

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor | int:
        if not self.choice.open:
            chosen = self.choice.operation
            return 0 if chosen is None else self.ops[chosen](v, e, edges)
        share = self.choice.shares()
        return sum(share[name] * op(v, e, edges) for name, op in self.ops.items())


class Cell(nn.Module):
    """New states of nodes and edges, each the sum of operations on earlier pairs of states.

    Args:
        inputs: "nodes" and "edges" -> of every new state, (earlier state, operation).
        width: Of all states.
    """

    def __init__(self, inputs: dict[str, list[list[tuple[int, nn.Module]]]], width: int) -> None:
        super().__init__()
        self.places = {side: [[j for j, _ in state] for state in states] for side, states in inputs.items()}
        self.ops = nn.ModuleDict(
            {
                side: nn.ModuleList(nn.ModuleList(op for _, op in state) for state in states)
                for side, states in inputs.items()
            }
        )
        new = len(inputs["nodes"])
        self.join = nn.ModuleDict(
            {
                side: nn.Sequential(nn.Linear(new * width, width, bias=False), nn.BatchNorm1d(width))
                for side in inputs
            }
        )

    def _state(self, side: str, i: int, vs: list[Tensor], es: list[Tensor], edges: Tensor) -> Tensor:
        operations = zip(self.places[side][i], self.ops[side][i], strict=True)  # type: ignore[index]
        total = sum(op(vs[j], es[j], edges) for j, op in operations)
        return total if isinstance(total, Tensor) else torch.zeros_like((vs if side == "nodes" else es)[0])

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        vs, es = [v], [e]
        for i in range(len(self.places["nodes"])):
            new = [self._state(side, i, vs, es, edges) for side in SIDES]
            vs, es = [*vs, new[0]], [*es, new[1]]
        joined = self.join["nodes"](torch.cat(vs[1:], 1)), self.join["edges"](torch.cat(es[1:], 1))
        return v + relu(joined[0]), e + relu(joined[1])


def places(states: int) -> list[tuple[int, int]]:
    """Return (new state i, earlier state j): new state i may hear states 0 to i."""
    return [(i, j) for i in range(states) for j in range(i + 1)]


def random_genotype(states: int, rng: np.random.Generator) -> Genotype:
    """Draw inputs and operations, "none" excepted, uniformly."""
    drawn: Genotype = {"nodes": [], "edges": []}
    for side, names in (("nodes", NODE_OPS[1:]), ("edges", EDGE_OPS[1:])):
        for i in range(states):
            heard = sorted(rng.choice(i + 1, min(KEPT, i + 1), replace=False).tolist())
            drawn[side].append([(j, str(rng.choice(names))) for j in heard])
    return drawn
