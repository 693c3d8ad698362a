"""Representations from unlabelled data of any shape.

>>> import vergence as vg
>>> run = vg.learn("simclr", "digits", epochs=1, out="runs/digits")  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
