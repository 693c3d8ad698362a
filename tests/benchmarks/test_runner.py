import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from vergence.benchmarks import result as result_module
from vergence.benchmarks import runner
from vergence.benchmarks.record import Mechanism, Parity, Record, find_record
from vergence.benchmarks.runner import Job, run_job, run_record
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import BadInput


def arm(score, calls=None):
    def run(task, seed):
        if calls is not None:
            calls.append(seed)
        return score + 0.001 * seed

    return run


TASK = generated(lambda source, seed: (range(60), range(40)), Metric("share"))
SMALL = Record(
    key="simclr",
    claim="The paper's arm has more.",
    task=TASK,
    arms={"paper": arm(0.6), "off": arm(0.5), "untrained": arm(0.4), "raw": arm(0.3)},
    seeds=(0, 1),
)
WORLD = Mechanism(
    "A world.", task=TASK, arms={"paper": lambda task, seed: 0.9 + 0.01 * seed, "off": arm(0.2)}
)


@pytest.fixture(autouse=True)
def row(monkeypatch):
    result = SimpleNamespace(title="A Simple Framework", arxiv="2002.05709")
    monkeypatch.setattr(result_module.catalog, "find", lambda key: result)


def test_result_holds_what_repeats_and_judges_it():
    result = run_record(SMALL, quiet=True)
    assert json.loads(json.dumps(result)) == result
    assert (result["title"], result["arxiv"]) == ("A Simple Framework", "2002.05709")
    assert {"date", "metric", "seconds", "versions", "machine", "note"} <= set(result)
    assert (result["source"], result["train"], result["test"]) == ("generated", 60, 40)
    assert result["arms"]["paper"]["values"] == [0.6, 0.601]
    assert set(result["arms"]) == {"paper", "off"}
    assert (result["untrained"]["mean"], result["raw_features"]["mean"]) == (0.4005, 0.3005)
    assert result["verdicts"] == {"beats_untrained": True, "beats_raw": True, "beats_rivals": True}
    assert result["command"] == "vergence bench simclr"
    assert not {"mechanism", "parity"} & set(result)


def test_a_lost_claim_is_written_as_it_is():
    lost = run_record(dataclasses.replace(SMALL, arms={**SMALL.arms, "off": arm(0.7)}), quiet=True)
    assert lost["verdicts"] == {"beats_untrained": True, "beats_raw": True, "beats_rivals": False}
    assert "falls behind 'off': -10.0 points" in lost["note"] and "untrained" not in lost["note"]


def test_only_rivals_count_in_the_verdict():
    arms = {**SMALL.arms, "the paper's second form": arm(0.8)}
    counted = run_record(dataclasses.replace(SMALL, arms=arms), quiet=True)
    assert counted["verdicts"]["beats_rivals"] is False
    named = run_record(dataclasses.replace(SMALL, arms=arms, rivals=("off",)), quiet=True)
    assert (named["rivals"], named["verdicts"]["beats_rivals"], named["note"]) == (["off"], True, "")
    assert named["margins"]["the paper's second form"]["mean"] == pytest.approx(-0.2)


def test_an_error_is_better_the_less_it_is():
    task = dataclasses.replace(TASK, metrics=(Metric("error", less_is_better=True),))
    result = run_record(dataclasses.replace(SMALL, task=task), quiet=True)
    assert result["margins"]["off"]["mean"] == pytest.approx(-0.1)
    assert result["verdicts"]["beats_rivals"] is False and "-0.100, sd" in result["note"]


def test_arms_with_several_numbers_run_once_and_give_a_result_for_each_metric():
    calls = []

    def both(task, seed):
        calls.append(seed)
        return task.scores(0.5, 2.0)

    metrics = (Metric("share"), Metric("error", less_is_better=True, claim="It errs less.", note="Small."))
    task = dataclasses.replace(TASK, metrics=metrics)
    arms = {"paper": both, "off": lambda task, seed: {"error": 3.0}, "other": lambda task, seed: 0.25}
    also = dataclasses.replace(SMALL, task=TASK, claim="Elsewhere too.")
    result = run_record(
        dataclasses.replace(SMALL, task=task, arms=arms, note="Big.", also=(also,)), quiet=True
    )
    assert calls == [0, 1]
    assert [one["metric"] for one in (result, *result["also"])] == ["share", "error", "share"]
    first, second, third = (result, *result["also"])
    assert (set(first["arms"]), set(second["arms"])) == ({"paper", "other"}, {"paper", "off"})
    assert (first["rivals"], second["rivals"]) == (["other"], ["off"])
    assert second["verdicts"]["beats_rivals"] is True
    assert [one["claim"] for one in (first, second, third)] == [
        "The paper's arm has more.",
        "It errs less.",
        "Elsewhere too.",
    ]
    assert first["note"] == "Big." and second["note"] == "Small."


def test_a_number_by_a_strange_name_is_refused():
    with pytest.raises(ValueError, match=r"'paper' returns \['sahre'\]; the task's metrics are \['share'\]"):
        run_job(
            [dataclasses.replace(SMALL, arms={"paper": lambda task, seed: {"sahre": 1}})], Job(0, "paper", 0)
        )


