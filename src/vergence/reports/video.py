"""How windows of videos are shown: by three of their frames, with when they begin and end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from vergence.data import Source
from vergence.reports.subject import Subject
from vergence.store.table import Store
from vergence.use.clustering import Clusters


class Videos(Subject):
    """Windows of videos, as the store keeps them."""

    one, many = "clip", "clips"
    raw = "the raw pixels"
    labelling = "Nest videos in one folder a class, or pass a labelled test source, to get the table."
    drawn = "Three frames of each window stand side by side."
    wide = True

    def __init__(self, store: Store, parts: Clusters, source: Source | None, encoder: nn.Module) -> None:
        super().__init__(store, parts)

    def facts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        if not {"start", "end"} <= set(self.store.table.schema.names):
            return super().facts(rows)
        times = self.store.take(rows, ["start", "end"]).to_pylist()
        return [f"{row['start']:.1f} to {row['end']:.1f} s" for row in times]
