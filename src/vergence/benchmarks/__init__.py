"""Runs of record, speed beside peers, and stress: what repeats the published numbers."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
CHECKOUT = _HERE.parents[2]
RESULTS = CHECKOUT / "benchmarks" / "results"
PUBLISHED = RESULTS if RESULTS.is_dir() else _HERE / "results"  # a wheel brings a copy
