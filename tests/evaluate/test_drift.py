"""How far a run moved from where it began: none where it learned nothing, and what labels it gained."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.engine.run import Run
from vergence.evaluate.drift import drift, kept, linear_cka
from vergence.reports import report

FAST = {"epochs": 1, "batch_size": 64, "quiet": True, "encoder_options": {"width": 8}}


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(range(300))


@pytest.fixture(scope="module")
def first(digits, tmp_path_factory):
    return vergence.learn(
        "simclr", digits, encoder="resnet-tiny", out=tmp_path_factory.mktemp("first") / "run", **FAST
    )


def continued(first, digits, out, **settings):
    begun = {name: value for name, value in FAST.items() if name != "encoder_options"}
    return vergence.learn("supervised", digits, init=f"run:{first.path}", out=out, **{**begun, **settings})


def test_alignment_is_blind_to_turns_and_scales_and_sees_the_rest():
    x = torch.randn(200, 6, generator=torch.manual_seed(0))
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.manual_seed(1)))[0]
    assert linear_cka(x, 3 * x @ turn + 2) == pytest.approx(1)
    assert linear_cka(x, torch.randn(200, 6, generator=torch.manual_seed(2))) < 0.1
    a, b = (np.cov(part.T) for part in (x.numpy(), (x[:, :2] ** 3).numpy()))
    cross = np.cov(x.numpy().T, (x[:, :2] ** 3).numpy().T)[:6, 6:]
    expected = (cross**2).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    assert linear_cka(x, x[:, :2] ** 3) == pytest.approx(expected)


def test_neighbours_kept_are_counted_without_oneself():
    line = torch.stack([torch.linspace(0, 1, 30).cos(), torch.linspace(0, 1, 30).sin()], 1)
    assert kept(line, line) == 1
    same = torch.ones(30, 2)  # all are equal, oneself included
    assert 0 <= kept(line, same) < 1
    order = torch.randperm(30, generator=torch.manual_seed(0))
    assert kept(line, line[order]) == pytest.approx(10 / 29, abs=0.12)


def test_a_run_that_learned_nothing_did_not_move(first, digits, tmp_path):
    run = continued(first, digits, tmp_path / "still")
    moved = drift(Run(run.path, first.encoder), digits)
    assert moved.init == f"run:{first.path}" and moved.rows == 300
    assert moved.cka == pytest.approx(1, abs=1e-4) and moved.kept > 0.99
    assert moved.gained.value == pytest.approx(0, abs=0.01)


def test_labels_gain_by_learning_from_them_and_the_page_says_so(first, digits, tmp_path):
    run = continued(first, digits, tmp_path / "on", epochs=15)
    moved = drift(run, digits)
    assert moved.cka < 0.99 and moved.kept < 0.9
    assert moved.after.value - moved.before.value == pytest.approx(moved.gained.value)
    assert moved.gained.low > 0
    page = report(run, digits).read_text()
    assert "How far from where it began?" in page and "Labels gained by it" in page
    assert f"{100 * moved.before.value:.1f} % before, {100 * moved.after.value:.1f} % after" in page
    assert "learned from labels" in page


def test_what_began_at_random_or_cannot_be_had_says_so(first, digits, tmp_path):
    with pytest.raises(BadInput, match="began at random, with no --init"):
        drift(first, digits)
    run = continued(first, digits, tmp_path / "on", lr=1e-12)
    with pytest.raises(BadInput, match="has 2 samples; 3 or more"):
        drift(run, digits.subset(range(2)))
    assert "How far from where it began?" not in report(first, digits).read_text()
    (run.path / "config.yaml").write_text(
        (run.path / "config.yaml").read_text().replace(str(first.path), str(tmp_path / "gone"))
    )
    again = vergence.open_run(run.path)
    page = report(again, digits).read_text()
    assert "How far from where it began?" in page and "gone" in page and "% before" not in page