def test_a_mechanism_is_clear_when_every_rival_is_beaten_with_five_seeds():
    clear = run_record(dataclasses.replace(SMALL, mechanism=WORLD), quiet=True)["mechanism"]
    assert json.loads(json.dumps(clear)) == clear
    assert (clear["world"], clear["seeds"], clear["rivals"]) == ("A world.", [0, 1, 2, 3, 4], ["off"])
    assert set(clear["margins"]["off"]) >= {"mean", "low", "high"}
    assert clear["margins"]["off"]["low"] > 0 and clear["clear"] is True
    few = dataclasses.replace(WORLD, seeds=(0, 1, 2))
    assert run_record(dataclasses.replace(SMALL, mechanism=few), quiet=True)["mechanism"]["clear"] is False
    arms = {**WORLD.arms, "simplest": arm(0.95)}
    lost = run_record(dataclasses.replace(SMALL, mechanism=dataclasses.replace(WORLD, arms=arms)), quiet=True)
    assert lost["mechanism"]["clear"] is False and lost["mechanism"]["margins"]["simplest"]["low"] < 0


def test_what_further_metrics_say_of_a_mechanism_is_kept_and_does_not_count():
    def both(value):
        return lambda task, seed: {"first": value, "second": 1 - value}

    task = dataclasses.replace(WORLD.task, metrics=(Metric("first"), Metric("second")))
    world = dataclasses.replace(WORLD, task=task, arms={"paper": both(0.9), "off": both(0.1)})
    result = run_record(dataclasses.replace(SMALL, mechanism=world), quiet=True)["mechanism"]
    (other,) = result["also"]
    assert (result["metric"], result["clear"], other["metric"], other["clear"]) == (
        "first",
        True,
        "second",
        False,
    )
    assert other["arms"]["off"]["mean"] == 0.9


def test_a_part_alone_leaves_the_rest_of_the_result_as_it_is(monkeypatch, tmp_path):
    calls = []
    record = dataclasses.replace(
        SMALL,
        arms={**SMALL.arms, "off": arm(0.5, calls)},
        mechanism=WORLD,
        parity=Parity("official", "github.com/a/b", max_abs=1e-9),
    )
    monkeypatch.setattr(runner, "find_record", lambda key: record)
    path = tmp_path / "simclr.json"
    path.write_text(json.dumps({"arms": "old", "mechanism": "old", "date": "old"}))
    result = json.loads(runner.bench("simclr", only="mechanism", out=path, workers=1).read_text())
    assert (result["arms"], result["date"], calls) == ("old", "old", []) and result["mechanism"]["clear"]
    result = json.loads(runner.bench("simclr", only="parity", out=path, workers=1).read_text())
    assert result["parity"]["max_abs"] == 1e-9 and result["mechanism"]["clear"] and not calls
    result = json.loads(runner.bench("simclr", only="data", out=path, workers=1).read_text())
    assert calls == [0, 1] and result["parity"]["max_abs"] == 1e-9 and set(result["arms"]) == {"paper", "off"}
    assert [p.name for p in tmp_path.iterdir()] == ["simclr.json"]
    record = SMALL
    with pytest.raises(BadInput, match="The run of record of simclr has no mechanism yet"):
        runner.bench("simclr", only="mechanism", out=path)
    with pytest.raises(BadInput, match="is a folder"):
        runner.bench("simclr", out=tmp_path)
    assert "mechanism" not in json.loads(runner.bench("simclr", out=path, workers=1).read_text())


def test_a_record_needs_an_ablation():
    with pytest.raises(ValueError, match="needs an ablation or a baseline beside 'paper'"):
        run_record(dataclasses.replace(SMALL, arms={"paper": arm(1.0), "untrained": arm(0.0)}))


def test_two_processes_run_the_record_of_the_folder():
    whole = find_record("inffs")
    arms = {name: whole.arms[name] for name in ("paper", "variance", "raw")}
    small = dataclasses.replace(whole, arms=arms, seeds=(0,), also=(), mechanism=None)
    apart, here = (run_record(small, workers=workers, quiet=True) for workers in (2, 1))
    assert apart["arms"] == here["arms"] and apart["raw_features"] == here["raw_features"]


def test_a_run_that_was_broken_off_goes_on(monkeypatch, tmp_path, capsys):
    calls = []

    def broken(task, seed):
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.25

    record = dataclasses.replace(SMALL, arms={**SMALL.arms, "off": broken})
    monkeypatch.setattr(runner, "find_record", lambda key: record)
    with pytest.raises(KeyboardInterrupt):
        runner.bench("simclr", out=tmp_path / "simclr.json", workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["simclr.part"]
    capsys.readouterr()
    result = json.loads(runner.bench("simclr", out=tmp_path / "simclr.json", workers=1).read_text())
    assert calls == [0, 1, 1]
    assert result["arms"]["off"]["values"] == [0.25, 0.25]
    assert f"simclr goes on; {tmp_path}/simclr.part holds 5 arms." in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["simclr.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")
def test_processes_of_a_killed_run_end_with_it(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, time\n"
        "from vergence.benchmarks.runner import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=end_with_parent)\n"
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
