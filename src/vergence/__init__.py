"""Representations from unlabelled data of any shape.

>>> import vergence as vg
>>> run = vg.learn("simclr", "digits", epochs=1, out="runs/digits")  # doctest: +SKIP
"""

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return _public(name)
