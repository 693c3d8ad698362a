"""Let a room of the house be called: ``vergence.learn(...)`` beside ``vergence.learn.image``."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    __entry__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module, _, function = self.__entry__.partition(":")
        return getattr(importlib.import_module(module), function)(*args, **kwargs)


def callable_room(package: str, entry: str) -> None:
    """Make calling the package do what ``entry`` ("module:function") does; loads it on first use."""
    room = sys.modules[package]
    room.__class__ = _Room
    room.__entry__ = entry  # type: ignore[attr-defined]
