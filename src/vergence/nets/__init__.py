"""Modules that several methods share."""

from vergence.nets.heads import Head, mlp

__all__ = ["Head", "mlp"]
