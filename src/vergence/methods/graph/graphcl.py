"""Graph Contrastive Learning with Augmentations (GraphCL), arXiv:2010.13902."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Method, Recipe, unknown
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.engine.distributed import gather
from vergence.losses.precision import in_float32
from vergence.methods.graph.augment import AUGMENTS, augmented
from vergence.nets import mlp, width_of


class GraphCL(Method):
    """Find the other augmented copy of a graph among those of all other graphs in the batch.

    You, Chen, Sui, Chen, Wang, Shen 2020, arXiv:2010.13902. The recipe and the encoder (three GIN layers
    of 32, their sums over a graph side by side) are those of the unsupervised experiments (Sec. 5).
    Differs from the released code of those experiments: both views are augmented, as in Sec. 3.2, where
    it sets one against the original; see ``augment`` for what each augmentation mends.

    Args:
        encoder: Maps a batch of B graphs to ``(B, D)`` or ``Features``.
        augment: Names out of "drop_nodes", "perturb_edges", "mask_nodes", "subgraph" and "identity"; each
            graph of each view undergoes one of them, drawn at random.
        ratio: Share of a graph's nodes or links that is changed, in [0, 1).
        temperature: Softmax temperature, above 0, τ.
    """

    recipe = Recipe(
        optimizer="adam", lr=0.01, lr_scaling="none", batch=128, epochs=20, schedule="constant", encoder="gin"
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        augment: Sequence[str] = ("drop_nodes", "perturb_edges", "mask_nodes", "subgraph"),
        ratio: float = 0.2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0:
            raise BadInput(f"GraphCL needs temperature > 0; got {temperature}.")
        width = width_of(encoder)
        self.project = mlp(width, width, width, norm=False)  # g, Sec. 3.2
        self.temperature = temperature
        self.configure_views({"augment": augment, "ratio": ratio})

    def configure_views(self, options: Mapping[str, Any]) -> None:
        names = options.get("augment", getattr(self, "augment", ()))
        self.augment = [names] if isinstance(names, str) else list(names)
        self.ratio = options.get("ratio", getattr(self, "ratio", 0.0))
        for name in self.augment:
            if name not in AUGMENTS:
                raise unknown("augmentation of graphs", name, AUGMENTS)
        if not self.augment or not 0 <= self.ratio < 1:
            raise BadInput(
                f"GraphCL needs augmentations and a ratio in [0, 1); got {self.augment}, {self.ratio}."
            )

    def setup(self, source: Source) -> None:
        if getattr(source, "grain", "graphs") != "graphs":
            raise BadInput(
                f"GraphCL learns from a set of graphs; {source.uri} is the nodes of one. Use grace for nodes."
            )

    def views(self, graphs: pyg.Data) -> list[pyg.Data]:
        """Return two copies of the batch in which every graph was changed in its own way."""
        return [augmented(graphs, self.augment, self.ratio) for _ in range(2)]

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (self.project(self.encode(view)) for view in views)
        return {"contrast": others_over_own(first, gather(second), temperature=self.temperature)}


@in_float32
def others_over_own(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return how high other graphs score beside a graph's own other view (Eq. 3).

    NT-Xent from one view to the other without the positive among what it is compared with, so that the
    cost has no lower bound of 0.

    Args:
        first: ``(B, D)``; rows are scaled to unit length.
        second: ``(M, D)`` with M >= B; row i is the other view of row i.
        temperature: Divides the cosine similarities; above 0.

    Returns:
        Scalar, in nats, averaged over the B rows. Equal similarities give log(M - 1).

    >>> others_over_own(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(-1.)
    """
    if len(second) < 2:
        raise BadInput("GraphCL needs 2 or more graphs a batch, to have others; raise --batch-size.")
    scores = normalize(first, dim=1) @ normalize(second, dim=1).T / temperature  # (B, M)
    own = scores.diagonal()
    is_own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    return (scores.masked_fill(is_own, -torch.inf).logsumexp(dim=1) - own).mean()
