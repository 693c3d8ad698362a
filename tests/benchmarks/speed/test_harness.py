import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from vergence.benchmarks.speed import harness, step
from vergence.benchmarks.speed.harness import Contest, Contestant, run_contest, speed, spread
from vergence.cli import main
from vergence.core.errors import BadInput
from vergence.engine.devices import best_precision


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where somebody sleeps: a busy machine changes nothing."""
    clock = SimpleNamespace(now=0.0, process_time=lambda: 0.0)
    clock.perf_counter = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(harness, "time", clock)


def sleeping(name, seconds, log, **options):
    def prepare():
        log.append(f"prepare {name}")

        def work():
            log.append(name)
            harness.time.sleep(seconds)
            return {"peak_mb": seconds}

        return work

    return Contestant(name, prepare, close=lambda: log.append(f"close {name}"), **options)


def contest(log, **options):
    return Contest(
        name="naps",
        what="sleep",
        amount=10,
        unit="naps",
        contestants=(
            sleeping("ours", 0.02, log),
            sleeping("slow", 0.1, log, bar=2.0),
            sleeping("absent", 0.1, log, needs=("no_such_library",)),
        ),
        **options,
    )


def test_contestants_take_turns_and_the_ratio_is_theirs_over_ours(clock):
    log, said = [], []
    result = run_contest(contest(log, least=1e9), 2, said.append)
    turns = ["ours", "slow"] * 3  # one warms up
    assert log == ["prepare ours", "prepare slow", *turns, "close ours", "close slow"]
    ours, slow = result["contestants"]
    assert len(ours["seconds"]) == 2 and ours["peak_mb"] == 0.02
    assert ours["rate"] == pytest.approx(500)  # 10 naps in 0.02 s
    assert (
        slow["ours_is_faster"] == pytest.approx({"median": 5.0, "low": 5.0, "high": 5.0}) and slow["passed"]
    )
    assert not ours["passed"]
    assert result["left_out"] == {"absent": "no_such_library"}
    assert any("absent is left out: no_such_library is not installed" in line for line in said)
    assert any("MISSED" in line for line in said) and any("reached" in line for line in said)


def test_what_was_started_is_closed_when_a_round_fails():
    log = []

    def broken():
        def work():
            raise RuntimeError("no")

        return work

    failing = Contest("x", "y", 1, "z", (Contestant("broken", broken), sleeping("other", 0, log)))
    with pytest.raises(RuntimeError, match="no"):
        run_contest(failing, 1, print)
    assert log[-1] == "close other"


def test_spread_is_median_least_and_greatest():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_the_time_of_a_living_child_counts():
    before = harness.cpu_seconds()
    program = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        child.stdout.readline()
        assert harness.cpu_seconds() - before > 0.25
    finally:
        child.communicate("\n")


def test_speed_writes_one_file_a_subject(monkeypatch, tmp_path, capsys):
    subject = SimpleNamespace(__doc__="Naps.\n\nMore.", contests=lambda quick: [contest([])])
    monkeypatch.setattr(harness, "subjects", lambda: ["naps"])
    monkeypatch.setattr(harness.importlib, "import_module", lambda name: subject)
    [path] = speed(["naps"], repeats=1, out=tmp_path / "new", quiet=True)
    assert path == tmp_path / "new" / "speed-naps.json" and capsys.readouterr().err == ""
    read = json.loads(path.read_text())
    assert read["what"] == "Naps." and read["versions"]["torch"] and read["cores"] >= 1
    assert [c["name"] for c in read["contests"]] == ["naps"]


def test_a_misspelt_subject_is_answered_and_help_comes_without_torch():
    assert {"photos", "views"} <= set(harness.subjects())
    with pytest.raises(BadInput, match="did you mean 'views'"):
        speed(["veiws"])
    with pytest.raises(BadInput, match="repeats"):
        speed(["views"], repeats=0)
    program = (
        "import sys; from vergence.cli import main; main(['bench', 'speed', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("precision", "names"), [("bfloat16", ["step-resnet-tiny", "bf16"]), ("float32", ["step-resnet-tiny"])]
)
def test_bf16_is_compared_where_the_hardware_has_it(precision, names, monkeypatch):
    monkeypatch.setattr(step, "best_precision", lambda device: getattr(torch, precision))
    assert [contest.name for contest in step.contests(quick=True)] == names


@pytest.mark.parametrize(
    ("name", "contests"),
    [
        ("clips", 1),
        ("halo", 2),
        ("masked", 1),
        ("photos", 2),
        ("queries", 2),
        ("step", 1),
        ("training", 1),
        ("views", 2),
    ],
)
def test_quick_subjects_run(name, contests, tmp_path, capsys):
    words = ["bench", "speed", "--only", name, "--quick", "--repeats", "1", "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)[f"speed-{name}"]
    if name == "step" and best_precision(step.device()) == torch.bfloat16:
        contests += 1
    assert result["quick"] and len(result["contests"]) == contests
    for done in result["contests"]:
        assert done["contestants"][0]["name"] == "vergence" and done["contestants"][0]["rate"] > 0


def test_a_round_of_a_loader_is_a_pass_over_it_and_closing_lets_it_go():
    class Counting:
        passes = 0

        def __iter__(self):
            Counting.passes += 1
            return iter(range(3))

    loader = harness.LoaderPasses(Counting)
    work = loader.prepare()
    work(), work()
    assert Counting.passes == 2
    loader.close()
    assert not list(loader.loader)
