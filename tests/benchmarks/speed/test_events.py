import sys

import numpy as np
import pytest

from vergence.benchmarks.speed import events


def test_every_contest_runs_when_quick(monkeypatch):
    monkeypatch.delenv("PTLS_PYTHON", raising=False)
    (contest,) = events.contests(quick=True)
    for contestant in contest.contestants:
        if not contestant.missing:
            contestant.prepare()()
            if contestant.close is not None:
                contestant.close()
    assert contest.contestants[0].name == "vergence" and contest.contestants[1].bar == 2


def test_slices_hold_as_many_events_as_are_counted():
    user = np.repeat([0, 1], [100, 500])
    assert events.sliced(user) == 5 * ((25 + 100) / 2 + (25 + 200) / 2)


def test_a_peer_in_a_process_of_its_own_tells_its_times(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys\nprint('ready', flush=True)\nfor _ in sys.stdin: print(2.0, 1.5, flush=True)\n"
    )
    monkeypatch.setattr(events, "WORKER", worker)
    peer = events.LifestreamPeer(sys.executable, {"user": np.arange(3)}, 8)
    assert peer.start()() == {"seconds": 2.0, "cpu": 1.5}
    peer.close()
    assert peer.process.returncode == 0
    worker.write_text("raise SystemExit(1)")
    with pytest.raises(RuntimeError, match="cannot run pytorch-lifestream"):
        events.LifestreamPeer(sys.executable, {}, 8).start()
