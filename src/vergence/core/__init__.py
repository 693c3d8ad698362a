"""The contract. Depends on nothing else in vergence; loads torch only when a class is asked for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
