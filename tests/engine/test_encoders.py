"""Encoders by name: short ones, timm's, a run's, a class; with weights and without."""

import copy
import sys
import types

import pytest
import timm
import torch
from PIL import Image
from torch import nn

import vergence
from vergence.core import BadInput, RunConfig
from vergence.engine import embed
from vergence.engine.encoders import check_encoder_of, encoder_from, encoder_of
from vergence.engine.files import write_yaml
from vergence.engine.identity import identity
from vergence.methods.image.cores import Stationary
from vergence.nets import timm_encoder
from vergence.nets.descriptor import Descriptor

FAST = {"epochs": 1, "batch_size": 600, "quiet": True}


class Flat(nn.Module):
    """An encoder of the user's own."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, width))

    def forward(self, pixels):
        return self.net(pixels)


@pytest.fixture
def elsewhere(monkeypatch):
    module = types.ModuleType("elsewhere.nets")
    module.Flat = Flat
    monkeypatch.setattr(Flat, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, "elsewhere", types.ModuleType("elsewhere"))
    monkeypatch.setitem(sys.modules, "elsewhere.nets", module)
    return "elsewhere.nets:Flat"


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    return vergence.learn(
        "simclr", digits, encoder="resnet-tiny", encoder_options={"width": 8}, out=out, **FAST
    )


@pytest.mark.parametrize(
    ("name", "options", "spec"),
    [
        ("resnet-tiny", {"width": 8}, {"name": "resnet-tiny", "size": 32, "registers": 0, "width": 8}),
        ("timm:resnet10t", {"size": 32}, {"name": "timm:resnet10t", "size": 32, "registers": 0}),
        (
            "gcn",
            {"in_dim": 3, "width": 8},
            {"name": "gcn", "in_dim": 3, "width": 8, "layers": 2, "readout": None},
        ),
        ("gru", {"categories": {}, "numbers": ["a"], "dim": 8}, {"name": "gru", "dim": 8}),
        ("linear", {"categories": {}, "numbers": ["a"], "dim": 8}, {"name": "linear", "dim": 8}),
        ("vergence.methods.graph.gcc:StructureGIN", {}, {"name": "vergence.methods.graph.gcc:StructureGIN"}),
    ],
)
def test_a_name_makes_an_encoder_that_its_spec_makes_again(name, options, spec):
    made = vergence.encoder(name, **options)
    assert spec.items() <= made.spec.items()
    again = vergence.encoder(**made.spec)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in made.state_dict().items()
    }


def test_a_source_says_sizes_and_widths(digits):
    assert vergence.encoder("resnet-tiny", digits).size == 16
    assert vergence.encoder("gcn", "karate").in_dim == vergence.open("karate").in_dim


def test_wrappers_are_made_again_with_what_they_wrap():
    inner = vergence.encoder("resnet-tiny", size=16, width=8)
    made = Stationary(Descriptor(inner, 6, power=2.0), 5)
    assert made.spec["encoder"]["encoder"] == inner.spec
    again = vergence.encoder(**made.spec)
    assert (again.out_dim, again.backbone.power, again.backbone.backbone.size) == (4, 2.0, 16)
    again.load_state_dict(made.state_dict())


def test_a_run_is_an_encoder_with_its_weights(run):
    for made in (vergence.encoder(f"run:{run.path}"), vergence.load(f"run:{run.path}")):
        assert all(
            torch.equal(a, b) for a, b in zip(made.parameters(), run.encoder.parameters(), strict=True)
        )
    assert vergence.open_run(f"run:{run.path}").path == run.path


def test_a_run_is_what_another_begins_with(run, digits, tmp_path):
    begun = vergence.learn("vicreg", digits, init=f"run:{run.path}", out=tmp_path / "run", lr=1e-12, **FAST)
    assert begun.config.init == f"run:{run.path}" and begun.config.encoder == run.config.encoder
    pairs = zip(begun.encoder.parameters(), run.encoder.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    scratch = vergence.learn(
        "vicreg", digits, encoder="resnet-tiny", encoder_options={"width": 8}, out=tmp_path / "new", lr=1e-12,
        **FAST,
    )  # fmt: skip
    pairs = zip(scratch.encoder.parameters(), run.encoder.parameters(), strict=True)
    assert not all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    assert vergence.resume(begun.path, quiet=True).config.init == f"run:{run.path}"


def test_an_encoder_of_ones_own_goes_by_its_class(elsewhere, digits, tmp_path, monkeypatch):
    run = vergence.learn(
        "simclr", digits, encoder=elsewhere, encoder_options={"width": 6}, out=tmp_path, **FAST
    )
    assert run.config.encoder["own"] == {"name": elsewhere, "width": 6}
    assert vergence.load(tmp_path).out_dim == 6  # the class is imported
    monkeypatch.delitem(sys.modules, "elsewhere.nets")
    with pytest.raises(
        BadInput, match=r"elsewhere.nets:Flat: import elsewhere.nets first .*, or pass it again"
    ):
        vergence.load(tmp_path)
    for given in (Flat(6), Flat):
        assert vergence.load(tmp_path, encoder=given).out_dim == 6


def test_a_folder_does_not_choose_what_code_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", None)  # importing it would raise
    wrapped = {"name": "vergence.nets.descriptor:Descriptor", "encoder": {"name": "elsewhere.nets:Net"}}
    for spec in ({"name": "elsewhere.nets:Net", "width": 3}, wrapped):
        config = RunConfig(method="simclr", source="digits", modality="image", encoder=spec)
        with pytest.raises(BadInput, match="your own elsewhere.nets:Net: import elsewhere.nets first"):
            encoder_from(config)
    config = config.replace(encoder={"name": "vergence.nets.descriptor:Descriptor", "speed": 3})
    with pytest.raises(BadInput, match="cannot be made: .*speed"):
        encoder_from(config)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda s: vergence.encoder("gcm"), "Unknown encoder 'gcm'; did you mean 'gcn'"),
        (lambda s: vergence.encoder("an encoder"), "needs a name such as resnet-tiny or gcn, timm"),
        (lambda s: vergence.encoder("vergence:small"), "Unknown encoder that vergence ships .small."),
        (lambda s: vergence.encoder("run:none"), "none/config.yaml is missing"),
        (lambda s: vergence.encoder("run:none", width=3), "is trained and takes no options; got width"),
        (lambda s: vergence.encoder("timm:resnet18", "karate"), "timm:resnet18 reads images; these are"),
        (lambda s: vergence.encoder("torch.nn:Linear"), "The encoder Linear cannot be made: .*in_features"),
        (lambda s: vergence.learn("simclr", s, encoder="run:none"), "start from it with --init run"),
        (lambda s: vergence.learn("simclr", s, init="resnet-tiny"), "--init needs weights, run:PATH or timm"),
        (lambda s: vergence.learn("simclr", s, init="run:a", encoder="nin"), "Either --encoder or --init"),
        (lambda s: vergence.learn("node2vec", "karate", init="run:a"), "fitted, .* it has no --init"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_one_line(call, line, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=line) as error:
        call(digits)
    assert len(str(error.value)) < 250


def test_a_run_of_another_modality_and_a_bare_folder_are_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        BadInput, match=r"learned from another modality \(image\) than that of karate \(graph\)"
    ):
        vergence.learn("grace", "karate", init=f"run:{run.path}")
    with pytest.raises(BadInput, match=f"did you mean run:{run.path}"):
        vergence.learn("simclr", "digits", init=str(run.path))
    with pytest.raises(BadInput, match="has its architecture already; leave width out"):
        vergence.learn("simclr", "digits", init=f"run:{run.path}", encoder_options={"width": 3})


@pytest.fixture
def fetched(monkeypatch):
    """Names of models whose weights were asked for; timm makes them without a network."""
    calls, make = [], timm.create_model

    def fetch(name, pretrained=False, **options):
        calls.extend([name] * pretrained)
        torch.manual_seed(3)
        return make(name, **options)

    monkeypatch.setattr(timm_encoder, "_check_reachable", lambda repository: None)
    monkeypatch.setattr(timm, "create_model", fetch)
    return calls


def test_learning_begins_with_timms_weights_and_goes_on_without_fetching_them(fetched, digits, tmp_path):
    some = digits.subset(range(64))
    run = vergence.learn(
        "simclr", some, init="timm:resnet18", out=tmp_path, epochs=1, batch_size=32, quiet=True
    )
    assert run.config.init == "timm:resnet18" and fetched == ["resnet18"]
    spec = run.config.encoder
    assert (spec["name"], spec["stem"], spec["preprocessing"]["crop"]) == ("timm:resnet18", "full", 0.95)
    assert vergence.load(tmp_path).settings == spec["preprocessing"]
    vergence.resume(tmp_path, source=some, quiet=True)
    vergence.learn(
        "simclr", some, init="timm:resnet18", out=tmp_path, epochs=1, batch_size=32, quiet=True, resume=True
    )
    assert fetched == ["resnet18"]


def test_learning_begins_with_an_encoder_of_ones_own(elsewhere, digits, tmp_path):
    run = vergence.learn("simclr", digits, init=elsewhere, encoder_options={"width": 6}, out=tmp_path, **FAST)
    assert run.config.init == elsewhere and run.config.encoder["own"] == {"name": elsewhere, "width": 6}


def test_a_store_knows_its_encoder(run, digits, fetched, tmp_path):
    some = digits.subset(range(12))
    store = run.embed(some, tmp_path / "run.lance")
    net = encoder_of(store)
    assert identity(net) == store.encoders["vector"] == identity(run.encoder)
    theirs = vergence.embed("timm:resnet10t", some, tmp_path / "timm.lance")
    net = encoder_of(theirs.path)
    assert net.size == 176 and identity(net) == theirs.encoders["vector"]
    own = vergence.embed(Flat(), some, tmp_path / "own.lance")
    with pytest.raises(
        BadInput, match="the encoder of vector was Flat, which is not there. Pass the encoder"
    ):
        encoder_of(own)
    bare = vergence.Store.create(tmp_path / "bare.lance", None, own.vectors(), ids=own.names)
    with pytest.raises(BadInput, match="it does not say which"):
        encoder_of(bare)


def test_another_encoder_is_refused(run, digits, tmp_path):
    some = digits.subset(range(12))
    store = run.embed(some.subset(range(8)), tmp_path / "run.lance")
    other = copy.deepcopy(run.encoder)
    other.preprocess_as({"mean": [0.5, 0.5, 0.5]})
    with pytest.raises(BadInput, match=r"its mean is \[0.5, 0.5, 0.5\] and was \[0.485, 0.456, 0.406\]"):
        store.append(some, embed(other, some))
    path = tmp_path / "picture.png"
    Image.new("RGB", (16, 16)).save(path)
    with pytest.raises(BadInput, match="its mean is"):
        vergence.search(store, path, encoder=other)
    assert vergence.search(store, path, encoder=run.encoder, k=1).rows.shape == (1, 1)
    other = copy.deepcopy(run.encoder)
    torch.nn.init.zeros_(next(other.parameters()))
    with pytest.raises(BadInput, match="its weights are others"):
        check_encoder_of(store, other)


def test_a_size_that_the_weights_do_not_have_is_one_line(run, digits):
    with pytest.raises(BadInput, match=f"run:{run.path} looks at images of 16 pixels; leave --size 32 out"):
        vergence.learn("simclr", digits, init=f"run:{run.path}", size=32)


ASKED = {
    "pretrained_cfg": {"url": "https://example.org/w.pth", "hf_hub_id": "example/net", "file": "/etc/passwd"},
    "pretrained_cfg_overlay": {"file": "/etc/passwd"},
    "checkpoint_path": "/etc/passwd",
    "cache_dir": "/tmp",
    "pretrained_model_args": {},
    "act_layer": {"url": "https://example.org"},
    "pretrained": True,
}


@pytest.mark.parametrize("option", ASKED)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_strangers_run_fetches_and_opens_nothing(option, wrapped, tmp_path, monkeypatch):
    def reached(*given, **more):
        raise AssertionError(f"it asked for {given}")

    for name in ("load_model_config_from_hf", "load_state_dict_from_hf", "load_state_dict"):
        monkeypatch.setattr(f"timm.models._builder.{name}", reached, raising=False)
    monkeypatch.setattr("socket.create_connection", reached)
    spec = {"name": "timm:resnet10t", "size": 32, option: ASKED[option]}
    if wrapped:
        spec = {"name": "vergence.nets.descriptor:Descriptor", "dim": 8, "encoder": spec}
    config = RunConfig(method="simclr", source="digits", modality="image", encoder=spec)
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    with pytest.raises(BadInput) as error:
        vergence.load(tmp_path)
    assert option in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "resnet-tiny", "size": "large"}, {"name": "resnet-tiny", "width": [[1]]},
        {"name": "resnet-tiny", "width": -3}, {"name": "resnet-tiny", "size": None, "registers": "x"},
        {"name": "vit-micro", "size": 33}, {"name": "timm:vit_tiny_patch16_224", "depth": "x"},
        {"name": "timm:resnet10t", "layers": 7}, {"name": "timm:hf-hub:example/net"}, {"name": "../x"},
        {"name": "vergence.nets.descriptor:Descriptor", "dim": "x", "encoder": {"name": "resnet-tiny"}},
        {"name": "vergence.nets.descriptor:Descriptor", "dim": 8, "encoder": [1]},
        {"name": "vergence.cli.main:main"}, {"name": "vergence.none:Net"}, {"name": "vergence.nets.heads:"},
    ],
)  # fmt: skip
def test_an_encoder_that_cannot_be_built_from_a_file_is_one_line(spec, tmp_path):
    config = RunConfig(method="simclr", source="digits", modality="image", encoder=spec)
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    with pytest.raises(BadInput) as error:
        vergence.load(tmp_path)
    assert "\n" not in str(error.value)


def test_options_of_another_kind_are_named_when_a_run_is_gone_on_with(run, digits, tmp_path):
    config = run.config.replace(options={"temperature": "warm"})
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    with pytest.raises(BadInput, match=r"config.yaml has options.temperature: 'warm'"):
        vergence.resume(tmp_path, source=digits, quiet=True)
