"""Worlds: generated data with every ground truth, the same for the same seed on every machine."""
