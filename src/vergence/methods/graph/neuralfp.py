"""Convolutional Networks on Graphs for Learning Molecular Fingerprints, arXiv:1509.09292."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.encoders import build, read_out
from vergence.nets import mlp, width_of

PLACE = "vergence.methods.graph.neuralfp:Fingerprint"


class Convolution(nn.Module):
    """One radius more: every atom looks at itself and at its neighbours with their bonds.

    ``v_a = r_a H + sum_b [r_b, e_ab] H^deg(a)``, then batch norm and ReLU (Algorithm 2, lines 7 to 9).

    Args:
        into: Width of the atoms' vectors.
        width: Of the answer.
        bond_dim: Width of the bonds' features.
        degrees: Number of degrees, from 0, that have weights of their own; the last holds all above.
    """

    def __init__(self, into: int, width: int, bond_dim: int, degrees: int) -> None:
        super().__init__()
        self.width, self.degrees = width, degrees
        self.own = nn.Linear(into, width, bias=False)  # the norm would remove a bias
        bound = 1 / math.sqrt(into + bond_dim)
        self.neighbours = nn.Parameter(torch.empty(into + bond_dim, degrees * width).uniform_(-bound, bound))
        self.norm = nn.BatchNorm1d(width)

    def forward(self, r: Tensor, edge_index: Tensor, bonds: Tensor) -> Tensor:
        atom, neighbour = edge_index
        seen = torch.cat([r[neighbour], bonds], dim=1)  # (E, into + bond_dim)
        total = seen.new_zeros(len(r), seen.shape[1]).index_add_(0, atom, seen)
        degree = torch.bincount(atom, minlength=len(r)).clamp(max=self.degrees - 1)
        by_degree = (total @ self.neighbours).unflatten(1, (self.degrees, self.width))
        of_own_degree = by_degree[torch.arange(len(r), device=r.device), degree]
        return self.norm(self.own(r) + of_own_degree).relu()


class Fingerprint(nn.Module):
    """A molecule -> a vector ``(length,)`` to which every atom adds at every radius.

    It softens circular fingerprints (ECFP): the hash becomes a layer, the index into the bit string a
    softmax, the sorting of neighbours a sum. Atoms may be numbered in any order.

    Args:
        in_dim: Width of the atoms' features, 62 of molecules.
        bond_dim: Width of the bonds' features that are looked at, 6 of molecules; 0 looks at none.
        length: L, numbers of the fingerprint, at least 1.
        depth: Number of convolutions, the largest radius in bonds; 0 leaves a bag of atoms.
        width: Of the atoms' vectors between convolutions, at least 1.
        degrees: Degrees with weights of their own, 0 to 5 and more; 1 shares one set among all.

    Attributes:
        out_dim: L.
        spec: Set by ``for_source``: what ``build`` needs to make this network again.
    """

    def __init__(
        self,
        in_dim: int = 62,
        bond_dim: int = 6,
        length: int = 50,
        depth: int = 4,
        width: int = 20,
        degrees: int = 6,
    ) -> None:
        super().__init__()
        if min(in_dim, length, width, degrees) < 1 or min(bond_dim, depth) < 0:
            raise BadInput(
                "A fingerprint needs in_dim, length, width and degrees of 1 or more, bond_dim and depth of 0 "
                f"or more; got {in_dim}, {length}, {width}, {degrees}, {bond_dim} and {depth}."
            )
        self.in_dim, self.bond_dim, self.out_dim = in_dim, bond_dim, length
        ends = [in_dim, *[width] * depth]
        self.convolutions = nn.ModuleList(
            Convolution(into, out, bond_dim, degrees) for into, out in pairwise(ends)
        )
        self.write = nn.ModuleList(nn.Linear(into, length) for into in ends)

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network for the features of a source's atoms and bonds."""
        bonds = source.data.get("edge_attr")
        known = {"in_dim": source.in_dim, "bond_dim": 0 if bonds is None else bonds.shape[1]}
        return build(PLACE, **{**known, **options})

    def writes(self, graph: pyg.Data) -> list[Tensor]:
        """Return what each atom adds at each radius, ``depth + 1`` times ``(N, L)``; rows sum to 1.

        Their sum over radii and atoms of a molecule is its fingerprint, so that times the weight of a
        predictor they point to the atoms responsible (Sec. 4.2).
        """
        r, edge_index = graph.x, graph.edge_index
        if r.shape[1] != self.in_dim:
            raise BadInput(
                f"This fingerprint was built for {self.in_dim} atom features; the graph has {r.shape[1]}."
            )
        bonds = r.new_zeros(edge_index.shape[1], 0)
        if self.bond_dim:
            bonds = graph.get("edge_attr")
            if bonds is None or bonds.shape[1] != self.bond_dim:
                raise BadInput(
                    f"This fingerprint needs edge_attr of {self.bond_dim} bond features; build it with "
                    "bond_dim=0 for graphs without."
                )
        written = [self.write[0](r).softmax(dim=1)]
        for convolve, write in zip(self.convolutions, self.write[1:], strict=True):
            r = convolve(r, edge_index, bonds)
            written.append(write(r).softmax(dim=1))
        return written

    def forward(self, graph: pyg.Data) -> Features:
        with torch.autocast(graph.x.device.type, enabled=False):  # sums want all the digits
            return Features(pooled=read_out(torch.stack(self.writes(graph)).sum(0), graph, "sum"))


