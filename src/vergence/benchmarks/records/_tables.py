"""What runs of record on labelled tables share."""

from __future__ import annotations

from vergence.data.tables import TableSource
from vergence.evaluate.inputs import stratified

SHARE = 0.3  # of the rows that judge


def kept_back(source: TableSource, seed: int) -> tuple[TableSource, TableSource]:
    """Return the rows that teach and those that judge, ``SHARE`` of every class."""
    assert source.labels is not None
    train, test = stratified(source.labels, SHARE, seed=seed)
    return source.subset(train), source.subset(test)
