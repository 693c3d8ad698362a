"""Rotation probe: how far photos were turned; it needs no labels, and ranks encoders much as labels do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vergence.evaluate.score import mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS: tuple[str, ...] = ()  # turns are made


def _turns(split: Split, seed: int) -> Scores:
    """Score how often a linear layer tells the turn (SelfAugment, arXiv:2009.07724)."""
    from vergence.methods.image.selfaugment import rotation_probe

    yield "turns", mean_score(rotation_probe(split.encoder, split.train, split.test).mean(1))


PROTOCOLS = {"rotation": _turns}
