"""Embedding with Ray: the same rows as without, whoever dies on the way."""

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import vergence
from vergence.core import BadInput, VergenceError
from vergence.core.errors import MissingExtra
from vergence.engine import ray_embedding
from vergence.engine.ray_embedding import Opening, embed_with_ray
from vergence.methods.events import encoders as event_encoders
from vergence.methods.image import encoders
from vergence.store.parts import Parts


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'vergence[scale]'")
    pytest.importorskip("ray.data")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 else: on a busy machine nothing would happen
    ray.init(
        "local", num_cpus=2, object_store_memory=200 * 2**20, include_dashboard=False,
        log_to_driver=False, logging_level=logging.ERROR,
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return encoders.build("resnet-tiny", size=16)


@pytest.fixture
def photos(tmp_path):
    """Scans in folders by class, two of them torn."""
    scans = load_digits(n_class=3)
    for i, (pixels, label) in enumerate(zip(scans.images[:70], scans.target, strict=False)):
        (tmp_path / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "photos" / str(label) / f"{i}.png"
        Image.fromarray((pixels * 15).astype(np.uint8)).save(file)
        if i in (30, 31):
            file.write_bytes(file.read_bytes()[:20])
    return tmp_path / "photos"


def assert_alike(ours, plain, *, but=("models", "job")):
    rest = [name for name in plain.table.schema.names if name != "vector"]
    assert ours.read(rest).equals(plain.read(rest))
    np.testing.assert_allclose(ours.vectors(), plain.vectors(), atol=1e-5)
    assert ours.skipped == plain.skipped
    left_out = dict.fromkeys(but)
    assert {**ours.about, **left_out} == {**plain.about, **left_out}
    assert not (ours.path / "_parts").exists()


def test_photos_with_torn_ones_become_the_table_of_a_plain_embed(ray, encoder, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a relative path is meant from here, by the workers too
    plain = vergence.embed(encoder, "photos", tmp_path / "plain.lance")
    assert len(plain.skipped) == 2
    assert_alike(embed_with_ray(encoder, vergence.open("photos"), "ray.lance", rows=16), plain)
    with pytest.raises(BadInput, match="exists already"):
        vergence.embed(encoder, "photos", "ray.lance", workers="ray")


def test_chosen_rows_of_a_table_of_events_too(ray, tmp_path):
    lines = ["user,time,kind,amount"]
    lines += [f"{user},{t},{'abc'[(user + t) % 3]},{user * t}" for user in range(40) for t in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    source = vergence.open(f"events:{tmp_path / 'log.csv'}?id=user&time=time").subset(np.arange(3, 33))
    torch.manual_seed(0)
    net = event_encoders.for_source(source, "gru")
    plain = vergence.embed(net, source, tmp_path / "plain.lance")
    assert_alike(embed_with_ray(net, source, tmp_path / "ray.lance", rows=7), plain)


def test_a_worker_that_is_killed_loses_and_doubles_nothing(ray, photos, tmp_path, encoder):
    class Slow(nn.Module):
        """Takes its time, and says which process it is."""

        def __init__(self, net, folder):
            super().__init__()
            self.net, self.folder, self.out_dim = net, folder, net.out_dim
            self.input_spec = net.input_spec

        def forward(self, batch):
            (Path(self.folder) / f"{os.getpid()}.pid").touch()
            time.sleep(0.3)
            return self.net(batch)

    def kill():
        while not (result := list(tmp_path.glob("*.pid"))):
            time.sleep(0.05)
        os.kill(int(result[0].stem), signal.SIGKILL)
        killed.append(result[0].stem)

    killed = []
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    ours = embed_with_ray(Slow(encoder, str(tmp_path)), vergence.open(photos), tmp_path / "ray.lance", rows=8)
    assert killed and len(list(tmp_path.glob("*.pid"))) > 1
    plain = vergence.embed(encoder, photos, tmp_path / "plain.lance")
    assert_alike(ours, plain, but=("models", "job", "encoders"))  # the slow one is another encoder by name


@pytest.fixture
def worker(photos, tmp_path):
    """A worker outside its process, before it has opened anything."""
    worker = object.__new__(ray_embedding.PartWorker)
    worker.parts, worker.rows = Parts.begin(tmp_path / "a.lance", {}, 5), 16
    worker.opening, worker.source = Opening.of(vergence.open(photos)), None
    worker.encoder, worker.device = encoders.build("resnet-tiny", size=16), None
    return worker


def ask(worker, number):
    (said,) = worker({"part": np.array([number])})["error"]
    return said


def test_a_part_is_written_once_though_it_is_asked_for_again(worker):
    assert ask(worker, 1) == ask(worker, 1) == ""
    assert worker.parts.find(1).rows == 15 and list(worker.parts.find(1).skipped) == ["1/30.png"]
    assert len(list((worker.parts.path / "data").iterdir())) == 1


def test_a_part_that_ended_several_workers_is_named_and_not_tried_again(worker):
    for _ in range(5):
        worker.parts.attempt(4)
    assert ask(worker, 4).startswith("5 workers of Ray died one after the other over samples 64 to 69 of ")
    assert worker.parts.find(4) is None


def test_a_part_of_which_nothing_can_be_read_is_done_too(worker, photos):
    for name in worker.opening.open().names[16:32]:
        (photos / name).write_bytes(b"no picture")
    assert ask(worker, 1) == ""
    assert worker.parts.find(1).rows == 0 and len(worker.parts.find(1).skipped) == 16


def test_a_source_that_a_worker_cannot_open_is_one_line(worker, photos):
    photos.rename(photos.with_name("elsewhere"))
    said = ask(worker, 0)
    assert "cannot open" in said and "put it on a disk that all machines see" in said
    assert "\n" not in said


def test_a_worker_that_sees_other_data_says_so(photos):
    opening = Opening.of(vergence.open(photos))
    assert len(opening.open()) == 70
    (photos / "0" / "0.png").rename(photos / "0" / "00.png")
    with pytest.raises(
        BadInput, match=r"sees another .*photos than this process \(70 and 70 samples, or other"
    ):
        opening.open()


def test_rows_of_a_subset_travel_with_its_uri(photos):
    part = vergence.open(photos).subset([5, 3])
    assert list(Opening.of(part).open().names) == list(part.names)
    assert Opening.of(vergence.open(photos)).rows is None


def test_too_many_unreadable_samples_stop_it_before_any_work(photos, tmp_path, encoder, monkeypatch):
    pytest.importorskip("ray")
    source = vergence.open(photos, limit=0.01)
    monkeypatch.setattr(ray_embedding.RayCluster, "__enter__", lambda self: self)
    monkeypatch.setattr(ray_embedding.RayCluster, "run", lambda self, opening, parts, rows, missing: iter([
        parts.write(0, None, dict.fromkeys(source.names[:2], "torn"))
    ]))  # fmt: skip
    with pytest.raises(BadInput, match="2 of 70 samples of .* cannot be read"):
        embed_with_ray(encoder, source, tmp_path / "ray.lance", rows=16)


def test_without_ray_one_line_says_what_to_install(photos, tmp_path, encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(MissingExtra, match=r"needs ray, which is not installed: .*\[scale\]'"):
        vergence.embed(encoder, photos, tmp_path / "ray.lance", workers="ray")
    with pytest.raises(BadInput, match="Unknown kind of workers 'rya'; did you mean 'ray'"):
        vergence.embed(encoder, photos, tmp_path / "ray.lance", workers="rya")


def test_a_cluster_that_is_not_there_is_one_line(photos, tmp_path, encoder, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'vergence[scale]'")

    def unreachable(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setenv("RAY_ADDRESS", "moon:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", unreachable)
    with pytest.raises(VergenceError, match="cannot be reached at moon:6379, which RAY_ADDRESS names: Could"):
        vergence.embed(encoder, photos, tmp_path / "ray.lance", workers="ray")
