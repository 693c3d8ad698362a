"""Objectives: pure functions on tensors, shared by every modality. No state, no collective."""

from vergence.losses.contrast import info_nce, nt_xent

__all__ = ["info_nce", "nt_xent"]
