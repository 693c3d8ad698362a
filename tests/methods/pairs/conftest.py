from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vergence.core import Features


class Encoder(nn.Module):
    """Two layers on plain vectors; answers as image encoders do."""

    def __init__(self, into=12, out_dim=16):
        super().__init__()
        self.out_dim = out_dim
        self.layers = nn.Sequential(
            nn.Linear(into, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, out_dim)
        )

    def forward(self, x):
        return Features(pooled=self.layers(x))


def draw_pair(batch=128):
    """Two views of points that share 4 coordinates and differ in 8."""
    same = torch.randn(batch, 4)
    return [torch.cat([same, torch.randn(batch, 8)], dim=1) for _ in range(2)]


def train(method, steps=60, lr=3e-3):
    """Return the summed loss over the first and the last ten steps."""
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=lr)
    costs = []
    for _ in range(steps):
        cost = sum(method.loss(draw_pair()).values())
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        method.step_end(method.clock)
        costs.append(cost.item())
    return sum(costs[:10]) / 10, sum(costs[-10:]) / 10


@torch.no_grad()
def found(method, rows=256):
    """Return the share of embeddings whose nearest one in the other view is their own; chance 1/rows."""
    method.eval()
    first, second = (nn.functional.normalize(method.embed(view), dim=1) for view in draw_pair(rows))
    return ((first @ second.T).argmax(dim=1) == torch.arange(rows)).float().mean().item()


@torch.no_grad()
def spread(method):
    """Return the effective rank of the centred embeddings, between 1 and D; 0 where all are one."""
    x = method.eval().embed(draw_pair(512)[0])
    values = torch.linalg.svdvals(x - x.mean(dim=0))
    if values[0] < 1e-4:
        return 0.0
    share = values / values.sum()
    return torch.exp(-(share * (share + 1e-12).log()).sum()).item()


def wrong_gradients(method):
    """Return the names of trainable parameters without a gradient and of frozen ones with one."""
    sum(method.loss(draw_pair()).values()).backward()
    return [name for name, p in method.named_parameters() if p.requires_grad != (p.grad is not None)]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder()


@pytest.fixture
def toy():
    return SimpleNamespace(
        draw_pair=draw_pair, train=train, found=found, spread=spread, wrong_gradients=wrong_gradients
    )
