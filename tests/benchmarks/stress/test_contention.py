import json

from vergence.benchmarks.stress import contention


def test_neighbours_are_there_as_long_as_they_are_wanted(monkeypatch):
    started = []
    popen = contention.subprocess.Popen
    monkeypatch.setattr(
        contention.subprocess, "Popen", lambda words: started.append(popen(words)) or started[-1]
    )
    with contention.neighbours(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() is not None for process in started)


def test_training_is_timed_after_its_first_steps(monkeypatch):
    monkeypatch.setattr(contention, "BATCH", 8)
    monkeypatch.setattr(contention, "SIDE", 16)
    assert contention.trained(0.05) > 0


def test_shares_are_of_the_first_ways_quiet_rate(monkeypatch, tmp_path):
    monkeypatch.setattr(contention, "RESULTS", tmp_path)
    rates = {"as OpenMP comes": 100.0, "one thread": 60.0}
    monkeypatch.setattr(contention, "neighbours", lambda count: contention.contextlib.nullcontext())
    monkeypatch.setattr(contention, "_rate", lambda way, seconds: rates[way])
    words = ["contention", "--neighbours", "0", "4", "--ways", *rates]
    monkeypatch.setattr("sys.argv", words)
    contention.main()
    result = json.loads((tmp_path / "contention.json").read_text())
    assert result["share"] == {
        "as OpenMP comes": {"0": 1.0, "4": 1.0},
        "one thread": {"0": 0.6, "4": 0.6},
    }
