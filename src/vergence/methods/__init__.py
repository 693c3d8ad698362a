"""How representations are learned: one paper, one file.

Every class of the catalog is here by its own name, ``vergence.methods.SimCLR``, loaded when it is asked for.
"""

from __future__ import annotations

import importlib

from vergence.catalog import PAPERS

_CODE = {
    name: module
    for module, _, name in ((paper.code or "").partition(":") for paper in PAPERS)
    if module.startswith(f"{__name__}.") and name[:1].isupper()
}


def __getattr__(name: str) -> type:
    if name not in _CODE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_CODE[name]), name)  # type: ignore[no-any-return]


def __dir__() -> list[str]:
    return sorted(_CODE)
