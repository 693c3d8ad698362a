"""The lock of a run's folder."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from vergence.core import BadInput
from vergence.engine.run_lock import run_lock

HOLD = """
import sys, time
from pathlib import Path
from vergence.engine.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder ``run``."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_run_that_another_process_trains_is_refused_until_that_one_is_dead(holder, tmp_path):
    trained = (
        f"run is being trained by process {holder.pid} on {socket.gethostname()}: wait for it, or stop it"
    )
    for _ in range(2):
        with pytest.raises(BadInput, match=trained), run_lock(tmp_path / "run"):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run/.lock").exists()  # of a dead process: taken over
    with run_lock(tmp_path / "run"):
        with pytest.raises(BadInput, match=f"process {os.getpid()} on"), run_lock(tmp_path / "run"):
            pass
        (tmp_path / "run/config.yaml").touch()
    assert os.listdir(tmp_path / "run") == ["config.yaml"]


def test_a_folder_in_which_nothing_was_begun_goes_and_one_that_went_does_no_harm(tmp_path):
    with run_lock(tmp_path / "a/run"):
        assert (tmp_path / "a/run/.lock").exists()
    assert not (tmp_path / "a/run").exists()
    with run_lock(tmp_path / "b"):
        (tmp_path / "b/.lock").unlink()
        (tmp_path / "b").rmdir()
