"""A world of things seen twice, which two records share: the other look is found by what stays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vergence.core import Method
from vergence.data.tables import TableBatch, TableSource, from_vectors
from vergence.engine import embed
from vergence.evaluate.protocols.retrieval import retrieval
from vergence.evaluate.score import Score

THINGS, JUDGED, COLUMNS = 1_000, 1_000, 64
STAYS, CHANGES, STRENGTH = 6, 20, 2.0  # causes that both looks share and that they do not; deviation of those
DIM = 8


def looks(source: TableSource, seed: int, *, strength: float = STRENGTH) -> tuple[TableSource, TableSource]:
    """Generate rows in twos, the looks at one thing: linear mixtures of what stays and of what changes.

    Args:
        source: None.
        seed: Of all that is drawn.
        strength: Deviation of what changes, where that of what stays is 1.
    """
    random = np.random.default_rng(seed)
    things = np.arange(THINGS + JUDGED).repeat(2)
    stays = random.normal(size=(THINGS + JUDGED, STAYS))[things]
    changes = strength * random.normal(size=(len(things), CHANGES))
    mixed = np.concatenate([stays, changes], 1) @ random.normal(size=(STAYS + CHANGES, COLUMNS))
    x = (mixed + random.normal(size=mixed.shape)).astype(np.float32)
    whole = from_vectors(x, things, name="things seen twice", one_unit=False)
    return whole.subset(np.arange(2 * THINGS)), whole.subset(np.arange(2 * THINGS, len(things)))


class BothLooks(Method):
    """Both looks at a thing are the views of whatever method stands behind this class."""

    def setup(self, source: TableSource) -> None:  # type: ignore[override]
        self.source = source

    def views(self, batch: TableBatch) -> list[TableBatch]:
        return [batch, self.source.batch(batch.index.cpu().numpy() ^ 1)]


def other_look(encoder: nn.Module, train: TableSource, test: TableSource, seed: int) -> Score:
    """Every row asks for the other look at its thing, by cosine about the mean."""
    assert test.labels is not None
    x = torch.as_tensor(embed(encoder, test).vectors)
    return retrieval(x - x.mean(0), test.labels)
