"""What precision a machine is good at, and how many of its cores are taken."""

from __future__ import annotations

import pytest
import torch

from vergence.engine import devices
from vergence.engine.devices import best_precision, idle_cores, in_best_precision, leave_busy_cores


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "used", "best"),
    [
        (True, True, "AVX512", torch.bfloat16),
        (False, True, "AVX512", torch.bfloat16),
        (False, False, "AVX512", torch.float32),
        (True, True, "DEFAULT", torch.float32),  # ATEN_CPU_CAPABILITY=default
        (True, True, "AVX2", torch.float32),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_can_and_torch_lets_it(amx, avx512_bf16, used, best, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    cpu = torch.device("cpu")
    assert best_precision(cpu) == best
    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with in_best_precision(cpu):
        assert layer(x).dtype == best
    with in_best_precision(cpu, "fp32"):
        assert layer(x).dtype == torch.float32


@pytest.fixture
def four_threads(monkeypatch):
    taken = [4]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken[-1])
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    return taken


@pytest.mark.parametrize(("idle", "threads"), [(3.9, 4), (2.8, 3), (1.2, 1), (0.0, 1)])
def test_a_thread_an_idle_core_computes_and_it_is_said(four_threads, monkeypatch, idle, threads):
    monkeypatch.setattr(devices, "idle_cores", lambda seconds: idle)
    said = leave_busy_cores()
    assert four_threads[-1] == threads
    assert ("OMP_NUM_THREADS=4 takes all" in said) == (threads < 4)


def test_who_names_the_threads_gets_them(four_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(devices, "idle_cores", lambda seconds: 0.0)
    assert leave_busy_cores() == ""
    assert four_threads == [4]


def test_idle_are_those_of_this_process_alone(monkeypatch):
    monkeypatch.setattr(devices.psutil, "cpu_percent", lambda seconds, percpu: [100.0, 25.0, 0.0, 0.0])
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert idle_cores(0.0) == pytest.approx(0.75)
