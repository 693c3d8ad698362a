"""How good a representation of a graph's nodes, edges or of whole graphs is, each as its papers judge it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
