"""Two real processes: what they share, how they end, and how a run goes on in another number of them."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from PIL import Image
from torch import nn

import tiny_methods
from vectors import Denoise, VectorEncoder, Vectors
from vergence.core import BadInput, RunConfig
from vergence.data.loading import batches, order
from vergence.engine import launch
from vergence.engine.devices import make_fabric
from vergence.engine.distributed import StopVote, gather_uneven, merged
from vergence.engine.files import load_checkpoint
from vergence.engine.loop import train
from vergence.engine.sync_norm import SyncBatchNorm
from vergence.nets import Teacher

HERE = Path(__file__).parent
TINY = ["contest_without_chance", "reclustered_without_chance"]


class CrashError(Exception):
    pass


def blocks_and_teacher():
    """Return a method with all that may go wrong when it is divided, and nothing drawn at random."""

    class Encoder(VectorEncoder):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.GELU()) for _ in range(2))
            self.last = nn.Linear(16, 6)

        def forward(self, batch):
            x = self.net(batch if isinstance(batch, torch.Tensor) else batch.x)
            for block in self.blocks:
                x = x + block(x)
            return self.last(x)

    class Followed(Denoise):
        recipe = dataclasses.replace(Denoise.recipe, epochs=2, ema=0.9)
        crash_at, divided = None, False

        def __init__(self, encoder):
            super().__init__(encoder)
            self.teacher = Teacher(encoder)

        def views(self, batch):
            return [batch.x, 1.1 * batch.x.flip(1)]

        def loss(self, views):
            a, b = (self.encode(view) for view in views)
            follow, size = (a - self.teacher(views[1])).square(), (b.square() - 1).square()
            return {"follow": follow.mean(), "size": size.mean()}

        def step_end(self, clock):
            super().step_end(clock)
            self.teacher.follow(0.9)
            self.divided = hasattr(self.encoder.last.weight, "full_tensor")
            if clock.step == self.crash_at:
                raise CrashError

    torch.manual_seed(0)
    return Followed(Encoder())


def go(out, devices, strategy="auto", crash_at=None, resume=False):
    method = blocks_and_teacher()
    method.crash_at = crash_at
    fabric = make_fabric("fp32", devices=devices, strategy=strategy)
    config = RunConfig(
        method="followed", source="vectors", recipe=method.recipe, batch_size=16, seed=1, save_every=1
    )
    source = Vectors()
    try:
        run = train(method, source, config, out=out, fabric=fabric, quiet=True, resume=resume)
        return run, method
    except CrashError:
        return None, method


def go_tiny(name, out, devices):
    """Train a method with turns, or with heads that are exchanged, and return what it is in the end."""
    method, fabric = getattr(tiny_methods, name)(), make_fabric("fp32", devices=devices)
    config = RunConfig(method=name, source="vectors", recipe=method.recipe, batch_size=16, seed=1)
    train(method, Vectors(), config, out=out, fabric=fabric, quiet=True)
    return method.state_dict()


def uneven(rank):
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))[[slice(0, 2), slice(2, 6)][rank]]


def one_of_two(rank, port, out):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    torch.set_num_threads(1)
    make_fabric("fp32", devices=2)
    result = {"rows": gather_uneven(uneven(rank)), "merged": merged({f"photo {rank}": "broken"})}
    ballot = StopVote()
    result["votes"] = [ballot(wish) for wish in (False, rank == 1, False, False)]
    weights = torch.arange(72).view(6, 3, 4).cos()[[slice(0, 2), slice(2, 6)][rank]]
    for affine in (True, False):
        norm = SyncBatchNorm(nn.BatchNorm1d(3, affine=affine, momentum=None if affine else 0.3))
        x = uneven(rank).requires_grad_()
        y = norm(x)
        (y * weights).sum().backward()
        own = [p.grad for p in norm.parameters()]
        result[f"norm {affine}"] = y.detach(), x.grad, own, norm.state_dict()
    result["plain"] = [v for _, v in sorted(go(out / "ddp", 2)[0].encoder.state_dict().items())]
    run, method = go(out / "fsdp", 2, "fsdp")
    result["parts"] = [v for _, v in sorted(run.encoder.state_dict().items())]
    assert method.divided
    go(out / "moving", 2, "fsdp", crash_at=7, resume=True)
    result |= {name: go_tiny(name, out / name, 2) for name in TINY}
    torch.save(result, out / f"{rank}.pt")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    assert go(out / "moving", 1, crash_at=4)[0] is None
    mp.spawn(one_of_two, args=(find_free_network_port(), out), nprocs=2)
    return out


@pytest.fixture(scope="module")
def two(out):
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return [v for _, v in sorted(go(tmp_path_factory.mktemp("one"), 1)[0].encoder.state_dict().items())]


def test_rows_votes_and_reports_of_all_reach_all(two):
    whole = torch.cat([uneven(0), uneven(1)])
    assert torch.equal(two[0]["rows"], whole)
    assert torch.equal(two[1]["rows"], torch.cat([uneven(1), uneven(0)]))
    for result in two:
        assert result["merged"] == {"photo 0": "broken", "photo 1": "broken"}
        assert result["votes"] == [False, False, True, False]  # one call late, but at the same one


@pytest.mark.parametrize("affine", [True, False])
def test_norms_of_unequal_shares_are_the_norm_of_the_whole(two, affine):
    norm = nn.BatchNorm1d(3, affine=affine, momentum=None if affine else 0.3)
    x = torch.cat([uneven(0), uneven(1)]).requires_grad_()
    y = norm(x)
    (y * torch.arange(72).view(6, 3, 4).cos()).sum().backward()
    parts = [result[f"norm {affine}"] for result in two]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), y.detach())
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), x.grad)
    for p, *shares in zip(norm.parameters(), *(part[2] for part in parts), strict=True):
        torch.testing.assert_close(sum(shares), p.grad)
    for part in parts:
        torch.testing.assert_close(part[3], norm.state_dict())


@pytest.mark.parametrize("name", TINY)
def test_turns_and_new_heads_in_two_processes_end_where_one_process_ends(two, tmp_path, name):
    expected = go_tiny(name, tmp_path / "run", 1)
    for result in two:
        torch.testing.assert_close(result[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "parts"])
def test_a_run_in_two_processes_ends_where_one_process_ends(one, two, kind):
    for result in two:
        torch.testing.assert_close(result[kind], one, rtol=1e-4, atol=1e-5)


def test_checkpoints_hold_whole_networks_however_these_are_divided(out):
    plain, parts = (load_checkpoint(out / name / "checkpoint" / "last.pt") for name in ("ddp", "fsdp"))
    for name in ("method", "averaged"):
        torch.testing.assert_close(plain[name], parts[name], rtol=1e-4, atol=1e-5)
    states = [saved["optimizer"]["state"] for saved in (plain, parts)]
    torch.testing.assert_close(*states, rtol=1e-3, atol=1e-5)
    assert (out / "fsdp" / "encoder.safetensors").stat().st_size > 1000


def test_one_process_then_two_divided_then_one_end_where_one_ends(out, one):
    assert load_checkpoint(out / "moving" / "checkpoint" / "last.pt")["step"] == 6
    run, _ = go(out / "moving", 1, resume=True)
    result = [v for _, v in sorted(run.encoder.state_dict().items())]
    torch.testing.assert_close(result, one, rtol=1e-4, atol=1e-5)
    assert [row["step"] for row in run.metrics] == list(range(1, 9))


def test_a_step_has_the_same_samples_in_any_number_of_processes():
    places = order(100, shuffle=True, seed=3, epoch=2)
    one = [share.tolist() for share in batches(100, 24, fill=True, drop_last=True, start=1, rank=0, world=1)]
    for world in (2, 3, 4):
        parts = [
            batches(100, 24 // world, fill=True, drop_last=True, start=1, rank=rank, world=world)
            for rank in range(world)
        ]
        together = [np.concatenate(shares).tolist() for shares in zip(*parts, strict=True)]
        assert [places[step].tolist() for step in together] == [places[step].tolist() for step in one]


def test_a_batch_that_does_not_divide_is_one_clear_line(tmp_path):
    method = blocks_and_teacher()
    config = RunConfig(method="followed", source="", recipe=method.recipe, batch_size=16, accumulate=3)
    with pytest.raises(BadInput, match="A batch of 16 does not divide into 3 equal parts"):
        train(method, Vectors(), config, out=tmp_path, fabric=make_fabric("fp32"))


def test_a_program_that_cannot_be_run_again_starts_no_processes():
    with pytest.raises(BadInput, match=r"Several devices need a program .* take devices=1"):
        launch.start_processes(2, "127.0.0.1", 1)


JOB = """
import sys, time, torch
from pathlib import Path
sys.path.insert(0, {here!r})
torch.set_num_threads(1)
from vectors import Denoise, VectorEncoder, Vectors
from vergence.core import RunConfig
from vergence.engine.devices import make_fabric
from vergence.engine.process_monitor import monitored
from vergence.engine.loop import train

