"""Modules that several methods share."""

from vergence.nets.fast_dropout import Dropout, dropout
from vergence.nets.heads import Head, mlp, width_of
from vergence.nets.prototypes import PrototypeHead
from vergence.nets.teacher import Teacher

__all__ = ["Dropout", "Head", "PrototypeHead", "Teacher", "dropout", "mlp", "width_of"]
