"""A network in a file of the working folder: named to learn with, loaded again by --import."""

import sys

import numpy as np
import pytest
from PIL import Image

from vergence.cli import main

NETS = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, width=3):
        super().__init__(nn.Conv2d(3, width, 3, 2), nn.ReLU())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets_of_mine.py").write_text(NETS)
    (tmp_path / "photos").mkdir()
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    yield tmp_path
    sys.modules.pop("nets_of_mine", None)


def test_a_run_of_ones_own_network_is_used_on_the_command_line(folder, capsys):
    named = ["--encoder", "nets_of_mine:Net", "--encoder-options", '{"width": 4}', "--epochs", "1", "--quiet"]
    assert main(["learn", "simclr", "photos", *named, "--out", "run"]) == 0
    sys.modules.pop("nets_of_mine")
    embed = ["embed", "run", "photos", "--out", "photos.lance"]
    capsys.readouterr()
    assert main(embed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "your own nets_of_mine:Net: import nets_of_mine first" in line and "--import nets_of_mine" in line
    assert main([*embed, "--import", "nets_of_mine"]) == 0
    assert "16 samples, 4 numbers each" in capsys.readouterr().out
    assert main(["search", "photos.lance", "photos/3.png", "--k", "1"]) == 0
    assert capsys.readouterr().out.split() == ["1.0000", "3.png"]
    assert main([*embed, "--import", "no_such_nets"]) == 2
    assert "There is no module 'no_such_nets'" in capsys.readouterr().err
