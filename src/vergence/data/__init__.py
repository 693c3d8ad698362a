"""Reading: ``open(uri)`` gives a ``Source``, one file a kind of data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Imported at once: loaded later, the module of this name would take the function's place.
from vergence.data.open import open as open  # noqa: E402
