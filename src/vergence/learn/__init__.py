"""How representations are learned: one folder a modality, one file a paper.

``vergence.learn(method, source, ...)`` runs :func:`vergence.learn.api.learn`.
"""

from vergence.core.rooms import callable_room

callable_room(__name__, "vergence.learn.api:learn")
