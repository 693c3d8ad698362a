"""Twenty minutes of CIFAR-10, in seconds: what is trained, what judges, and what the result says."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vergence.benchmarks import cifar10_20min as module
from vergence.benchmarks.cifar10_20min import SIDE, SMALL_SIDE, SmallFirst, as_text, cifar10_20min
from vergence.cli import main
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.evaluate.score import Score
from vergence.evaluate.table import Table
from vergence.methods.image.encoders import build


@pytest.fixture
def photos(tmp_path):
    """A folder like CIFAR-10's: grey photos of two classes, dark and bright."""
    random = np.random.default_rng(0)
    for name, count in (("train", 90), ("test", 40)):
        labels = np.arange(count) % 2
        cells = []
        for label in labels:
            file = io.BytesIO()
            pixels = random.integers(0, 90, (32, 32, 3)) + 150 * label
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            cells.append({"bytes": file.getvalue(), "path": None})
        folder = tmp_path / "cifar10"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"img": cells, "label": labels}), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "build", lambda name, size: build(name, size=size, width=4))
    monkeypatch.setattr(module, "TRIED", 2)


def test_views_are_small_first_and_large_at_the_end():
    method = SmallFirst(build("resnet-tiny", size=SIDE, width=4), small_share=0.6)
    batch = ImageBatch(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.arange(3), torch.zeros(3).long())
    sides = []
    for step in (0, 59, 60, 99):
        method.clock = Clock(step, 100, 1)
        views = method.views(batch)
        sides.append({view.pixels.shape[-1] for view in views})
        assert torch.isfinite(method.loss(views)["contrast"])
    assert sides == [{SMALL_SIDE}, {SMALL_SIDE}, {SIDE}, {SIDE}]
    with pytest.raises(BadInput, match=r"is in \[0, 1\]; got 2"):
        SmallFirst(build("resnet-tiny", size=SIDE, width=4), small_share=2)


def test_the_time_is_kept_and_the_result_says_what_was_seen(photos, small, tmp_path, monkeypatch):
    judged = Table({"learned": {"k-NN": Score(0.5, 0.4, 0.6, 40)}}, {"test": 40})
    monkeypatch.setattr(module, "measure", lambda run, source, **options: judged)
    out = tmp_path / "result.json"
    result = cifar10_20min(
        minutes=0.02, batch=30, small_share=0.5, decoupled=True, ema=0.9, folder=photos, out=out, quiet=True
    )
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert result["images_seen"] == result["epochs"] * min(90, result["images_seen"]) > 0
    assert result["minutes_of_training"] < 0.1
    assert result["settings"]["ema"] == 0.9 and result["settings"]["decoupled"] is True
    text = as_text(result)
    assert "k-NN 50.0" in text
    assert f"{result['images_seen']:,} images seen" in text and result["machine"] in text


def test_held_out_photos_judge_in_place_of_the_test_images(photos, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "data_root", lambda: photos.parent)
    monkeypatch.setattr(module, "results_folder", lambda: tmp_path)
    words = ["bench", "cifar10-20min", "--minutes", "0.01", "--batch", "20", "--held_out", "30", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["table"]["about"]["test"] == 30 and result["table"]["about"]["train"] == 60
    assert not (tmp_path / module.FILE).exists()
    learned, judged = module._data(photos, 30, seed=0)  # noqa: SLF001 - what the command opens
    assert not set(learned.names) & set(judged.names)


def test_mistakes_are_one_line(photos, small, tmp_path):
    with pytest.raises(BadInput, match="minutes are too few for a step of 64 photos"):
        cifar10_20min(minutes=1e-6, batch=64, folder=photos, quiet=True)
    with pytest.raises(BadInput, match="CIFAR-10 is not in"):
        cifar10_20min(folder=tmp_path / "nowhere")
    with pytest.raises(BadInput, match="Of 90 training photos 90 cannot be held out"):
        cifar10_20min(folder=photos, held_out=90)
