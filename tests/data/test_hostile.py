"""A few seeded cases of the long fuzz of the stress folder: each is read or refused, and ends no process."""

import json
import os
import subprocess
import sys

import pytest

KINDS = (
    "jpeg png gif tiff webp parquet tar checkpoint safetensors config metrics planetoid lance hetero "
    "planetoid-drawn matlab edgelist npy arrow-table npz-store settings"
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_damaged_files_of_every_kind_are_read_or_refused(tmp_path):
    out = tmp_path / "found.json"
    words = f"-m vergence.benchmarks.stress.fuzz --cases 25 --seed 11 --out {out} --kinds {KINDS}"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words.split()], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    result = json.loads(out.read_text())["kinds"]
    assert set(result) == set(KINDS.split())
    assert all(kind["refused"] > 0 and kind["cases"] == 25 for kind in result.values())
