"""Graphs as data: one file a format, all of them opened by ``vergence.open``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
