"""Runs of record, speed beside peers, and stress: what repeats the published numbers."""

from pathlib import Path

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"  # of the checkout
