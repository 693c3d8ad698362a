import csv
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vergence.core import BadInput, Interrupted, RunConfig, VergenceError
from vergence.engine.devices import make_fabric, repeatable
from vergence.engine.files import load_checkpoint
from vergence.engine.loop import train
from vergence.engine.run import Run, load_encoder

HERE = Path(__file__).parent


def go(method, source, out, **options):
    run = {name: options.pop(name) for name in ("resume",) if name in options}
    settings = {"recipe": method.recipe, "batch_size": 16, "seed": 1, **options}
    config = RunConfig(method="denoise", source=source.uri, **settings)
    return train(method, source, config, out=out, fabric=make_fabric("fp32", devices=1), quiet=True, **run)


def weights(method):
    return {k: v.clone() for k, v in method.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_rows_that_are_picked_often_do_not_get_their_gradients_as_threads_come():
    z, rows = torch.randn(500, 64, requires_grad=True), torch.randint(500, (60_000,))
    weight, threads = torch.randn(60_000, 64), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with repeatable(torch.device("cpu")):
            result = [torch.autograd.grad((z[rows] * weight).sum(), z)[0] for _ in range(5)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result[0], other) for other in result)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_leaves_everything_needed_to_go_on_and_to_look_back(denoise, vectors, tmp_path):
    run = go(denoise, vectors, tmp_path / "run")
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "config.yaml",
        "metrics.csv",
        "health.csv",
        "skipped.csv",
        "encoder.safetensors",
        "checkpoint",
        "tensorboard",
    }
    rows = run.metrics
    assert [r["step"] for r in rows] == list(range(1, 13))  # 64 samples in batches of 16, 3 epochs
    assert all(r["loss"] == pytest.approx(r["agree"] + r["spread"], rel=1e-4) for r in rows)
    assert all(r["distance"] is not None for r in rows)
    assert denoise.seen == 12
    assert [r["epoch"] for r in run.health] == [
        0,
        3,
    ]  # 64 samples an epoch: looking more often would cost more
    fresh = type(denoise.encoder)()
    load_encoder(fresh, run.path / "encoder.safetensors")
    assert same(weights(fresh), weights(denoise.encoder))
    assert isinstance(Run(run.path, fresh).config.seconds, float)


def test_training_brings_the_copies_together(denoise, vectors, tmp_path):
    rows = go(denoise, vectors, tmp_path / "run", recipe=replace(denoise.recipe, epochs=15)).metrics
    assert sum(r["loss"] for r in rows[-8:]) < 0.8 * sum(r["loss"] for r in rows[:8])


def test_the_same_seed_repeats_a_run_and_another_does_not(vectors, tmp_path, denoise):
    start = weights(denoise)
    result = []
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        denoise.load_state_dict(start)
        go(denoise, vectors, tmp_path / name, seed=seed)
        result.append(weights(denoise))
    assert same(result[0], result[1])
    assert not same(result[0], result[2])


@pytest.mark.parametrize("at", [1, 4, 6, 11])
def test_a_run_that_breaks_off_resumes_to_the_same_weights_and_the_same_rows(denoise, vectors, tmp_path, at):
    start = weights(denoise)
    whole = go(denoise, vectors, tmp_path / "whole", save_every=1)
    expected = weights(denoise)

    class CrashError(Exception):
        pass

    denoise.load_state_dict(start)
    step_end = type(denoise).step_end

    def crash(clock):
        step_end(denoise, clock)
        if clock.step == at + 1:
            raise CrashError

    denoise.step_end = crash
    with pytest.raises(CrashError):
        go(denoise, vectors, tmp_path / "broken", save_every=1)
    del denoise.step_end
    assert load_checkpoint(tmp_path / "broken" / "checkpoint" / "last.pt")["step"] == at
    torch.manual_seed(99)  # whatever the new process drew before
    run = go(denoise, vectors, tmp_path / "broken", save_every=1, resume=True)
    assert same(weights(denoise), expected)
    drop = {"samples_per_second"}
    rows = [[{k: v for k, v in row.items() if k not in drop} for row in r.metrics] for r in (whole, run)]
    assert rows[0] == rows[1]


def test_accumulated_parts_see_the_whole_batch(denoise, vectors, tmp_path):
    run = go(denoise, vectors, tmp_path / "run", accumulate=2)
    assert run.metrics[-1]["step"] == 12
    assert denoise.seen == 12


