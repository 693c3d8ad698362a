"""What precision a machine is good at."""

from __future__ import annotations

import pytest
import torch

from vergence.engine.devices import best_precision, in_best_precision


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