class NeuralFP(Method):
    """Learn fingerprints of molecules end to end from a number that is known of each.

    Duvenaud, Maclaurin, Aguilera-Iparraguirre, Gómez-Bombarelli, Hirzel, Aspuru-Guzik, Adams, NIPS 2015,
    arXiv:1509.09292. As in the released code, an atom's own vector has weights of its own and bonds stand
    beside the neighbours inside the sum, which Algorithm 2 leaves out. Differs from the released code: batch
    norm divides by the deviation, not by the deviation + 1, and after training uses running statistics, so
    that a fingerprint does not depend on the batch; the mean squared error is minimised, whose root its
    example of regression takes; weights start as torch's layers do, where the paper draws the scale by
    random search. The targets of all samples learned from are used: take a ``subset`` to keep some for
    judging.

    Args:
        encoder: ``Fingerprint``, or another that maps a batch of molecules to ``(B, D)``.
        hidden: Width of the predictor's one hidden layer.
    """

    recipe = Recipe(
        optimizer="adam", lr=2.5e-3, lr_scaling="none", batch=100, epochs=200, weight_decay=1e-4,
        schedule="cosine", encoder=PLACE,
    )  # fmt: skip
    centre: Tensor
    unit: Tensor

    def __init__(self, encoder: nn.Module, *, hidden: int = 100) -> None:
        super().__init__(encoder)
        if hidden < 1:
            raise BadInput(f"NeuralFP needs hidden of 1 or more; got {hidden}.")
        self.hidden = hidden

    def setup(self, source: Source) -> None:
        """Learn the targets' means and deviations, and build the predictor for as many as there are."""
        targets = source.values if isinstance(source, GraphsSource) else None
        if targets is None or source.labels is not None:
            raise BadInput(
                f"neuralfp learns from numbers that are known of molecules, and {source.uri} has none; "
                "open a table as smiles:FILE.csv:COLUMN."
            )
        unknown = ~np.isfinite(targets).any(axis=0)
        if unknown.any():
            raise BadInput(f"{source.uri} has a target, number {unknown.argmax() + 1}, without any value.")
        centre, unit = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.register_buffer("unit", torch.tensor(np.where(unit > 0, unit, 1.0), dtype=torch.float32))
        self.predictor = mlp(width_of(self.encoder), self.hidden, len(centre))

    def views(self, batch: pyg.Data) -> pyg.Data:
        """Return the molecules as they are."""
        return batch

    def loss(self, views: pyg.Data) -> dict[str, Tensor]:
        wanted = (views.target - self.centre) / self.unit
        known = wanted.isfinite()
        return {"squared_error": mse_loss(self.predictor(self.encode(views))[known], wanted[known])}

    @torch.no_grad()
    def predict(self, batch: pyg.Data) -> Tensor:
        """Return the targets ``(B, T)`` in their own unit, as far as the method knows; not while training."""
        return self.predictor(self.encode(batch)) * self.unit + self.centre