def test_a_loss_that_is_no_number_stops_with_the_reason_and_keeps_the_last_checkpoint(
    denoise, vectors, tmp_path
):
    loss = denoise.loss

    def broken(views):
        terms = loss(views)
        return {**terms, "agree": terms["agree"] * (float("nan") if denoise.clock.step == 6 else 1.0)}

    denoise.loss = broken
    with pytest.raises(VergenceError, match=r"no longer a number at step 7 .*Lower --lr"):
        go(denoise, vectors, tmp_path / "run", save_every=2)
    assert load_checkpoint(tmp_path / "run" / "checkpoint" / "last.pt")["step"] == 6


def test_a_signal_saves_and_says_how_to_go_on(denoise, vectors, tmp_path):
    usual = signal.getsignal(signal.SIGINT)
    step_end = type(denoise).step_end

    def interrupt(clock):
        step_end(denoise, clock)
        if clock.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    denoise.step_end = interrupt
    with pytest.raises(
        Interrupted, match=r"SIGINT at step 5 of 12; saved\. Go on with: vergence learn --resume"
    ):
        go(denoise, vectors, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "checkpoint" / "last.pt")["step"] == 5
    assert signal.getsignal(signal.SIGINT) is usual


def test_killed_for_real_and_resumed_ends_in_the_same_weights(vectors, denoise, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time, torch
        from pathlib import Path
        sys.path.insert(0, {str(HERE.parent)!r})
        torch.set_num_threads(1)
        from vectors import Denoise, VectorEncoder, Vectors
        from vergence.core import RunConfig
        from vergence.engine.devices import make_fabric, repeatable
        from vergence.engine.loop import train
        class Slow(Denoise):
            def step_end(self, clock):
                super().step_end(clock)
                print("step", clock.step, flush=True)
                time.sleep(0.03)
        torch.manual_seed(0)
        config = RunConfig(
            method="denoise", source="vectors", recipe=Denoise.recipe, batch_size=16, seed=1, save_every=1
        )
        train(Slow(VectorEncoder()), Vectors(), config, out=Path(sys.argv[1]), quiet=True,
              fabric=make_fabric("fp32", devices=1), resume=len(sys.argv) > 2)
        """)
    )
    out = tmp_path / "run"
    job = subprocess.Popen([sys.executable, script, out], stdout=subprocess.PIPE, text=True)
    for line in job.stdout:
        if line.strip() == "step 7":
            job.send_signal(signal.SIGKILL)
            break
    job.wait()
    assert job.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, script, out, "resume"], check=True, stdout=subprocess.DEVNULL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    go(denoise, vectors, tmp_path / "whole")
    torch.set_num_threads(threads)
    ours = load_checkpoint(out / "checkpoint" / "last.pt")["method"]
    assert same(ours, weights(denoise))
    steps = [int(r["step"]) for r in csv.DictReader((out / "metrics.csv").open())]
    assert steps == list(range(1, 13))


def test_resume_without_a_checkpoint_is_one_clear_line(denoise, vectors, tmp_path):
    with pytest.raises(BadInput, match="no checkpoint at"):
        go(denoise, vectors, tmp_path / "run", resume=True)


def test_the_averaged_encoder_is_what_is_kept(denoise, vectors, tmp_path):
    run = go(denoise, vectors, tmp_path / "run", recipe=replace(denoise.recipe, ema=0.9))
    kept, last = weights(run.encoder), weights(denoise.encoder)
    assert not same(kept, last)
    fresh = type(denoise.encoder)()
    assert same(weights(load_encoder(fresh, run.path / "encoder.safetensors")), kept)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos"), "no space left, or not"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(
    denoise, vectors, tmp_path, monkeypatch, trouble, said
):
    from vergence.engine import files

    save, calls = torch.save, []

    def full(state, path):
        calls.append(path)
        if len(calls) == 4:  # the first is of step 0
            Path(path).write_bytes(b"half")
            raise trouble
        save(state, path)

    monkeypatch.setattr(files.torch, "save", full)
    with pytest.raises(VergenceError, match=rf"{said}.*Step 2 is saved; go on with: vergence learn --resume"):
        go(denoise, vectors, tmp_path / "run", save_every=1)
    assert load_checkpoint(tmp_path / "run" / "checkpoint" / "last.pt")["step"] == 2
    assert [p.name for p in (tmp_path / "run" / "checkpoint").iterdir()] == ["last.pt"]
