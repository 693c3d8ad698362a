"""The settings of a run, methods of one's own, and what ``learn`` and ``resume`` cannot follow."""

import dataclasses
import inspect
import os
import socket

import pytest
import torch
from PIL import Image
from torch import nn

import vergence
from vergence.core import BadInput, Method, Recipe, RunConfig
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE
from vergence.methods.graph.node2vec import Node2Vec
from vergence.methods.image.encoders import build
from vergence.methods.pairs.simclr import SimCLR


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"temperature": 0.5}, "This GRACE is made already: say its temperature where it is made."),
        ({"encoder": "gat"}, "This GRACE is made already: say its encoder where it is made."),
        ({"encoder_options": {"width": 8}}, "This GRACE is made already: say its encoder where it is made."),
    ],
)
def test_what_a_method_is_made_of_is_not_asked_of_learn(wanted, said, tmp_path):
    source = vergence.open("karate")
    method = GRACE(encoders.for_source(source, width=8))
    with pytest.raises(BadInput) as error:
        vergence.learn(method, source, out=tmp_path / "run", quiet=True, **wanted)
    assert str(error.value) == said


def test_an_unknown_option_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(BadInput, match="Unknown option of grace 'temprature'; did you mean 'temperature'"):
        vergence.learn("grace", "karate", temprature=0.5, out=tmp_path / "run", quiet=True)


class Means(nn.Module):
    """An image encoder of one's own: the three mean colours, weighed."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, pixels):
        return self.layer(pixels.mean((2, 3)))


def test_the_size_of_ones_own_image_encoder_is_asked_for_or_its_own_or_the_datas(tmp_path):
    options = {"epochs": 1, "batch_size": 256, "quiet": True}
    net = Means()
    net.input_spec = {"size": 12}
    for name, encoder, wanted, size in (("a", Means(), 8, 8), ("b", net, None, 12), ("c", Means(), None, 16)):
        run = vergence.learn("simclr", "digits", encoder=encoder, size=wanted, out=tmp_path / name, **options)
        assert (run.config.size, run.encoder.size, run.encoder.out_dim) == (size, size, 3)


def test_options_of_ones_own_method_need_not_be_keyword_only(tmp_path):
    class Apart(Closer):
        def __init__(self, encoder, weight, power=2.0):
            super().__init__(encoder, weight=weight, power=power)

    options = {"encoder": "resnet-tiny", "encoder_options": {"width": 4}, "epochs": 1, "quiet": True}
    run = vergence.learn(Apart, "digits", weight=2.0, out=tmp_path / "run", **options)
    assert run.config.options == {"weight": 2.0}
    with pytest.raises(BadInput, match="Apart needs its weight"):
        vergence.learn(Apart, "digits", power=3.0, out=tmp_path / "none", **options)


def test_the_settings_of_a_run_are_the_parameters_of_learn():
    learn = dict(inspect.signature(vergence.learn).parameters)
    fields = {field.name: field for field in dataclasses.fields(RunConfig)}
    of_the_call = {"out", "resume", "quiet", "callbacks"}  # where, how loudly, and who is told
    of_the_run = {
        "version", "command", "modality", "samples", "names", "out_of", "recipe", "processes", "device",
        "threads", "parameters", "versions", "seconds", "result", "stages", "stage",
    }  # fmt: skip
    assert set(learn) - of_the_call == set(fields) - of_the_run
    for name in set(learn) & set(fields) - {"method", "source", "views", "options", "encoder_options"}:
        assert learn[name].default == fields[name].default, name


class Closer(Method):
    """A method of the user's own."""

    recipe = Recipe(optimizer="adam", lr=1e-2, batch=64, epochs=2)

    def __init__(self, encoder, *, weight: float, power: float = 2.0):
        super().__init__(encoder)
        self.weight, self.power = weight, power

    def loss(self, views):
        first, second = (self.encode(view) for view in views)
        return {"apart": self.weight * (first - second).abs().pow(self.power).mean()}

    def step_end(self, clock):
        if clock.step == STOP_AT["step"]:
            raise KeyboardInterrupt


STOP_AT = {"step": None}


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits")


def weights(run):
    return torch.cat([p.flatten() for p in run.encoder.parameters()])


def settings(tmp_path, name="run"):
    return {
        "encoder": "resnet-tiny", "encoder_options": {"width": 8}, "batch_size": 600, "epochs": 2,
        "quiet": True, "out": tmp_path / name, "save_every": 1,
    }  # fmt: skip


