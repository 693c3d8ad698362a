"""Trackers and callbacks: what a run writes down reaches them, and goes on after an interruption."""

import json
import sys
import types

import pytest

import vergence
from vergence.cli import main
from vergence.core import BadInput, Method, MissingExtra, Recipe, VergenceError

FAST = {
    "encoder": "resnet-tiny",
    "encoder_options": {"width": 8},
    "epochs": 2,
    "batch_size": 24,
    "quiet": True,
}


@pytest.fixture(scope="module")
def some():
    return vergence.open("digits").subset(range(96))


class Wandb(types.ModuleType):
    """What wandb has of it: runs by id, each with its rows."""

    def __init__(self):
        super().__init__("wandb")
        self.runs, self.begun, self.fails = {}, [], False

    def init(self, **given):
        self.begun.append(given)
        name = given["id"] or f"run{len(self.runs)}"
        outer, rows = self, self.runs.setdefault(name, [])

        class Begun:
            id = name

            def log(self, values, step):
                if outer.fails:
                    raise ConnectionError("the server is gone")
                rows.append((step, values))

            def finish(self):
                rows.append("finished")

        return Begun()


class Mlflow(types.ModuleType):
    def __init__(self):
        super().__init__("mlflow")
        self.rows, self.params, self.experiment, self.began = [], [], None, []

    def set_experiment(self, name):
        self.experiment = name

    def start_run(self, run_id, run_name, nested):
        self.began.append(run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "m1"))

    def log_params(self, params):
        self.params.append(params)

    def log_metrics(self, values, step):
        self.rows.append((step, values))

    def end_run(self):
        self.rows.append("finished")


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    return sys.modules["wandb"]


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", Mlflow())
    return sys.modules["mlflow"]


def test_callbacks_get_every_row_of_the_tables(some, tmp_path):
    logged = []
    run = vergence.learn("simclr", some, out=tmp_path, callbacks=[lambda *row: logged.append(row)], **FAST)
    for part, table in (("train", run.metrics), ("health", run.health)):
        rows = [(step, values) for name, step, values in logged if name == part]
        assert [step for step, _ in rows] == [row["step"] for row in table] and len(rows) >= 2
        for (_, values), row in zip(rows, table, strict=True):
            assert values == pytest.approx({name: row[name] for name in values}, rel=1e-4)
    assert run.config.log is None


def test_weights_and_biases_gets_what_the_run_writes(some, tmp_path, wandb):
    run = vergence.learn("simclr", some, out=tmp_path / "first", log="wandb", **FAST)
    ((name, rows),) = wandb.runs.items()
    assert rows[-1] == "finished"
    losses = {step: values["train/loss"] for step, values in rows[:-1] if "train/loss" in values}
    assert losses == pytest.approx({row["step"]: row["loss"] for row in run.metrics}, rel=1e-4)
    assert any(key.startswith("health/") for _, values in rows[:-1] for key in values)
    (begun,) = wandb.begun
    assert (
        begun["project"] == "vergence" and begun["name"] == "first" and begun["config"]["method"] == "simclr"
    )
    assert (
        json.loads((run.path / "trackers.json").read_text()) == {"wandb": name} and run.config.log == "wandb"
    )


class Stops(Method):
    """Stops once in the middle, as Ctrl-C would."""

    recipe = Recipe(optimizer="adam", lr=1e-3, batch=24, epochs=2)
    views = "pair"
    at: int | None = None

    def loss(self, views):
        first, second = (self.encode(view) for view in views)
        return {"apart": (first - second).square().mean()}

    def step_end(self, clock):
        if clock.step == self.at:
            raise KeyboardInterrupt


def test_a_resumed_run_goes_on_in_the_same_place(some, tmp_path, wandb, monkeypatch):
    monkeypatch.setattr(Stops, "at", 6)
    with pytest.raises((KeyboardInterrupt, VergenceError)):
        vergence.learn(Stops, some, out=tmp_path, log="wandb", save_every=2, **FAST)
    monkeypatch.setattr(Stops, "at", None)
    logged = []
    vergence.resume(
        tmp_path, method=Stops, source=some, quiet=True, callbacks=[lambda *row: logged.append(row)]
    )
    assert [given["id"] for given in wandb.begun] == [None, "run0"] and list(wandb.runs) == ["run0"]
    assert logged and min(step for _, step, _ in logged) > 2


def test_mlflow_gets_what_the_run_writes(some, tmp_path, mlflow):
    run = vergence.learn("simclr", some, out=tmp_path, log="mlflow", **FAST)
    losses = {row[0]: row[1]["train/loss"] for row in mlflow.rows[:-1] if "train/loss" in row[1]}
    assert losses == pytest.approx({row["step"]: row["loss"] for row in run.metrics}, rel=1e-4)
    assert mlflow.rows[-1] == "finished" and mlflow.experiment == "vergence" and mlflow.began == [None]
    assert mlflow.params[0]["method"] == "simclr" and all(len(v) <= 500 for v in mlflow.params[0].values())


def test_a_tracker_that_fails_does_not_end_the_run(some, tmp_path, wandb, capsys):
    wandb.fails = True
    run = vergence.learn("simclr", some, out=tmp_path, log="wandb", **{**FAST, "quiet": False})
    assert capsys.readouterr().err.count("WeightsAndBiases failed (the server is gone); the run goes on") == 1
    assert run.metrics[-1]["step"] == 8


def test_a_tracker_that_is_missing_or_unknown_is_one_line_at_once(some, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        MissingExtra, match=r"This needs wandb, which is not installed: .*pip install .*\[track\]'"
    ):
        vergence.learn("simclr", "nowhere", log="wandb")
    assert main(["learn", "simclr", "digits", "--log", "wandb", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "[track]'" in said and not (tmp_path / "run").exists()
    with pytest.raises(BadInput, match="Unknown tracker 'wand'; did you mean 'wandb'"):
        vergence.learn("simclr", some, log="wand")
    assert main(["learn", "simclr", "digits", "--log", "wand"]) == 2
    assert "wandb" in capsys.readouterr().err
    with pytest.raises(BadInput, match="is fitted, not trained by steps: it has no --log"):
        vergence.learn("node2vec", "karate", log="tensorboard", out=tmp_path / "fitted")
    with pytest.raises(BadInput, match="it has no --callbacks"):
        vergence.learn("node2vec", "karate", callbacks=[print], out=tmp_path / "fitted")


def test_tensorboard_is_there_in_any_case(some, tmp_path):
    run = vergence.learn("simclr", some, out=tmp_path, log="tensorboard", **FAST)
    assert list((run.path / "tensorboard").glob("events.*")) and not (run.path / "trackers.json").exists()
