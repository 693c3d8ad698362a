"""How representations are learned: one paper, one file.

Every class of the catalog is here by its own name, ``vergence.methods.SimCLR``, loaded when it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

from vergence import catalog
from vergence.catalog import PAPERS
from vergence.core.errors import BadInput

if TYPE_CHECKING:
    from vergence.core import Estimator, Method

_CODE = {
    name: module
    for module, _, name in ((paper.code or "").partition(":") for paper in PAPERS if paper.trained)
}


def __getattr__(name: str) -> type:
    if name not in _CODE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_CODE[name]), name)


def __dir__() -> list[str]:
    return sorted(_CODE)


def method_class(key: str) -> type[Method] | type[Estimator]:
    """Return the class behind a key of the catalog: something to train, or to fit.

    Raises:
        BadInput: If no paper has that key, its code is still planned, or it is not trained.
    """
    from vergence.core import Estimator, Method

    paper = catalog.find_trained(key)
    module, _, name = (paper.code or "").partition(":")
    cls = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(cls) and issubclass(cls, Method | Estimator)):
        raise BadInput(f"'{key}' ({paper.title}) is not something to train; it lives in {module}.")
    return cls


def key_of(cls: type) -> str:
    """Return the key of the catalog that a class goes by, or its own name where it is the user's."""
    code = f"{cls.__module__}:{cls.__qualname__}"
    return next((paper.key for paper in PAPERS if paper.code == code), cls.__name__)
