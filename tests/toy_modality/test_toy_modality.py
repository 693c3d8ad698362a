"""A modality from outside opens, learns, is stored, measured and shown, and passes the contract."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import contract
import toy_modality
import vergence
from vergence.core import BadInput, modality
from vergence.evaluate.baselines import untrained


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(modality, "registered", {})
    vergence.register(toy_modality.MODALITY)


@pytest.fixture
def poems(tmp_path):
    source = toy_modality.MODALITY.load("example_source")()
    path = tmp_path / "poems.words"
    path.write_text(
        "\n".join(f"{source.classes[y]}: {line}" for y, line in zip(source.labels, source.lines, strict=True))
    )
    return path


def test_it_opens_learns_is_stored_measured_and_shown(poems, tmp_path):
    source = vergence.open(poems)
    assert (source.modality, len(source), source.classes) == ("words", 192, ["a", "b"])
    assert vergence.open(f"words:{poems}").sample(3) == source.sample(3)
    run = vergence.learn("simclr", poems, epochs=40, batch_size=48, lr=0.01, out=tmp_path / "run", quiet=True)
    table = vergence.measure(run, poems, protocols=["knn"], quiet=True)
    assert list(table.rows) == ["untrained encoder", "learned"]
    assert table["learned"]["k-NN"].value > table["untrained encoder"]["k-NN"].value
    store = run.embed(poems, tmp_path / "poems.lance")
    assert store.names[5] == "line 5" and len(vergence.search(store, 0, k=3).rows[0]) == 3
    page = vergence.report(run, poems, store=store, table=table).read_text()
    assert "line 5" in page and "the raw input" in page
    again = vergence.load(tmp_path / "run")
    assert np.allclose(run.embed(source, tmp_path / "b.lance").vectors(), store.vectors(), atol=1e-6)
    assert again.spec == {"name": "bag", "width": 32}


@pytest.mark.parametrize("check", [contract.gradients, contract.alone, contract.resume, contract.learns])
@pytest.mark.parametrize("key", ["simclr", "vicreg"])
def test_it_passes_the_contract(key, check, tmp_path):
    check(contract.Case(key, "words"), tmp_path)


class Sum(nn.Module):
    """A network of the user's own for a modality that does not say what such a one gets: the batches."""

    def __init__(self, width=5, together=False):
        super().__init__()
        self.words, self.together = nn.Embedding(513, width), together

    def forward(self, batch):
        vectors = self.words(batch.codes).sum(1)
        return (vectors, batch) if self.together else vectors


def test_a_network_of_ones_own_gets_the_batches(poems, tmp_path):
    run = vergence.learn("simclr", poems, encoder=Sum, epochs=1, out=tmp_path / "run", quiet=True)
    assert run.encoder.out_dim == 5 and isinstance(run.encoder, Sum)
    opened = vergence.load(tmp_path / "run")
    assert torch.equal(opened.words.weight, run.encoder.words.weight)
    assert not torch.equal(untrained(opened, "words").words.weight, opened.words.weight)
    with pytest.raises(BadInput, match="Sum returned a tuple of Tensor, WordBatch; an encoder returns one"):
        vergence.learn("simclr", poems, encoder=Sum(together=True), out=tmp_path / "none", quiet=True)


def test_errors_and_help_name_it(tmp_path):
    with pytest.raises(BadInput, match=r"Nothing found at .*; needs the path of .*sequences of words"):
        vergence.open(tmp_path / "none.xyz")
    with pytest.raises(BadInput, match="'grace' learns from graphs, but .* holds sequences of words"):
        vergence.learn("grace", toy_modality.MODALITY.load("example_source")(), out=tmp_path / "run")


def test_two_modalities_cannot_have_one_name_or_scheme():
    vergence.register(toy_modality.MODALITY)  # once more changes nothing
    with pytest.raises(BadInput, match="The modality 'image' cannot be added: 'image' has its name already"):
        vergence.register(dataclasses.replace(toy_modality.MODALITY, name="image"))
    with pytest.raises(BadInput, match="'verse' cannot be added: 'words' has the scheme 'words' already"):
        vergence.register(dataclasses.replace(toy_modality.MODALITY, name="verse"))
    with pytest.raises(BadInput, match="Unknown modality 'wards'; did you mean 'words'"):
        modality.find_modality("wards")


def test_a_package_that_is_installed_brings_its_modality(tmp_path):
    (tmp_path / "words-1.dist-info").mkdir()
    (tmp_path / "words-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: words\nVersion: 1\n"
    )
    entry = "[vergence.modalities]\nwords = toy_modality:MODALITY\n"
    (tmp_path / "words-1.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "poems.words").write_text("a: one two three\nb: four five\n")
    code = "import vergence as vg; print(vg.open('poems.words').modality)"
    paths = [str(tmp_path), str(Path(toy_modality.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "words\n", done.stderr
