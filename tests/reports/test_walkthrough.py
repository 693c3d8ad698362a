"""The demo learns for as long as it says, and better than not at all."""

import re

import numpy as np
import pytest

import vergence
from vergence.reports import walkthrough
from vergence.reports.walkthrough import SEEN, fitting_epochs


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(0, 1797, 6))


@pytest.mark.parametrize(
    ("step", "epochs"),
    [(1e-9, SEEN // 300), (0.5, 44), (1.0, 22), (100.0, 1)],
    ids=["fast", "slow", "slower", "crawls"],
)
def test_a_slower_machine_learns_for_fewer_epochs(monkeypatch, digits, step, epochs):
    monkeypatch.setattr(walkthrough, "SECONDS", 110.0)
    monkeypatch.setattr(walkthrough, "trial", lambda cls, train, settings: (step, 5))
    assert len(digits) == 300
    assert fitting_epochs("simclr", digits, {}) == (epochs, pytest.approx(5 * step * epochs))


def test_what_is_fitted_is_not_tried_first(digits):
    assert fitting_epochs("node2vec", digits, {}) == (SEEN // 300, 0.0)


def test_a_demo_says_how_long_it_learns_and_does_so(monkeypatch, digits, tmp_path, capsys):
    monkeypatch.setattr(walkthrough, "SECONDS", 1.0)
    monkeypatch.setattr(walkthrough, "TRIAL_SECONDS", 0.1)
    monkeypatch.setattr(walkthrough, "_table", lambda *args: None)
    monkeypatch.setattr(walkthrough, "report", lambda *args, out, **options: out)
    page = walkthrough.demo(digits, out=tmp_path / "run")
    epochs = vergence.open_run(page.parent).config.epochs
    assert re.search(rf"\b{epochs} epochs?, about \d+ s on this machine", capsys.readouterr().err)