class Slow(Denoise):
    def step_end(self, clock):
        super().step_end(clock)
        time.sleep(0.05)
        if {fail} and clock.step == 5 and make_fabric.rank == 1:
            raise ValueError("a thing that went wrong")

@monitored
def job():
    fabric = make_fabric("fp32", devices=2)
    make_fabric.rank = fabric.global_rank
    torch.manual_seed(0)
    config = RunConfig(
        method="slow", source="vectors", recipe=Denoise.recipe, batch_size=16, seed=1, save_every=1
    )
    train(Slow(VectorEncoder()), Vectors(), config, out=Path(sys.argv[1]), quiet=True, fabric=fabric,
          resume=len(sys.argv) > 2)

job()
print("the end")
"""


def rows(out):
    table = out / "metrics.csv"
    return table.read_text().count("\n") if table.exists() else 0


def start(tmp_path, out, *words, fail=False):
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(JOB).format(here=str(HERE.parent), fail=fail))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, script, out, *words], start_new_session=True, **pipes)


def children(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_killed_process_ends_the_other_with_one_message_and_the_run_goes_on(tmp_path):
    out = tmp_path / "run"
    for victim, words in ((1, ()), (0, ("resume",))):
        before = rows(out)
        job = start(tmp_path, out, *words)
        while rows(out) < before + 4:
            assert job.poll() is None, job.communicate()
            time.sleep(0.02)
        (other,) = children(job.pid)
        killed, left = (job.pid, other) if victim == 0 else (other, job.pid)
        os.kill(killed, signal.SIGKILL)
        killed_at = time.monotonic()
        while alive(left):
            assert time.monotonic() - killed_at < 30
            time.sleep(0.05)
        said, error = job.communicate()
        assert said == "" and job.returncode != 0
        last = error.strip().splitlines()[-1]
        assert f"Process {victim} of 2 died (killed, or out of memory)" in last
        assert error.count(f"Process {victim} of 2 died") == 1
        assert f"go on with: vergence learn --resume {out}" in last
        assert load_checkpoint(out / "checkpoint" / "last.pt")["step"] >= before
    job = start(tmp_path, out, "resume")
    said, error = job.communicate()
    assert (job.returncode, said) == (0, "the end\n"), error  # once: what follows is for the first process
    steps = [int(line.split(",")[0]) for line in (out / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == list(range(1, 13))
    assert not list(out.rglob("*.part"))


def test_an_error_in_one_process_is_said_once_and_ends_both(tmp_path):
    job = start(tmp_path, tmp_path / "run", fail=True)
    said, error = job.communicate(timeout=300)
    assert said == "" and job.returncode != 0
    assert "Process 1 stopped: a thing that went wrong. Step" in error.strip().splitlines()[-1]
    assert error.count("Process 1 stopped") == 1


def test_torchrun_runs_the_command_line_and_only_the_first_process_speaks(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(32):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    words = ["learn", "simclr", str(photos), "--out", str(tmp_path / "run"), "--epochs", "1", "--size", "16"]
    words += ["--encoder", "resnet-tiny", "--encoder-options", "{width: 8}", "--batch-size", "16"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "vergence.cli"]
    done = subprocess.run(
        [*torchrun, *words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "run")]
    assert done.stderr.count("step 2/2") == 1
    assert "processes: 2" in (tmp_path / "run" / "config.yaml").read_text()
