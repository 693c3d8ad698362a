"""Exports answer as the encoder does, for any batch, and are refused in one line where they cannot be."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import vergence
from vergence.cli import main
from vergence.core import BadInput, MissingExtra, RunConfig, VergenceError
from vergence.core.errors import need
from vergence.engine import Run
from vergence.engine.export import _compare, export
from vergence.engine.files import write_json, write_yaml
from vergence.engine.run import save_encoder
from vergence.methods.image.encoders import build
from vergence.nets.descriptor import Descriptor

CROPPED = {"crop": 0.875, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5]}
NETS = {
    "resnet-tiny": lambda: build("resnet-tiny", size=32, width=8),
    "vit-micro": lambda: build("vit-micro", size=32, registers=2),
    "timm vit": lambda: build("timm:vit_tiny_patch16_224", size=32, depth=2, preprocessing=CROPPED),
    "timm resnet": lambda: build("timm:resnet10t", size=32, preprocessing=CROPPED),
    "descriptor": lambda: Descriptor(build("resnet-tiny", size=32, width=8), 6),
}


def run_of(name, folder, **more):
    torch.manual_seed(0)
    net = NETS[name]()
    config = RunConfig(
        method="simclr",
        source="photos/",
        modality="image",
        encoder=net.spec,
        samples=1234,
        batch_size=64,
        **more,
    )
    write_yaml(folder / "config.yaml", config.to_dict())
    save_encoder(net, folder / "encoder.safetensors")
    return Run(folder, net)


def vectors(run, pixels):
    with torch.no_grad():
        return run.encoder(pixels).pooled


@pytest.fixture
def pixels():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["resnet-tiny", "vit-micro", "timm vit", "descriptor"])
def test_a_program_of_torch_export_reads_any_batch(name, tmp_path, pixels):
    run = run_of(name, tmp_path)
    path = run.export("torch")
    assert path == tmp_path / "encoder.pt2"
    about = {"preprocessing.json": ""}
    program = torch.export.load(path, extra_files=about).module()
    for count in (1, 3, 5):
        torch.testing.assert_close(
            program(pixels[:count]), vectors(run, pixels[:count]), atol=1e-5, rtol=1e-4
        )
    assert json.loads(about["preprocessing.json"]) == run.encoder.preprocessing


@pytest.mark.parametrize("name", ["resnet-tiny", "vit-micro", "timm vit"])
def test_onnx_reads_any_batch(name, tmp_path, pixels):
    for module in ("onnx", "onnxscript"):
        pytest.importorskip(module)
    onnxruntime = pytest.importorskip("onnxruntime")
    run = run_of(name, tmp_path)
    path = run.export("onnx", out=tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 3, 5):
        (got,) = session.run(["vectors"], {"pixels": pixels[:count].numpy()})
        np.testing.assert_allclose(got, vectors(run, pixels[:count]), atol=1e-4, rtol=1e-3)
    kept = session.get_modelmeta().custom_metadata_map["preprocessing"]
    assert json.loads(kept) == run.encoder.preprocessing
    assert [p.name for p in tmp_path.iterdir() if "onnx" in p.name] == ["net.onnx"]


def test_an_export_that_answers_otherwise_is_not_written(pixels, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    _compare(net, pixels, net)
    with pytest.raises(VergenceError, match="does not answer as the encoder does: off by"):
        _compare(net, pixels, lambda x: net(x) * 1.001)
    with pytest.raises(VergenceError, match="off by nan"):
        _compare(net, pixels, lambda x: net(x) * float("nan"))
    with pytest.raises(VergenceError, match="cannot read a batch of 1"):
        _compare(net, pixels, lambda x: net(x.view(2, -1)))


def test_timms_state_dict_has_timms_names(tmp_path, pixels):
    run = run_of("timm resnet", tmp_path)
    path = run.export("timm")
    model = timm.create_model("resnet10t", num_classes=0).eval()
    model.load_state_dict(load_file(path))
    with torch.no_grad():
        torch.testing.assert_close(model(run.encoder.pixels(pixels)), vectors(run, pixels))
    with safe_open(path, "pt") as file:
        about = file.metadata()
    assert about["architecture"] == "resnet10t"
    assert json.loads(about["preprocessing"]) == run.encoder.preprocessing
    with pytest.raises(BadInput, match="simclr's encoder is vit-micro, which is none of timm's"):
        run_of("vit-micro", tmp_path / "own").export("timm")


SCORE = {"value": 0.912, "low": 0.9, "high": 0.92, "n": 100, "note": ""}


def test_a_hubs_folder_of_timms_is_loaded_by_timm(tmp_path, pixels):
    run = run_of("timm vit", tmp_path / "run", init="timm:vit_tiny_patch16_224")
    write_json(
        run.path / "measure.json", {"about": {"source": "photos/"}, "rows": {"learned": {"k-NN": SCORE}}}
    )
    path = run.export("hub", out=tmp_path / "hub")
    assert sorted(p.name for p in path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(run.encoder.pixels(pixels)), vectors(run, pixels))
    data = timm.data.resolve_model_data_config(model)
    assert (data["crop_pct"], data["interpolation"], data["input_size"]) == (0.875, "bicubic", (3, 32, 32))
    assert list(data["mean"]) == [0.5, 0.5, 0.5]
    card = (path / "README.md").read_text()
    for part in (
        "library_name: timm", "- simclr", "photos/`: 1,234 samples", "A Simple Framework", "abs/2002.05709",
        "began with timm:vit_tiny_patch16_224", "| k-NN | 91.2 [90.0, 92.0] |", "- interpolation: bicubic",
    ):  # fmt: skip
        assert part in card, part


@pytest.mark.parametrize("name", ["resnet-tiny", "descriptor", "timm vit"])
def test_the_cards_own_code_loads_the_encoder(name, tmp_path, pixels, monkeypatch):
    run = run_of(name, tmp_path / "run")
    path = run.export("hub")
    card = (path / "README.md").read_text()
    assert "Not measured." in card and path == tmp_path / "run" / "hub"
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(path)
    names = {}
    exec(code, names)
    given = run.encoder.pixels(pixels) if name == "timm vit" else pixels
    with torch.no_grad():
        answer = names["encoder"](given)
    answer = getattr(answer, "pooled", answer)
    torch.testing.assert_close(answer, vectors(run, pixels))
    if name == "timm vit":
        assert names["transform"](Image.new("RGB", (50, 40))).shape == (3, 32, 32)


def test_other_modalities_go_to_the_hub_and_nowhere_else(tmp_path):
    run = vergence.learn("node2vec", "karate", out=tmp_path / "run", quiet=True, dim=8, epochs=1)
    for to in ("onnx", "torch"):
        if to == "torch" or _have_onnx():
            with pytest.raises(BadInput, match="that of node2vec reads graph: export it to hub"):
                run.export(to)
    state = load_file(run.export("hub") / "model.safetensors")
    assert set(state) == set(run.encoder.state_dict())


def _have_onnx():
    try:
        return all(need(module, extra="export") for module in ("onnx", "onnxscript", "onnxruntime"))
    except MissingExtra:
        return False


def test_mistakes_are_one_line(tmp_path, monkeypatch):
    run = run_of("resnet-tiny", tmp_path)
    with pytest.raises(BadInput, match="Unknown format 'onx'; did you mean 'onnx'"):
        run.export("onx")
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        run.export("torch", out=tmp_path / "there")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[export\]'"):
        run.export("onnx")

    class Odd(nn.Module):
        input_spec = {"size": 32}

        def forward(self, pixels):
            return pixels.flatten(1) if float(pixels.sum()) > 0 else pixels.mean((2, 3))

    with pytest.raises(VergenceError, match="torch cannot trace the encoder of simclr") as error:
        export(Odd(), run.config, "torch", tmp_path / "odd.pt2")
    assert "\n" not in str(error.value) and not (tmp_path / "odd.pt2").exists()


def test_the_command_exports_a_run_and_still_the_rows_of_a_store(tmp_path, capsys):
    run_of("timm resnet", tmp_path / "run")
    assert main(f"export {tmp_path}/run --to timm --out {tmp_path}/net.safetensors --json".split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["format"] == "timm" and said["bytes"] == (tmp_path / "net.safetensors").stat().st_size
    for words, line in (
        (f"{tmp_path}/run --to timm --out {tmp_path}/net.safetensors", "exists already"),
        (f"{tmp_path}/run x.parquet --to timm", "leave FILE and --where out"),
        (f"{tmp_path}/none --to timm", "is not a finished or started run"),
        (f"{tmp_path}/run --out x.parquet", "Rows go to a FILE, the second word"),
        (f"{tmp_path}/run --to onix", "onnx"),
    ):
        assert main(["export", *words.split()]) == 2
        assert line in capsys.readouterr().err, words
