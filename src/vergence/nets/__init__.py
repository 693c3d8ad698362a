"""Modules that several methods share."""

from vergence.nets.heads import Head, mlp, width_of
from vergence.nets.prototypes import PrototypeHead
from vergence.nets.teacher import Teacher

__all__ = ["Head", "PrototypeHead", "Teacher", "mlp", "width_of"]
