"""Look at a store: ``vg.studio(store)`` in a notebook; its page is ``vergence.studio.app.launch``."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vergence.store.table import Store
    from vergence.studio.notebook import Notebook


class _Studio(types.ModuleType):
    """This package, which may be called too."""

    def __call__(self, store: Store, **options: Any) -> Notebook:
        """Return the map of a store for a notebook; its options are those of ``notebook.Notebook``.

        Raises:
            BadInput: If there are no such vectors or columns.
            MissingExtra: If anywidget is not installed.
        """
        from vergence.core.errors import need

        need("anywidget", extra="notebook")
        from vergence.studio.notebook import Notebook

        return Notebook(store, **options)


sys.modules[__name__].__class__ = _Studio
