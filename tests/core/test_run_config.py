"""Settings are written and read whole; what is not as it was written is one line."""

import dataclasses
import json

import pytest
import yaml

from vergence.core import BadInput, Recipe, RunConfig
from vergence.core.run_config import VERSION, digest


def written(**fields):
    config = RunConfig(
        method="simclr",
        source="digits",
        modality="image",
        encoder={"name": "resnet-tiny", "size": 32},
        epochs=3,
        recipe=Recipe(betas=(0.9, 0.95), weight_decay=(0.04, 0.4), milestones=(0.5,)),
        views={"flip": 0.0},
        options={"temperature": 0.2},
        samples=3,
        names=digest(["a", "b", "c"]),
    )
    return config, {**json.loads(json.dumps(config.to_dict())), **fields}  # tuples are lists in a file


def test_what_is_written_is_read_again():
    config, content = written()
    assert RunConfig.from_dict(content) == config
    made = config.replace(options=None, recipe=None, encoder=None)
    assert RunConfig.from_dict(made.to_dict()) == made


def test_every_field_is_written():
    config, _ = written()
    assert list(config.to_dict()) == [field.name for field in dataclasses.fields(RunConfig)]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"epochs": "many"}, r"run/config.yaml has epochs: 'many'; it is not as vergence wrote it"),
        ({"options": [1]}, r"has options: \[1\]"),
        ({"speed": 1}, "has an unknown 'speed'"),
        ({"recipe": {"lr": 0.1, "pace": 2}}, "has no recipe of this vergence: .*pace"),
        ({"recipe": 3}, "has no recipe of this vergence"),
        ({"version": VERSION + 1}, f"is of version {VERSION + 1}; this vergence reads up to {VERSION}"),
        ({"version": "new"}, "is of version new"),
        ({"version": True}, "is of version True"),
        ({"version": [2]}, r"is of version \[2\]"),
        ({"epochs": True}, "has epochs: True"),
        ({"versions": {"torch": [1]}}, "has versions: {'torch'"),
        ({"stages": [1]}, r"has stages: \[1\]"),
        ({"views": {1: 2}}, "has views: {1: 2}"),
        ({"recipe": {"lr": "fast"}}, "has recipe.lr: 'fast'"),
        ({"recipe": {"lr": None}}, "has recipe.lr: None"),
        ({"recipe": {"batch": 2.5}}, "has recipe.batch: 2.5"),
        ({"recipe": {"betas": [0.9]}}, r"has recipe.betas: \(0.9,\)"),
        ({"recipe": {"optimizer": "sgdd"}}, "has recipe.optimizer: 'sgdd'"),
        ({"encoder": {"size": 8}}, "has encoder.name: None"),
        (
            {"encoder": {"name": "a", "encoder": {"name": "b", "pretrained": True}}},
            "has encoder.encoder.pretra",
        ),
        ({"encoder": {"name": [1]}}, r"has encoder.name: \[1\]"),
        ({"encoder": {"name": "a", "encoder": {"name": 3}}}, "has encoder.encoder.name: 3"),
    ],
)
def test_what_is_not_as_it_was_written_is_one_line(fields, line):
    with pytest.raises(BadInput, match=line) as error:
        RunConfig.from_dict(written(**fields)[1], "run/config.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["method", "source", "encoder", "modality"])
def test_a_field_that_is_missing_is_named(name):
    content = written()[1]
    del content[name]
    with pytest.raises(BadInput, match=f"lacks '{name}'"):
        RunConfig.from_dict(content)


def test_a_source_is_known_by_the_number_and_the_names_of_its_samples():
    config, _ = written()
    assert config.differs(3, ["a", "b", "c"]) == ""
    assert config.differs(4, ["a", "b", "c", "d"]) == "it held 3 samples and holds 4"
    assert config.differs(3, ["a", "c", "b"]) == "its samples have other names"
    assert config.replace(names=None).differs(3, ["x", "y", "z"]) == ""
    many = [str(i) for i in range(100_000)]
    assert digest(many) != digest(many[::-1]) and len(digest(many)) == 16


OLD = """
command: python API
method: sscd
source: digits
modality: image
samples: 1797
encoder: {name: resnet-tiny, size: 16, registers: 0, width: 24, descriptor: 512}
options: {temperature: 0.05}
views: {}
epochs: 1
batch_size: 256
lr: null
optimizer: null
weight_decay: null
warmup: null
recipe: {optimizer: sgd, lr: 0.3, lr_scaling: linear, batch: 4096, epochs: 1, momentum: 0.9, nesterov: false,
  betas: [0.9, 0.999], weight_decay: 1.0e-06, schedule: cosine, warmup: 0.1, milestones: [], gamma: 0.1,
  layer_decay: 1.0, clip: null, ema: null, encoder: null, size: null}
accumulate: 1
save_every: null
seed: 0
precision: bf16-mixed
processes: 1
strategy: auto
device: CPU, 1 thread
parameters: 700000
versions: {vergence: 0.1.0, torch: 2.9.0, python: 3.12.0}
seconds: 3.1
"""


def test_settings_of_the_first_version_are_read():
    config = RunConfig.from_dict(yaml.safe_load(OLD))
    assert (config.method, config.samples, config.precision, config.size) == ("sscd", 1797, "bf16", 16)
    assert config.recipe.lr == 0.3 and config.recipe.betas == (0.9, 0.999)
    assert config.names is None and config.version == VERSION
    inner = {"name": "resnet-tiny", "size": 16, "registers": 0, "width": 24}
    assert config.encoder == {"name": "vergence.nets.descriptor:Descriptor", "dim": 512, "encoder": inner}


@pytest.mark.parametrize("content", [yaml.safe_load(OLD), written(version=2)[1]])
def test_the_result_of_a_fit_had_another_name_before_version_3(content):
    assert "result" in written()[1]
    content = {name: value for name, value in content.items() if name != "result"}
    assert RunConfig.from_dict({**content, "found": {"k": 3}}).result == {"k": 3}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"name": "resnet-tiny", "size": 16, "stationary": 9},
            {
                "name": "vergence.methods.image.cores:Stationary",
                "classes": 9,
                "encoder": {"name": "resnet-tiny", "size": 16},
            },
        ),
        (
            {"name": "vergence.learn.graph.supergat:AttentionNet", "in_dim": 3},
            {"name": "vergence.methods.graph.supergat:AttentionNet", "in_dim": 3},
        ),
        ({"name": "MyNet"}, {"name": "MyNet"}),
    ],
)
def test_encoders_of_the_first_version_are_named_as_today(old, new):
    assert RunConfig.from_dict({**yaml.safe_load(OLD), "encoder": old}).encoder == new
