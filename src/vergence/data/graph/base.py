"""What the nodes of one graph and the graphs of a set have in common as a ``Source``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput, unknown
from vergence.data.graph import pyg
from vergence.data.graph.splits import Split
from vergence.data.source import RowSource

if TYPE_CHECKING:
    from vergence.data.targets import Target

DEGREES = 256  # columns of the degree one-hot of graphs without features; the last holds all above


class GraphSource(RowSource):
    """What both grains share.

    Attributes:
        grain: "nodes" where the samples are the nodes of one graph, "graphs" where they are graphs.
        values: ``(n, C)`` marks of several classes at once, or numbers to predict; None where
            ``labels`` says it all.
        notes: What was put right while reading, in words.
        data: The graph, or all graphs one behind the other, with the features ``x`` of nodes or None.
    """

    modality = "graph"
    precision = "fp32"  # sums over neighbours in bfloat16 lose what they sum, and sparse products know none
    grain: ClassVar[Literal["nodes", "graphs"]]
    values: np.ndarray | None
    notes: tuple[str, ...]
    in_dim: int
    data: pyg.Data

    @property
    def targets(self) -> tuple[str, ...]:
        own = "tags" if self.grain == "nodes" else "values"
        return super().targets if self.values is None else (*super().targets, own)

    def target(self, name: str, index: np.ndarray | None = None) -> Target:
        if self.values is None or name not in ("tags", "values") or name not in self.targets:
            return super().target(name, index)
        from vergence.data.targets import Tags, Values

        values = torch.from_numpy(self.values if index is None else self.values[index])
        return (
            Values(values.float()) if name == "values" else Tags(values > 0, torch.ones_like(values).bool())
        )

    def splits(self, protocol: str | None = None, *, seed: int = 0) -> list[Split]:
        """Return the splits of a protocol: one, or one a fold.

        Args:
            protocol: One of ``protocols``; None takes the first.
            seed: Of protocols that draw.

        Raises:
            BadInput: If this source has no such protocol.
        """
        known = self.protocols
        if not known:
            raise BadInput(
                f"{self.uri} has too few labels for any of the usual splits; see measure --protocols."
            )
        name = protocol or known[0]
        if name not in known:
            raise unknown(f"split of {self.uri}", name, known)
        return self._splits(name, seed)

    def scale_features(self) -> None:
        """Let the features of each node sum to 1, where nodes have some.

        Raises:
            BadInput: If one is negative.
        """
        if self.data.x is not None:
            self.data.x = row_normalise(self.data.x, self.uri)

    @property
    def protocols(self) -> list[str]:
        """Names of the splits that this source has, its usual one first."""
        raise NotImplementedError

    def _splits(self, protocol: str, seed: int) -> list[Split]:
        raise NotImplementedError


def degree_features(degrees: Tensor) -> Tensor:
    """Return the fixed stand-in for missing features: degrees one-hot, ``(N, 256)``, 255 and more alike."""
    return torch.nn.functional.one_hot(degrees.long().clamp(max=DEGREES - 1), DEGREES).float()


def row_normalise(x: Tensor, uri: str = "these features") -> Tensor:
    """Divide each row of features ``(N, F)``, at least 0, by its sum; a row of zeros stays.

    Raises:
        BadInput: If a feature is negative; the line names ``uri``.
    """
    if (x < 0).any():
        raise BadInput(f"{uri}: features below 0 cannot be scaled to sum to 1.")
    total = x.sum(1, keepdim=True)
    return x / torch.where(total == 0, torch.ones_like(total), total)
