"""The peer of the walks runs in a Python of its own and gets the same graph and sizes."""

import json
import sys

import pytest

import vergence
from vergence.benchmarks.speed.walks import PecanpyPeer
from vergence.core.errors import BadInput
from vergence.data.graph.csr import as_csr

PECANPY = """
import json, os
class SparseOTF:
    def __init__(self, **options): self.given = {"options": options}
    def read_edg(self, path, **options): self.given["graph"] = open(path).read()
    def simulate_walks(self, **sizes):
        json.dump({**self.given, "sizes": sizes}, open(os.environ["TOLD"], "w"))
        return [["0", "1"]]
"""
GENSIM = """
import json, os
def Word2Vec(walks, **options): json.dump([walks, options], open(os.environ["TOLD"] + ".gensim", "w"))
"""


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """Packages of these names that write down what they are asked for."""
    for name, module, text in (("pecanpy", "pecanpy", PECANPY), ("gensim", "models", GENSIM)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / f"{module}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.json"))
    monkeypatch.setenv("VERGENCE_PECANPY", sys.executable)
    return tmp_path / "told.json"


@pytest.mark.parametrize("window", [0, 2])
def test_the_peer_gets_the_same_work_and_tells_its_own_time(peers, window):
    graph = as_csr(vergence.open("karate"))
    peer = PecanpyPeer(graph, 3, 10, window)
    round_ = peer.prepare()
    for _ in range(2):
        lap = round_()
        assert set(lap) == {"seconds", "cpu"} and lap["seconds"] > 0 and lap["cpu"] >= 0
    peer.close()
    assert peer.process.returncode == 0 and peer.needs == ()
    given = json.loads(peers.read_text())
    assert given["sizes"] == {"num_walks": 3, "walk_length": 10} and given["options"]["p"] == 0.25
    pairs = {tuple(map(int, line.split("\t"))) for line in given["graph"].splitlines()}
    assert len(pairs) == 78 and pairs | {(b, a) for a, b in pairs} == set(
        zip(*graph.edge_index(), strict=True)
    )
    learned = peers.with_name("told.json.gensim")
    assert learned.exists() == bool(window)
    if window:
        options = json.loads(learned.read_text())[1]
        assert (options["window"], options["vector_size"], options["sg"]) == (2, 128, 1)


def test_a_peer_that_fails_is_said(peers, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(BadInput, match="pecanpy ended with exit code 1"):
        PecanpyPeer(as_csr(vergence.open("karate")), 1, 10, 0).prepare()


def test_without_its_python_the_peer_is_looked_for_here(monkeypatch):
    monkeypatch.delenv("VERGENCE_PECANPY", raising=False)
    graph = as_csr(vergence.open("karate"))
    assert (
        PecanpyPeer(graph, 1, 10, 0).needs == ("pecanpy",) and "gensim" in PecanpyPeer(graph, 1, 10, 2).needs
    )
