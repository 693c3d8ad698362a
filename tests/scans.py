"""A store of small pictures with the run that filled it, and ids that no page may take for HTML."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from vergence.core import RunConfig
from vergence.data import open as open_source
from vergence.engine.files import write_yaml
from vergence.engine.run import save_encoder
from vergence.methods.image.encoders import build
from vergence.store.table import Store
from vergence.train import open_run

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A run that learned nothing and its store of 150 scans of digits; three of them come twice."""
    folder = tmp_path_factory.mktemp("studio")
    scans = load_digits(n_class=3)
    for i, (pixels, label) in enumerate(zip(scans.images[:150], scans.target, strict=False)):
        place = folder / "photos" / f"<b>{label}<"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).resize((16, 16)).save(place / f"{i:03d}.png")
    torch.manual_seed(0)
    spec = {"name": "resnet-tiny", "size": 16}
    config = RunConfig(method="simclr", source=str(folder / "photos"), modality="image", encoder=spec)
    write_yaml(folder / "run" / "config.yaml", config.to_dict())
    save_encoder(build(**spec), folder / "run" / "encoder.safetensors")
    store = open_run(folder / "run").embed(open_source(str(folder / "photos")), folder / "s.lance")
    twins = store.vectors()[[10, 20, 30]]
    names = [EVIL, "\"&quot;'>", "=1+1"]
    store.append(None, twins, ids=names, labels=np.array([0, 1, 2]))
    random = np.random.default_rng(0)
    store.set_column("camera", [("<i>A</i>", "B", None)[i] for i in random.integers(0, 3, len(store))])
    store.set_column("light", random.standard_normal(len(store)))
    return folder


@pytest.fixture
def store(filled, tmp_path):
    """A copy that a test may change."""
    return Store.open(shutil.copytree(filled / "s.lance", tmp_path / "s.lance"))