def test_a_class_of_ones_own_is_learned_with_and_resumed(digits, tmp_path, monkeypatch):
    whole = vergence.learn(Closer, digits, weight=3.0, **settings(tmp_path, "whole"))
    assert (whole.config.method, whole.config.options) == ("Closer", {"weight": 3.0})
    monkeypatch.setitem(STOP_AT, "step", 3)
    with pytest.raises(KeyboardInterrupt):
        vergence.learn(Closer, digits, weight=3.0, **settings(tmp_path))
    monkeypatch.setitem(STOP_AT, "step", None)
    with pytest.raises(BadInput, match=r"by your own Closer, .* pass the class, resume\(run, method=Closer"):
        vergence.resume(tmp_path / "run")
    resumed = vergence.resume(tmp_path / "run", method=Closer, quiet=True)
    assert torch.equal(weights(resumed), weights(whole))
    assert torch.equal(weights(vergence.open_run(tmp_path / "run")), weights(whole))


def test_a_method_that_was_made_is_resumed_as_it_was_made(digits, tmp_path, monkeypatch):
    def made():
        torch.manual_seed(0)
        return SimCLR(build("resnet-tiny", size=16, width=8), temperature=0.9)

    wanted = {k: v for k, v in settings(tmp_path).items() if not k.startswith("encoder")}
    whole = vergence.learn(made(), digits, **{**wanted, "out": tmp_path / "whole"})
    assert (whole.config.method, whole.config.options) == ("simclr", None)
    monkeypatch.setattr(SimCLR, "step_end", lambda self, clock: 1 / (clock.step != 3))
    with pytest.raises(ZeroDivisionError):
        vergence.learn(made(), digits, **wanted)
    monkeypatch.undo()
    with pytest.raises(BadInput, match="by a simclr that was made already: make it again and pass it"):
        vergence.resume(tmp_path / "run")
    resumed = vergence.resume(tmp_path / "run", method=made(), quiet=True)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Closer, r"Closer needs its weight: learn\(Closer, ..., weight=...\)."),
        (torch.nn.Linear, "learn needs the key of a paper, or a Method or Estimator, .* got Linear"),
        (3, "learn needs the key of a paper, .* got int"),
    ],
)
def test_what_cannot_be_learned_with_is_one_line(method, said, digits, tmp_path):
    with pytest.raises(BadInput, match=said):
        vergence.learn(method, digits, out=tmp_path / "run", quiet=True)


def test_other_data_than_a_run_began_with_are_refused(digits, tmp_path):
    few = digits.subset(range(600))
    vergence.learn("simclr", few, **{**settings(tmp_path), "epochs": 1})
    lacks = (
        r"1 of the 600 samples that were learned from are not there, such as digits#0\. .* resume\(run, sou"
    )
    with pytest.raises(BadInput, match=lacks):
        vergence.resume(tmp_path / "run", source=digits.subset(range(1, 700)))
    assert vergence.resume(tmp_path / "run", source=few, quiet=True).config.samples == 600
    assert vergence.resume(tmp_path / "run", quiet=True).config.samples == 600  # of 1,797
    (tmp_path / "run/samples.parquet").unlink()  # as of runs before there was one
    with pytest.raises(BadInput, match=r"it held 600 samples and holds 1,797. .* resume\(run, source=...\)"):
        vergence.resume(tmp_path / "run")
    with pytest.raises(BadInput, match="its samples have other names"):
        vergence.resume(tmp_path / "run", source=digits.subset(range(1, 601)))


def stopped(monkeypatch, source, out, at, **options):
    """Train until an error in step ``at``."""
    monkeypatch.setitem(STOP_AT, "step", at)
    with pytest.raises(KeyboardInterrupt):
        vergence.learn(Closer, source, weight=3.0, **{**settings(out.parent, out.name), **options})
    monkeypatch.setitem(STOP_AT, "step", None)


def photos(folder, numbers):
    for i in numbers:
        Image.new("RGB", (16, 16), (i, 255 - i, 7 * i % 256)).save(folder / f"{i:03}.png")


def test_a_run_goes_on_with_the_samples_that_it_began_with_whatever_was_added(tmp_path, monkeypatch, capsys):
    (folder := tmp_path / "photos").mkdir()
    photos(folder, range(10, 58, 2))
    options = {"batch_size": 8}
    whole = vergence.learn(Closer, folder, weight=3.0, **{**settings(tmp_path, "whole"), **options})
    stopped(monkeypatch, folder, tmp_path / "run", 4, **options)
    photos(folder, range(11, 59, 2))  # 24 more, between those that there were
    resumed = vergence.resume(tmp_path / "run", method=Closer)
    assert "24 samples that the run did not begin with are left out" in capsys.readouterr().err
    assert (resumed.config.samples, resumed.config.out_of) == (24, 48)
    assert torch.equal(weights(resumed), weights(whole))
    stopped(monkeypatch, folder, tmp_path / "other", 4, **options)
    (folder / "034.png").unlink()
    with pytest.raises(
        BadInput, match="1 of the 48 samples that were learned from are not there, such as 034"
    ):
        vergence.learn(Closer, folder, weight=3.0, resume=True, **{**settings(tmp_path, "other"), **options})


