"""Losses over all pairs of rows, forward and backward, beside the formulas that hold every pair at once.

``peak_mb`` is the memory that one round takes beyond its inputs, measured in a process of its own (on a
GPU, by torch). "dense as PyGCL" is its ``DualBranchContrast`` of InfoNCE in mode L2L with
``intraview_negs``, masks included; "dense" holds each score once and lets autograd do the rest.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.losses import barlow_twins, node_info_nce, nt_xent

Loss = Callable[[Tensor, Tensor], Tensor]
TEMPERATURE = 0.4
WIDTH = 128
DENSE_NEEDS = 14e9  # bytes, for PyGCL's formula at 10,000 nodes


def contests(quick: bool) -> Iterator[Contest]:
    nodes = 50 if quick else 10_000 if _free() > DENSE_NEEDS else 5_000
    for count, peers in (
        (nodes, (("dense", nodes_dense, None), ("dense as PyGCL", nodes_pygcl, 3.0))),
        (2 * nodes, ()),
    ):
        yield Contest(
            name=f"node-info-nce-{count}",
            what=f"GRACE's loss of {count:,} nodes of {WIDTH}, twice: {2 * count:,} x {2 * count:,} scores",
            amount=count,
            unit="nodes",
            contestants=_contestants(nodes_ours, peers, count, WIDTH, "cpu", quick),
        )
    rows = 50 if quick else 4096
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        yield Contest(
            name=f"nt-xent-{2 * rows}-{device}",
            what=f"NT-Xent of 2 x {rows:,} rows of {WIDTH} on {device}",
            amount=2 * rows,
            unit="rows",
            contestants=_contestants(
                pairs_ours,
                (("dense", pairs_dense, 1.0), ("lightly", pairs_lightly, None)),
                rows,
                WIDTH,
                device,
                quick,
            ),
        )
    batch, features = (8, 32) if quick else (256, 8192)
    yield Contest(
        name=f"barlow-twins-{features}",
        what=f"Barlow Twins of 2 x {batch} rows of {features:,} on cpu",
        amount=batch,
        unit="samples",
        contestants=_contestants(
            barlow_ours,
            (("dense", barlow_dense, 1.0), ("lightly", barlow_lightly, None)),
            batch,
            features,
            "cpu",
            quick,
        ),
    )


def _contestants(
    ours: Loss,
    peers: tuple[tuple[str, Loss, float | None], ...],
    rows: int,
    width: int,
    device: str,
    quick: bool,
) -> tuple[Contestant, ...]:
    return tuple(
        Contestant(
            name,
            partial(_prepare, loss, rows, width, device, quick),
            needs=("lightly",) if name == "lightly" else (),
            bar=bar,
        )
        for name, loss, bar in (("vergence", ours, None), *peers)
    )


def _prepare(loss: Loss, rows: int, width: int, device: str, quick: bool) -> Round:
    x, y = _inputs(rows, width, device)
    known: Mapping[str, float] = {} if quick or device != "cpu" else peak(loss, rows, width)

    def round_() -> Mapping[str, float]:
        if device == "cpu":
            _once(loss, x, y)
            return known
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _once(loss, x, y)
        torch.cuda.synchronize()
        return {"peak_mb": (torch.cuda.max_memory_allocated() - before) / 1e6}

    return round_


def _inputs(rows: int, width: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(rows, width, generator=generator).to(device).requires_grad_() for _ in range(2))
    return x, y


def _once(loss: Loss, x: Tensor, y: Tensor) -> None:
    torch.autograd.grad(loss(x, y), (x, y))


def peak(loss: Loss, rows: int, width: int) -> dict[str, float]:
    """Return ``peak_mb`` of one round in a new process; nothing where the system does not tell it."""
    if not Path("/proc/self/status").exists():
        return {}
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_alone, args=(sender, loss, rows, width, torch.get_num_threads()))
    child.start()
    sender.close()
    try:
        return {"peak_mb": receiver.recv()}
    except EOFError:
        raise MemoryError(f"{loss.__name__} of {rows:,} rows was ended, likely for want of memory.") from None
    finally:
        child.join()


def _alone(sender: Connection, loss: Loss, rows: int, width: int, threads: int) -> None:
    torch.set_num_threads(threads)
    _once(loss, *_inputs(8, width, "cpu"))  # what is loaded on first use is not the loss's
    x, y = _inputs(rows, width, "cpu")
    before = _status("VmRSS")
    _once(loss, x, y)
    sender.send((_status("VmHWM") - before) / 1e3)


def _status(key: str) -> float:
    """Return an entry of this process's /proc status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key + ":")))


def _free() -> float:
    """Return the bytes of memory that are free to use; infinity where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return 1e3 * next(float(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def nodes_ours(x: Tensor, y: Tensor) -> Tensor:
    return node_info_nce(x, y, temperature=TEMPERATURE)


def nodes_dense(x: Tensor, y: Tensor) -> Tensor:
    """GRACE's Eq. 1 as written, each of the three kinds of scores once."""
    u, v = normalize(x, dim=1), normalize(y, dim=1)
    across, first, second = ((a @ b.T / TEMPERATURE).exp() for a, b in ((u, v), (u, u), (v, v)))
    forward = across.sum(dim=1) + first.sum(dim=1) - first.diagonal()
    answered = across.sum(dim=0) + second.sum(dim=1) - second.diagonal()
    return (forward.log() + answered.log() - 2 * across.diagonal().log()).mean() / 2


def nodes_pygcl(x: Tensor, y: Tensor) -> Tensor:
    """What PyGCL computes: scores of each view against both, times masks as large."""
    return (_pygcl_side(x, y) + _pygcl_side(y, x)) / 2


def _pygcl_side(asking: Tensor, answering: Tensor) -> Tensor:
    eye = torch.eye(len(asking))
    positive = torch.cat([eye, torch.zeros_like(eye)], dim=1)
    negative = torch.cat([1 - eye, 1 - eye], dim=1)
    everyone = torch.cat([answering, asking])
    scores = normalize(asking, dim=1) @ normalize(everyone, dim=1).T / TEMPERATURE
    mass = (scores.exp() * (positive + negative)).sum(dim=1, keepdim=True)
    log_share = (scores - mass.log()) * positive
    return -(log_share.sum(dim=1) / positive.sum(dim=1)).mean()


def pairs_ours(x: Tensor, y: Tensor) -> Tensor:
    return nt_xent(x, y, temperature=TEMPERATURE)


def pairs_dense(x: Tensor, y: Tensor) -> Tensor:
    """NT-Xent by cross-entropy over the full matrix."""
    rows = normalize(torch.cat([x, y]), dim=1)
    scores = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return cross_entropy(scores, torch.arange(len(rows), device=rows.device).roll(len(x)))


def pairs_lightly(x: Tensor, y: Tensor) -> Tensor:
    from lightly.loss import NTXentLoss

    loss: Tensor = NTXentLoss(temperature=TEMPERATURE)(x, y)
    return loss


def barlow_ours(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack(list(barlow_twins(x, y).values())).sum()


def barlow_dense(x: Tensor, y: Tensor) -> Tensor:
    """Barlow Twins by the features' full matrix."""
    a, b = ((z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1e-5).sqrt() for z in (x, y))
    c = a.T @ b / len(x)
    on = c.diagonal()
    return (1 - on).square().sum() + 5e-3 * (c.square().sum() - on.square().sum())


def barlow_lightly(x: Tensor, y: Tensor) -> Tensor:
    from lightly.loss import BarlowTwinsLoss

    loss: Tensor = BarlowTwinsLoss()(x, y)
    return loss
