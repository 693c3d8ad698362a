"""Embedded tables: those that come with scikit-learn, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from vergence.core.errors import unknown
from vergence.data.tables.batch import Columns
from vergence.data.tables.read import Values
from vergence.data.tables.source import TableSource

NAMES = ("breast_cancer", "wine", "iris", "digits")


def embedded(uri: str, *, limit: float = 0.5) -> TableSource:
    """Open ``sklearn:NAME``: breast_cancer (569 x 30), wine (178 x 13), iris (150 x 4), digits (1,797 x 64).

    The 30 columns of breast_cancer are 10 groups of mean, error and worst value of one property. The
    pixels of digits are of one unit.

    Raises:
        BadInput: If there is no table of that name.

    >>> embedded("sklearn:iris").sample(0)["sepal length (cm)"]
    5.099999904632568
    """
    name = uri.removeprefix("sklearn:")
    if name not in NAMES:
        raise unknown("table of scikit-learn", name, NAMES)
    from sklearn import datasets

    dataset: Any = getattr(datasets, f"load_{name}")()
    names = tuple(str(column) for column in dataset.feature_names)
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    if name == "breast_cancer":
        plain = [column.removeprefix("mean ") for column in names[:10]]
        groups = tuple((p, (names[i], names[i + 10], names[i + 20])) for i, p in enumerate(plain))
    columns = Columns(names, groups=groups, one_unit=name == "digits")
    empty = np.empty((len(dataset.data), 0), np.int32)
    classes = [str(word) for word in dataset.target_names]
    values = Values(columns, dataset.data.astype(np.float32), empty, dataset.target.astype(np.int64), classes)
    return TableSource(values, uri, limit=limit)
