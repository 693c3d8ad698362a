"""How good a representation is: protocols, their table, the runs of record.

``vergence.measure(run, source)`` runs :func:`vergence.measure.table.measure`.
"""

import lazy_loader

from vergence.core.rooms import callable_room

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

callable_room(__name__, "vergence.measure.table:measure")
