"""SIGKILL inside a turn and around a re-clustering: a resumed run ends as one that nobody killed."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
MOMENTS = {
    "contest": [("mix", 4), ("critic", 5), ("learner", 5), ("learner", 8)],
    "ThreeStages": [
        ("contrast", 2),
        ("written", "last.pt", 4),
        ("writing", "contrast.pt", 4),
        ("written", "contrast.pt", 4),
        ("making",),
        ("nearest", 3),
        ("writing", "nearest.pt", 6),
    ],
    "reclustered": [("before clustering", 1), ("after clustering", 2), ("loss", 8), ("loss", 10)],
}
STEPS = {"contest": 9, "ThreeStages": 10, "reclustered": 16}
LATE = (
    "lightning_fabric",
    "networkx",
    "tensorboard.summary.writer.record_writer",
    "torch._dynamo",
    "torch_geometric.data",
    "vergence.methods.graph.encoders",
    "vergence.methods.graph.views",
    "vergence.train",
)
JOB = """
import importlib, json, os, signal, sys
from pathlib import Path

sys.path.insert(0, {tests!r})
import torch

torch.set_num_threads(1)
import tiny_methods
from vectors import Vectors
from vergence.core import RunConfig
import vergence as vg
from vergence.engine.checkpoint import Checkpoint
from vergence.engine.devices import make_fabric
from vergence.engine.files import load_checkpoint
from vergence.engine.loop import train

for late in {late}:
    importlib.import_module(late)  # once, before the forks


def train_tiny(name, out, resume):
    if name == "ThreeStages":
        options = {{"encoder_options": {{"width": (8, 4)}}, "seed": 1, "save_every": 1, "quiet": True}}
        vg.learn(tiny_methods.ThreeStages, "karate", out=out, resume=resume, **options)
        return
    method = getattr(tiny_methods, name)()
    config = RunConfig(
        method=name, source="vectors", recipe=method.recipe, batch_size=16, seed=1, save_every=3
    )
    fabric = make_fabric("fp32", devices=1)
    train(method, Vectors(), config, out=out, fabric=fabric, resume=resume, quiet=True)


def write(self, step, state):
    tiny_methods.moment("writing", self.path.name, step)
    written(self, step, state)
    tiny_methods.moment("written", self.path.name, step)


written, Checkpoint.write = Checkpoint.write, write


def learn(name, out, killed_at):
    child = os.fork()
    if not child:
        code = 1
        try:
            tiny_methods.killed_at = killed_at
            train_tiny(name, out, (out / "config.yaml").exists())
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


folder, report = Path(sys.argv[1]), []
for name, moments in json.loads(sys.argv[2]).items():
    assert learn(name, folder / name, None) == 0
    whole = load_checkpoint(folder / name / "checkpoint" / "last.pt")["method"]
    kept = (folder / name / "encoder.safetensors").read_bytes()
    for number, moment in enumerate(moments):
        out = folder / f"{{name}} {{number}}"
        killed = learn(name, out, tuple(moment))
        saved = load_checkpoint(out / "checkpoint" / "last.pt")["step"]
        ended = learn(name, out, None)
        mine = load_checkpoint(out / "checkpoint" / "last.pt")["method"]
        differ = [n for n in whole if not torch.equal(whole[n], mine[n])]
        differ += ["encoder"] * (kept != (out / "encoder.safetensors").read_bytes())
        rows = [line.split(",")[0] for line in (out / "metrics.csv").read_text().splitlines()[1:]]
        report.append([name, moment, killed == -signal.SIGKILL, saved, ended, differ, rows])
print(json.dumps(report))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_these_moments_a_run_goes_on_to_the_same_weights(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(JOB).format(tests=str(TESTS), late=LATE))
    words = [sys.executable, script, tmp_path, json.dumps(MOMENTS)]
    job = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert job.returncode == 0, job.stderr[-2000:]
    report = json.loads(job.stdout)
    assert [(name, tuple(moment)) for name, moment, *_ in report] == [
        (name, moment) for name, moments in MOMENTS.items() for moment in moments
    ]
    for name, moment, killed, saved, ended, differ, rows in report:
        case = (name, moment, saved, differ)
        assert killed and saved > 0 and ended == 0 and differ == [], case
        assert rows == [
            str(step) for step in range(1, {"contest": 10, "reclustered": 17, "ThreeStages": 11}[name])
        ]
