"""Runs that are killed, and disks that refuse."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from vergence.core import BadInput, RunConfig, VergenceError
from vergence.engine import files, run
from vergence.engine.devices import make_fabric
from vergence.engine.files import DiskTrouble, load_checkpoint, read_yaml, save_checkpoint, write_text
from vergence.engine.logger import Events, Table, read_csv
from vergence.engine.loop import train


def go(method, source, out, **options):
    run = {name: options.pop(name) for name in ("resume",) if name in options}
    settings = {"recipe": method.recipe, "batch_size": 16, "seed": 1, "save_every": 1, **options}
    config = RunConfig(method="denoise", source=source.uri, **settings)
    return train(method, source, config, out=out, fabric=make_fabric("fp32", devices=1), quiet=True, **run)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_kills_lose_and_double_nothing(tmp_path):
    words = (
        f"-m vergence.benchmarks.stress.faults --kills 2 --epochs 1 --seed 2 --out {tmp_path / 'found.json'}"
    )
    job = [sys.executable, *words.split()]
    done = subprocess.run(job, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_yaml(tmp_path / "found.json")["kills"] == 2


def test_what_a_killed_process_left_half_written_goes_with_the_next_writing(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, other = tmp_path / f".a.txt.{gone.pid}.part", tmp_path / f".a.txt.{os.getppid()}.part"
    left.write_text("half"), other.write_text("of a process that lives")
    write_text(tmp_path / "a.txt", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", other.name}


def test_rewinding_keeps_the_text_of_rows_and_drops_what_is_later_or_broken(tmp_path):
    table = tmp_path / "metrics.csv"
    table.write_text("step,loss\r\n1,1e-05\r\n2,0.50\r\n3,0.4\r\n4")
    rows = Table(table)
    rows.rewind(2)
    rows.add({"step": 3, "loss": 0.25})
    assert table.read_bytes() == b"step,loss\r\n1,1e-05\r\n2,0.50\r\n3,0.25\r\n"


def test_a_full_disk_while_rewinding_loses_no_row(tmp_path, monkeypatch):
    table = tmp_path / "metrics.csv"
    table.write_text(before := "step,loss\n1,0.5\n2,0.4\n")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskTrouble, match=r"No space left on device\. Make room"):
        Table(table).rewind(1)
    assert table.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_events_of_a_resumed_run_replace_those_after_the_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, steps, value in [(0, (1, 2, 3), 1.0), (3, (3, 4), 2.0)]:  # never closed, as if killed
        events = Events(tmp_path, start)
        for step in steps:
            events.add("train", step, {"loss": value})
    shown = EventAccumulator(str(tmp_path))
    shown.Reload()
    points = [(e.step, e.value) for e in shown.Scalars("train/loss")]
    assert points == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_a_folder_removed_while_running_is_one_line_and_is_not_begun_anew(denoise, vectors, tmp_path):
    out, step_end = tmp_path / "run", type(denoise).step_end

    def remove(clock):
        step_end(denoise, clock)
        if clock.step == 4:
            shutil.rmtree(out)

    denoise.step_end = remove
    with pytest.raises(DiskTrouble, match=r"Cannot write .*Something removed.*Nothing of the run is left\.$"):
        go(denoise, vectors, out)
    assert not out.exists()


def test_weights_that_find_no_room_say_that_every_step_is_saved(denoise, vectors, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(run, "save_model", full)
    with pytest.raises(DiskTrouble, match=r"encoder\.safetensors.*Make room there\. Step 12 is saved; go on"):
        go(denoise, vectors, tmp_path / "run")
    assert not (tmp_path / "run" / "encoder.safetensors").exists()
    monkeypatch.undo()
    go(denoise, vectors, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "encoder.safetensors").exists()


def test_memory_that_does_not_suffice_is_one_line_with_what_is_saved(denoise, vectors, tmp_path):
    def greedy(views):
        if denoise.clock.step == 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return type(denoise).loss(denoise, views)

    denoise.loss = greedy
    with pytest.raises(
        VergenceError, match=r"Out of memory after step 5: lower --batch-size.*Step 5 is saved"
    ):
        go(denoise, vectors, tmp_path / "run")


def test_a_run_killed_in_its_first_step_can_be_resumed(denoise, vectors, tmp_path):
    def crash(clock):
        raise KeyboardInterrupt

    denoise.step_end = crash
    with pytest.raises(KeyboardInterrupt):
        go(denoise, vectors, tmp_path / "run", save_every=None)
    del denoise.step_end
    resumed = go(denoise, vectors, tmp_path / "run", resume=True)
    assert [row["step"] for row in resumed.metrics] == list(range(1, 13))
    assert [row["step"] for row in resumed.health] == [0, 12]


def test_a_checkpoint_of_another_run_is_refused(denoise, vectors, tmp_path):
    go(denoise, vectors, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "last.pt"
    state = load_checkpoint(path)
    for wrong in ({**state, "method": {}}, {**state, "step": 99}, {}):
        save_checkpoint(path, wrong)
        with pytest.raises(BadInput, match=r"last\.pt is (not of this run|of step 99)"):
            go(denoise, vectors, tmp_path / "run", resume=True)


def test_a_compressed_checkpoint_is_refused_before_it_unfolds(tmp_path):
    torch.save({"w": torch.zeros(1000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "last.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    with pytest.raises(BadInput, match="its parts are compressed"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "text", ["[" * 5000, "- a", "a: 2001-99-99", "a: \0", "!!python/object/apply:os.getcwd []"]
)
def test_a_yaml_file_that_is_no_configuration_is_one_line(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"config\.yaml") as caught:
        read_yaml(tmp_path / "config.yaml")
    assert "\n" not in str(caught.value)


def test_a_name_that_a_configuration_lacks_is_said(tmp_path):
    (tmp_path / "config.yaml").write_text("method: simclr")
    with pytest.raises(BadInput, match="lacks 'encoder'"):
        run.read_config(tmp_path)


def test_bytes_that_are_no_table_are_one_line(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(b"step\n\xff\xfe")
    with pytest.raises(BadInput, match="cannot be read as a table"):
        read_csv(tmp_path / "metrics.csv")
