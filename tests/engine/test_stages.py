"""Stages: several methods and estimators in one run, that see what came before and are each gone on with."""

import pytest
import torch

import vergence as vg
from tiny_methods import Centres, Nearest, ThreeStages
from vergence.core import BadInput, Interrupted, Method, Stage
from vergence.engine.files import load_checkpoint, read_yaml
from vergence.methods.graph.encoders import build

SMALL = {"encoder_options": {"width": (8, 4)}, "seed": 1, "save_every": 1}


def go(out, method=ThreeStages, **options):
    return vg.learn(method, "karate", out=out, quiet=True, **{**SMALL, **options})


def weights(run):
    return (run.path / "encoder.safetensors").read_bytes()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return go(tmp_path_factory.mktemp("stages") / "run")


def test_one_run_holds_all_stages(run):
    rows = run.metrics
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert [row["stage"] for row in rows] == ["contrast"] * 4 + ["nearest"] * 6
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]
    assert all((row["contrast"] is None) == (row["tell"] is not None) for row in rows)
    assert rows[-1]["centres"] == 3
    assert {row["stage"] for row in run.health} == {"contrast", "nearest"}
    assert (run.config.stages, run.config.stage) == (["contrast", "centres", "nearest"], None)
    assert run.config.seconds is not None and run.config.encoder["name"] == "gcn"
    files = {path.name for path in (run.path / "checkpoint").iterdir()}
    assert files == {"last.pt", "contrast.pt", "nearest.pt"}
    state = load_checkpoint(run.path / "checkpoint" / "last.pt")
    assert (state["stage"], state["step"]) == ("nearest", 6)
    encoder = vg.load(run.path)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state["method"][f"encoder.{name}"])


def test_a_stage_begins_with_what_the_one_before_has_come_to(tmp_path, monkeypatch):
    begun = {}
    setup = Nearest.setup

    def look(self, source):
        begun.update({name: value.clone() for name, value in self.state_dict().items()})
        setup(self, source)

    monkeypatch.setattr(Nearest, "setup", look)
    out = go(tmp_path / "run").path
    ended = load_checkpoint(out / "checkpoint" / "contrast.pt")["method"]
    averaged = load_checkpoint(out / "checkpoint" / "contrast.pt")
    for name, value in begun.items():
        if name.startswith("encoder."):
            assert torch.equal(value, ended[name])
    assert begun["centres"].shape == (3, 4) and averaged["step"] == 4


def test_it_says_which_stage_is_running(tmp_path, capfd):
    vg.learn(ThreeStages, "karate", out=tmp_path / "run", epochs=1, **SMALL)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Stage")]
    assert said == ["Stage 1 of 3: contrast", "Stage 2 of 3: centres", "Stage 3 of 3: nearest"]


def test_epochs_shorten_all_stages_alike(tmp_path):
    rows = go(tmp_path / "run", epochs=2).metrics
    assert [row["stage"] for row in rows] == ["contrast"] * 2 + ["nearest"] * 3


def test_a_signal_in_a_later_stage_saves_it_and_the_run_goes_on_from_there(run, tmp_path, monkeypatch):
    import os
    import signal

    loss = Nearest.loss

    def interrupt(self, views):
        if self.clock.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, views)

    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "loss", interrupt)
        with pytest.raises(Interrupted, match="at step 3 of 6"):
            go(tmp_path / "run")
    assert read_yaml(tmp_path / "run" / "config.yaml")["stage"] == "nearest"
    again = vg.resume(tmp_path / "run", method=ThreeStages, quiet=True)
    assert (again.path / "encoder.safetensors").read_bytes() == (
        run.path / "encoder.safetensors"
    ).read_bytes()
    drop = {"samples_per_second"}
    plain = [[{k: v for k, v in row.items() if k not in drop} for row in r.metrics] for r in (again, run)]
    assert plain[0] == plain[1]


def with_stages(make):
    class Other(Method):
        recipe = ThreeStages.recipe

        def stages(self, source):
            return make(self)

    return Other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: [], r"Other\.stages\(\) is empty"),
        (lambda m: [Stage("a", lambda b: m)] * 2, "two stages of the name 'a'"),
        (lambda m: [Stage("a", lambda b: None)], "Stage 'a' of Other makes a NoneType"),
        (lambda m: [Stage("a", lambda b: ThreeStages(m.encoder))], "without stages of its own"),
    ],
)
def test_stages_that_cannot_be_run_are_one_clear_line(tmp_path, make, message):
    with pytest.raises(BadInput, match=message) as caught:
        go(tmp_path / "run", with_stages(make))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["last", "", "a/b"])
def test_a_stage_needs_a_name_that_a_file_can_have(name):
    with pytest.raises(ValueError, match="letters, digits"):
        Stage(name, lambda before: None)


def test_an_estimator_may_have_stages_and_its_run_is_gone_on_with(tmp_path, monkeypatch):
    class Pretrained(Centres):
        def stages(self, source):
            encoder = build("gcn", in_dim=source.in_dim, width=(8, 4))
            return [Stage("tell", lambda b: Nearest(encoder, torch.eye(4)[: self.count]))]

    whole = go(tmp_path / "whole", Pretrained, encoder_options=None, save_every=None, count=2)
    assert len(whole.metrics) == 6 and whole.config.recipe is None
    step_end = Nearest.step_end

    def stop(self, clock):
        step_end(self, clock)
        if clock.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "run", Pretrained, encoder_options=None, save_every=None, count=2)
    again = vg.resume(tmp_path / "run", method=Pretrained, quiet=True)
    assert (again.path / "encoder.safetensors").read_bytes() == (
        whole.path / "encoder.safetensors"
    ).read_bytes()
    with pytest.raises(BadInput, match="has ended: there is nothing to go on with"):
        vg.resume(tmp_path / "run", method=Pretrained)
