"""PyG's containers, loaded when the first is made: PyG takes longer to load than torch itself."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data, HeteroData

__all__ = ["Batch", "Data", "HeteroData"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with warnings.catch_warnings():  # that its import gives under today's torch
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        from torch_geometric import data
    return getattr(data, name)
