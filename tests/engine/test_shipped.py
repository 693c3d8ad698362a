"""Encoders that ship: they open offline, are what their cards say, and see more than pixels do."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vergence
from vergence.benchmarks.environment import data_root
from vergence.core import BadInput
from vergence.engine.shipped import card, load_shipped, pack, shipped
from vergence.evaluate.protocols.knn import knn
from vergence.methods.image.encoders import build
from vergence.methods.image.raw import RawPixels
from vergence.train import embed

NAMES = ("conv-tiny", "vit-tiny")


def test_they_fit_in_twelve_megabytes():
    assert tuple(shipped()) == NAMES
    folder = Path(vergence.__path__[0]) / "nets" / "weights"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12_000_000


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_what_its_card_says(name):
    known = card(name)
    net = vergence.encoder(f"vergence:{name}")
    assert not net.training
    assert sum(p.numel() for p in net.parameters()) == known["parameters"]
    assert net.spec["name"] == known["spec"]["name"]
    assert {"method", "teacher", "data", "images", "minutes"} <= set(known)
    assert all(weight.dtype == torch.float32 for weight in net.parameters())
    scores = known["scores"]
    for where, measures in scores[name].items():
        for what, score in measures.items():
            for rival in ("untrained", "raw pixels"):
                assert score["low"] > scores[rival][where][what]["high"], (where, what, rival)


@pytest.mark.parametrize("name", NAMES)
def test_photos_are_told_apart_better_than_by_pixels(name):
    file = data_root() / "cifar10" / "test.parquet"
    if not file.exists():
        pytest.skip(f"CIFAR-10 is not at {file}")
    source = vergence.open(file).subset(range(1_000))
    scores = []
    for encoder in (load_shipped(name), RawPixels(32)):
        vectors = np.concatenate([_vectors(encoder, batch) for batch in source.loader(200)])
        scores.append(knn(vectors[:700], source.labels[:700], vectors[700:], source.labels[700:]))
    assert scores[0].above(scores[1]), scores


def _vectors(encoder, batch):
    with torch.inference_mode():
        out = encoder(batch)
    return getattr(out, "pooled", out).numpy()


def test_weights_are_stored_at_half_their_size_and_come_back(tmp_path):
    net = build("resnet-tiny", size=16, width=8)
    from safetensors.torch import load

    back = load(pack(net))
    assert back.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert back[name].dtype == (torch.bfloat16 if value.is_floating_point() else value.dtype)
        assert torch.equal(back[name], value.bfloat16() if value.is_floating_point() else value)


def test_a_store_and_a_start_by_name(tmp_path):
    store = embed("vergence:conv-tiny", "digits", tmp_path / "digits.lance")
    assert len(store) == 1797
    run = vergence.learn(
        "rotnet",
        "digits",
        init="vergence:conv-tiny",
        epochs=1,
        batch_size=600,
        out=tmp_path / "run",
        quiet=True,
    )
    assert run.config.init == "vergence:conv-tiny"
    assert vergence.load(run.path).out_dim == load_shipped("conv-tiny").out_dim


def test_an_unknown_one_is_one_line():
    with pytest.raises(
        BadInput, match="Unknown encoder that vergence ships 'conv-tony'; did you mean 'conv-tiny'"
    ):
        vergence.encoder("vergence:conv-tony")
