import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vergence.benchmarks import runner as harness
from vergence.benchmarks.record import Record, data_root, find_record
from vergence.benchmarks.runner import run_record
from vergence.core import Method


class Supervise(Method):
    """Learns to tell dark photos from bright ones: enough to see that an arm was trained."""

    def __init__(self, encoder, sign=1.0):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, 1)
        self.sign = sign

    def views(self, batch):
        return batch

    def loss(self, batch):
        bright = batch.pixels.float().mean((1, 2, 3)) / 255
        return {"bright": (self.head(self.encode(batch))[:, 0] - self.sign * bright).square().mean()}


SMALL = Record(
    key="simclr",
    claim="Training changes the number.",
    arms={"paper": Supervise, "other": lambda encoder: Supervise(encoder, sign=-1.0)},
    source="digits",
    train=60,
    test=40,
    epochs=1,
    batch=30,
    encoder="resnet-tiny",
    size=8,
    seeds=(0, 1),
)


@pytest.fixture(autouse=True)
def row(monkeypatch):
    found = SimpleNamespace(title="A Simple Framework", arxiv="2002.05709")
    monkeypatch.setattr(harness.catalog, "find", lambda key: found)


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.catalog, "find", lambda key: SimpleNamespace(title="T", arxiv=None))
        return run_record(SMALL, quiet=True)


def test_result_holds_what_repeats_and_judges_it(result):
    assert json.loads(json.dumps(result)) == result
    assert {"key", "title", "arxiv", "date", "metric", "seconds", "versions", "machine", "note"} <= set(
        result
    )
    assert (result["train"], result["test"], result["epochs"]) == (60, 40, 1)
    assert set(result["arms"]) == {"paper", "other"}
    for arm in (*result["arms"].values(), result["untrained"]):
        assert len(arm["values"]) == 2
        assert arm["mean"] == pytest.approx(sum(arm["values"]) / 2, abs=1e-4)
    assert 0 < result["raw_pixels"] <= 1
    assert result["command"] == "vergence bench simclr"


def test_bench_writes_the_result_whole(monkeypatch, tmp_path, result):
    monkeypatch.setattr(harness, "run_record", lambda record, **options: result)
    path = harness.bench("simclr", out=tmp_path / "results" / "simclr.json")
    assert json.loads(path.read_text()) == result
    assert [p.name for p in path.parent.iterdir()] == ["simclr.json"]


def test_two_processes_train_the_record_of_the_folder(monkeypatch):
    if not (data_root() / "cifar10").is_dir():
        pytest.skip(f"no cifar10 in {data_root()}")
    small = dataclasses.replace(find_record("simclr"), train=100, test=60, epochs=1, batch=32, seeds=(0,))
    apart = run_record(small, workers=2, quiet=True)
    assert (apart["train"], apart["test"]) == (100, 60)
    assert set(apart["arms"]) == {"paper", "no views"}


def test_a_lost_claim_is_written_as_it_is():
    judged = {"paper": 0.5, "other": 0.6, "untrained": 0.4}
    calls = iter([("paper", 0), ("other", 0), ("untrained", 0), ("paper", 1), ("other", 1), ("untrained", 1)])

    def judge(encoder, train, test, seed):
        arm, expected_seed = next(calls)
        assert seed == expected_seed
        return judged[arm] + 0.001 * seed

    lost = run_record(dataclasses.replace(SMALL, protocol=judge, metric="made up", pixels=False), quiet=True)
    assert lost["verdicts"] == {"beats_untrained": True, "beats_ablation": False}
    assert "falls behind 'other': -10.0 points" in lost["note"]
    assert "untrained" not in lost["note"]
    assert (lost["metric"], lost["raw_pixels"]) == ("made up", None)


def test_arms_of_a_seed_start_alike_and_seeds_differ(monkeypatch):
    starts = []

    def arm(encoder):
        starts.append(next(encoder.parameters()).detach().clone())
        return Supervise(encoder)

    arms = {"paper": arm, "other": arm}
    run_record(dataclasses.replace(SMALL, arms=arms, protocol=lambda *a: 0.0, pixels=False), quiet=True)
    first, second, third, _ = starts
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_an_encoder_that_several_records_train_alike_is_trained_once():
    trained = []

    def arm(encoder):
        trained.append(encoder)
        return Supervise(encoder)

    first = dataclasses.replace(
        SMALL, arms={"paper": arm, "other": arm}, protocol=lambda *a: 0.5, metric="one", pixels=False
    )
    again = dataclasses.replace(first, protocol=lambda e, a, b, seed: 0.1 * seed, metric="two")
    longer = dataclasses.replace(first, epochs=2, arms={"paper": arm, "else": arm}, metric="three")
    result = run_record(dataclasses.replace(first, also=(again, longer)), quiet=True)
    assert len(trained) == 2 * 2 + 2 * 2
    assert [found["metric"] for found in (result, *result["also"])] == ["one", "two", "three"]
    assert result["also"][0]["arms"]["other"]["values"] == [0.0, 0.1]
    assert set(result["also"][1]["arms"]) == {"paper", "else"}
    family = (first, again, longer)
    shared = {job.arm: job.places for job in harness.jobs_of(family) if job.seed == 0}
    assert shared == {"paper": [2], "other": [0, 1], "untrained": [2], "else": [2]}
    assert sum(len(job.places) for job in harness.jobs_of(family)) == 18


def test_a_record_needs_an_ablation():
    with pytest.raises(ValueError, match="needs an ablation beside the arm 'paper'"):
        run_record(dataclasses.replace(SMALL, arms={"paper": Supervise}))


def test_a_run_that_was_broken_off_goes_on(monkeypatch, tmp_path, capsys):
    trained = []

    def arm(encoder):
        trained.append(encoder)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return Supervise(encoder)

    arms = {"paper": arm, "other": arm}
    record = dataclasses.replace(SMALL, arms=arms, protocol=lambda *a: 0.25, metric="quarter", pixels=False)
    monkeypatch.setattr(harness, "find_record", lambda key: record)
    with pytest.raises(KeyboardInterrupt):
        harness.bench("simclr", out=tmp_path / "simclr.json", workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["simclr.part"]
    capsys.readouterr()
    result = json.loads(harness.bench("simclr", out=tmp_path / "simclr.json", workers=1).read_text())
    assert len(trained) == 3 + 2  # of four trainings the first two were kept
    assert result["arms"]["other"]["values"] == [0.25, 0.25]
    assert f"simclr goes on; {tmp_path}/simclr.part holds 3 trainings." in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["simclr.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")
def test_processes_of_a_killed_run_end_with_it(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, time\n"
        "from vergence.benchmarks.runner import _end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=_end_with_parent)\n"
        "    child.start()\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 50
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
