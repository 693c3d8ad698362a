"""Runs of record, speed beside peers, and stress: what repeats the published numbers."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
RESULTS = _HERE.parents[2] / "benchmarks" / "results"  # of the checkout
PUBLISHED = RESULTS if RESULTS.is_dir() else _HERE / "results"  # a wheel brings a copy
