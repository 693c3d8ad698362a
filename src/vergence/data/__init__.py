"""Reading: ``open(uri)`` gives a ``Source``, one folder a modality."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
