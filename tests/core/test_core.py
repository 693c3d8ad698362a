import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vergence.core import Clock, Features, Method, errors, input_spec, pooled, unknown
from vergence.core.errors import BadInput, MissingExtra, install_command, need


def test_clock_reads_epoch_progress_and_schedules():
    clock = Clock(step=25, total=100, steps_per_epoch=10)
    assert (clock.epoch, clock.progress) == (2, 0.25)
    assert Clock(0, 10).cosine(2.0, 4.0) == 2.0
    assert Clock(10, 10).cosine(2.0, 4.0) == pytest.approx(4.0)
    assert clock.linear(0.0, 1.0) == 0.25
    assert clock.linear(0.0, 1.0, epochs=5) == 0.5
    assert clock.linear(0.0, 1.0, epochs=2) == 1.0


@pytest.mark.parametrize("kind", [BadInput, MissingExtra])
@pytest.mark.parametrize("name", ["two\nlines", "a\r\nb", "page\x0c", "\x1b[2J", "\u2028", "caf\udce9"])
def test_whatever_an_error_quotes_it_is_one_line_that_can_be_printed(kind, name):
    said = str(kind(f"There is no row '{name}', été."))
    assert len(said.splitlines()) == 1 and said.isprintable() and said.encode()
    assert said == f"There is no row '{name.encode('unicode_escape').decode()}', été."


def test_pooled_takes_either_answer_of_an_encoder():
    x = torch.randn(2, 3)
    assert pooled(x) is x
    assert pooled(Features(pooled=x)) is x


def test_an_encoder_says_what_it_must_be_given_or_takes_any_batch():
    net = nn.Linear(3, 2)
    assert input_spec(net) is None
    net.input_spec = {"size": 8}
    assert input_spec(net) == {"size": 8}


def test_embed_is_without_gradient_and_encode_with():
    method = Method(nn.Linear(3, 2))
    assert not method.embed(torch.randn(4, 3)).requires_grad
    assert method.encode(torch.randn(4, 3)).requires_grad


def test_watched_values_are_drained_once_and_hold_no_graph():
    method = Method(nn.Linear(3, 2))
    method.watch("norm", method.encode(torch.randn(4, 3)).norm())
    assert not method.pop_logged()["norm"].requires_grad
    assert method.pop_logged() == {}


def test_a_method_without_a_loss_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="define loss"):
        Method(nn.Linear(3, 2)).loss([])


def test_unknown_names_the_nearest():
    error = unknown("encoder", "resnet-tiy", ["resnet-tiny", "vit-micro"])
    assert isinstance(error, BadInput)
    assert "did you mean 'resnet-tiny'?" in str(error)
    assert "known: a, b" in str(unknown("thing", "zzz", ["b", "a"]))


def test_a_missing_extra_says_what_installs_it_from_the_checkout_that_runs(monkeypatch, tmp_path):
    checkout = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(checkout)
    monkeypatch.setattr("sys.executable", str(checkout / ".venv" / "bin" / "python"))
    with pytest.raises(
        MissingExtra, match=r"not installed: \.venv/bin/python -m pip install -e '\.\[maps\]'$"
    ):
        need("surely_not_installed.sub", extra="maps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", "/opt/python")
    assert install_command("maps") == f"/opt/python -m pip install -e '{checkout}[maps]'"


def test_a_missing_extra_of_an_installed_vergence_is_installed_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(
        errors, "__file__", str(tmp_path / "site-packages" / "vergence" / "core" / "errors.py")
    )
    monkeypatch.setattr("sys.executable", "/opt/python")
    assert install_command("maps") == "/opt/python -m pip install 'vergence[maps]'"


def test_importing_vergence_and_its_errors_leaves_torch_alone():
    code = "import sys, vergence, vergence.core.errors, vergence.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