def test_photos_made_anew_under_the_same_names_are_refused(tmp_path, monkeypatch):
    (folder := tmp_path / "photos").mkdir()
    photos(folder, range(10, 58, 2))
    stopped(monkeypatch, folder, tmp_path / "run", 4, batch_size=8)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(folder / "034.png")
    changed = (
        r"1 of the 24 samples whose content was noted have another one now, such as 034\.png\. Put it back"
    )
    with pytest.raises(BadInput, match=changed):
        vergence.resume(tmp_path / "run", method=Closer, quiet=True)
    photos(folder, [34])
    assert vergence.resume(tmp_path / "run", method=Closer, quiet=True).config.samples == 24


def test_a_part_is_gone_on_with_as_that_part(digits, tmp_path, monkeypatch):
    part = digits.subset(range(0, 1797, 2))  # as the demo holds out the others
    whole = vergence.learn(Closer, part, weight=3.0, **settings(tmp_path, "whole"))
    stopped(monkeypatch, part, tmp_path / "run", 2)
    resumed = vergence.resume(tmp_path / "run", method=Closer, quiet=True)
    assert (resumed.config.samples, resumed.config.out_of) == (899, 1797)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_run_that_is_being_trained_is_not_gone_on_with(digits, tmp_path, monkeypatch):
    refused = []

    def meddle(self, clock, loader):
        with pytest.raises(BadInput) as error:
            vergence.resume(tmp_path / "run", method=Closer, source=digits)
        refused.append(str(error.value))

    monkeypatch.setattr(Closer, "epoch_start", meddle)
    vergence.learn(Closer, digits, weight=3.0, **settings(tmp_path))
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert refused == [f"{tmp_path / 'run'} is being trained by {holder}: wait for it, or stop it."] * 2


def test_numbered_samples_of_data_that_grew_are_refused(digits, tmp_path, monkeypatch):
    before = digits.subset(range(1500))
    before.out_of = 0  # data of 1,500 samples, whose 17th may be another one when there are 1,797
    stopped(monkeypatch, before.subset(range(1000)), tmp_path / "run", 1)
    with pytest.raises(
        BadInput, match="it held 1,500 samples and holds 1,797, whose names do not tell the new"
    ):
        vergence.resume(tmp_path / "run", method=Closer)


def test_a_run_goes_on_with_as_many_threads_as_it_began_with(digits, tmp_path, monkeypatch, capsys):
    before, few = torch.get_num_threads(), digits.subset(range(600))
    monkeypatch.setattr("vergence.engine.devices.cores", lambda: 3)
    seen = []
    monkeypatch.setattr(Closer, "epoch_start", lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(3)
    try:
        stopped(monkeypatch, few, tmp_path / "run", 1)
        torch.set_num_threads(1)
        vergence.resume(tmp_path / "run", method=Closer)
        assert "it goes on with 3 threads, as it began, in place of 1." in capsys.readouterr().err
        assert (set(seen), torch.get_num_threads()) == ({3}, 1)
        monkeypatch.setattr("vergence.engine.devices.cores", lambda: 2)
        vergence.resume(tmp_path / "run", method=Closer)
        warned = "it began with 3 threads, and here are 2 cores: the last bits will differ"
        assert warned in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)


def test_nothing_is_left_of_a_run_that_did_not_begin_but_what_was_said(digits, tmp_path, capsys):
    with pytest.raises(BadInput, match="Unknown option of views 'flap'"):
        vergence.learn("simclr", digits, views={"flap": 0.5}, **{**settings(tmp_path), "quiet": False})
    said = "digits: views of 16 pixels, as the shorter side of the median image has 8; --size takes another."
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_was_fitted_has_nothing_to_go_on_with(tmp_path):
    options = {"dim": 4, "walks": 1, "length": 5}
    vergence.learn("node2vec", "karate", out=tmp_path / "run", quiet=True, epochs=1, **options)
    with pytest.raises(BadInput, match="was fitted in one go: there is nothing to go on with"):
        vergence.resume(tmp_path / "run")


def test_an_estimator_that_was_made_is_fitted_as_it_is(tmp_path):
    made = Node2Vec(dim=4, walks=1, length=5)
    run = vergence.learn(made, "karate", out=tmp_path / "run", quiet=True)
    assert (run.config.method, run.config.options) == ("node2vec", None) and run.encoder.out_dim == 4
    for wanted, said in (
        ({"epochs": 2}, "This Node2Vec is made already: say its epochs where it is made."),
        ({"batch_size": 8}, "Node2Vec is fitted, not trained by steps: it has no --batch-size."),
    ):
        with pytest.raises(BadInput, match=said):
            vergence.learn(made, "karate", out=tmp_path / "other", quiet=True, **wanted)
