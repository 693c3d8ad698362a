"""Flags, YAML and the public API say the same."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from jsonargparse import Namespace

from vergence.cli import main
from vergence.cli.options import Options
from vergence.core.errors import VergenceError


def sample(*, batch_size: int = 4, lr: float | None = None, flip: bool = False) -> None:
    """Do nothing.

    Args:
        batch_size: Samples; None takes ``all``.
        lr: Rate.
        flip: Mirror.
    """


def parser() -> Options:
    made = Options("sample", "Do nothing.", "vergence sample x")
    made.add_argument("source", nargs="?", type=str)
    made.add_signature(sample)
    return made


def test_dashes_and_underscores_are_one_option():
    assert parser().read(["x", "--batch-size", "7"]).batch_size == 7
    assert parser().read(["x", "--batch_size=7"]).batch_size == 7


def test_a_yaml_file_sets_options_and_flags_win(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("source: y\nbatch_size: 9\nlr: 0.5\n")
    read = parser().read(["--config", str(path), "--lr", "0.1"])
    assert (read.source, read.batch_size, read.lr) == ("y", 9, 0.1)


def test_a_misspelt_key_in_yaml_is_answered_with_the_right_one(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("source: y\nbatch_sise: 9\n")
    with pytest.raises(VergenceError, match="did you mean --batch-size"):
        parser().read(["--config", str(path)])


def test_help_spells_options_with_dashes_and_says_kind_and_default():
    text = " ".join(parser().format_help().split())
    assert "--batch-size BATCH_SIZE Samples; else all. [a whole number; default 4]" in text
    assert "example: vergence sample x" in text


def test_learn_lists_the_options_of_its_method(capsys):
    assert main(["learn", "simclr", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--temperature" in text and "Softmax temperature" in text and "--batch-size" in text


def _called(monkeypatch: pytest.MonkeyPatch, target: str, words: list[str]) -> dict[str, Any]:
    """Return what a command passes to the public function at ``target``, checked against its signature."""
    place, _, name = target.rpartition(".")
    module = importlib.import_module(place)
    real: Callable[..., Any] = getattr(module, name)
    seen: dict[str, Any] = {}

    @functools.wraps(real)  # its signature makes the options
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(real).bind(*args, **kwargs)
        bound.apply_defaults()
        seen.update(bound.arguments)
        raise VergenceError("stop")

    monkeypatch.setattr(module, name, stand_in)
    assert main(words) == 2
    assert seen, f"{target} was not called"
    return seen


def test_learn_passes_what_was_asked_and_the_defaults_of_the_api(monkeypatch):
    words = "learn simclr digits --epochs 3 --out r --temperature 0.5 --views.flip 0 --devices 2"
    seen = _called(monkeypatch, "vergence.train.learn", words.split())
    assert (seen["method"], seen["source"], seen["epochs"], seen["out"]) == ("simclr", "digits", 3, "r")
    assert seen["options"]["temperature"] == 0.5
    assert (seen["views"], seen["devices"], seen["seed"], seen["precision"]) == ({"flip": 0}, 2, 0, "auto")


def test_learn_takes_method_and_source_from_yaml(monkeypatch, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("method: vicreg\nsource: digits\nepochs: 2\n")
    seen = _called(monkeypatch, "vergence.train.learn", ["learn", "--config", str(path)])
    assert (seen["method"], seen["source"], seen["epochs"]) == ("vicreg", "digits", 2)


def test_learn_resumes(monkeypatch, tmp_path):
    (tmp_path / "config.yaml").touch()
    words = ["learn", "--resume", str(tmp_path), "--workers", "2"]
    seen = _called(monkeypatch, "vergence.train.resume", words)
    assert (seen["run"], seen["quiet"]) == (str(tmp_path), False)


def test_demo_and_bench_have_the_defaults_of_the_api(monkeypatch):
    seen = _called(monkeypatch, "vergence.reports.walkthrough.demo", ["demo"])
    assert (seen["data"], str(seen["out"]), seen["method"], seen["seed"]) == (
        *("digits", "vergence-demo", "simclr", 0),
    )
    seen = _called(monkeypatch, "vergence.benchmarks.runner.bench", ["bench", "simclr"])
    assert (seen["key"], seen["only"], seen["out"], seen["workers"]) == ("simclr", None, None, 2)


def test_read_gives_a_namespace_without_surprises():
    read = parser().read(["x"])
    assert isinstance(read, Namespace)
    assert set(read.as_dict()) == {"config", "json", "source", "batch_size", "lr", "flip"}
