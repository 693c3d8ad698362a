"""A world small enough to train in: vectors in two clusters, no images."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import Method, Recipe
from vergence.data.source import Skipped, Source


@dataclass(frozen=True)
class VectorBatch:
    x: Tensor
    index: Tensor
    label: Tensor

    def __len__(self):
        return len(self.index)

    def to(self, device, non_blocking=False):
        return replace(self, x=self.x.to(device), index=self.index.to(device), label=self.label.to(device))


class Vectors(Source):
    modality = "vectors"
    classes = None
    view_options = {}

    def __init__(self, n=64, dim=8):
        rng = np.random.default_rng(0)
        self.labels = np.arange(n) % 2
        self.x = (rng.normal(size=(n, dim)) + 3 * self.labels[:, None]).astype(np.float32)
        self.uri, self.names, self.skipped = "vectors", [str(i) for i in range(n)], Skipped()

    def __len__(self):
        return len(self.x)

    def sample(self, i):
        return self.x[i]

    def subset(self, rows):
        part = copy.copy(self)
        part.x, part.labels, part.names = self.x[rows], self.labels[rows], [self.names[i] for i in rows]
        return part

    def loader(self, batch_size, *, spec=None, shuffle=False, seed=0, epoch=0, start=0, drop_last=False,
               workers=None, rank=0, world=1):  # fmt: skip
        order = (
            np.random.default_rng([seed, epoch]).permutation(len(self)) if shuffle else np.arange(len(self))
        )
        whole = batch_size * world
        last = len(order) // whole * whole if drop_last else len(order)
        for at in range(start * whole, last, whole):
            rows = torch.from_numpy(order[at : at + whole][rank * batch_size : (rank + 1) * batch_size])
            yield VectorBatch(torch.from_numpy(self.x)[rows], rows, torch.from_numpy(self.labels)[rows])


class VectorEncoder(nn.Module):
    def __init__(self, dim=8, out_dim=6):
        super().__init__()
        self.out_dim = out_dim
        self.net = nn.Sequential(
            nn.Linear(dim, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, out_dim)
        )

    def forward(self, batch):
        return self.net(batch if isinstance(batch, Tensor) else batch.x)


class Denoise(Method):
    """Bring two noisy copies together, and keep the spread."""

    recipe = Recipe(
        optimizer="adamw", lr=1e-2, batch=16, epochs=3, weight_decay=(0.0, 0.1), warmup=1, clip=1.0
    )

    def __init__(self, encoder, *, noise=0.5):
        super().__init__(encoder)
        self.noise = noise
        self.register_buffer("seen", torch.zeros(()))

    def views(self, batch):
        return [batch.x + self.noise * torch.randn_like(batch.x) for _ in range(2)]

    def loss(self, views):
        a, b = (self.encode(v) for v in views)
        self.watch("distance", (a - b).square().mean())
        return {"agree": (a - b).square().mean(), "spread": (1 - a.std(0)).relu().mean()}

    def step_end(self, clock):
        self.seen += 1
