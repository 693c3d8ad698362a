"""Memories of past embeddings: a bank by index, and queues that drop their oldest rows; no gradient.

With several processes, gather by rank what is written first, so that all memories stay alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class MemoryBank(nn.Module):
    """One unit row a sample of the source.

    Args:
        dim: Width D of a row.
        momentum: Share of a row that is kept when its sample is seen again, in [0, 1).
    """

    rows: Tensor | None

    def __init__(self, dim: int, momentum: float = 0.5) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"MemoryBank needs momentum in [0, 1); got {momentum}.")
        self.dim, self.momentum = dim, momentum
        self.register_buffer("rows", None)

    def start(self, count: int, device: torch.device | str) -> None:
        """Give each of ``count`` samples a random unit row."""
        self.rows = normalize(torch.randn(count, self.dim), dim=1).to(device)

    @torch.no_grad()
    def write(self, index: Tensor, vectors: Tensor) -> None:
        """Move the rows ``index (B,)`` towards unit ``vectors (B, D)`` and scale them to length 1.

        A sample that comes twice counts once, by its mean, whichever came first.
        """
        assert self.rows is not None
        index, where = index.unique(return_inverse=True)
        mean = torch.zeros_like(vectors[: len(index)]).index_add_(0, where, vectors)
        kept = self.momentum * self.rows[index]
        self.rows[index] = normalize(kept + (1 - self.momentum) * normalize(mean, dim=1), dim=1)


class MemoryQueue(nn.Module):
    """The last K rows of one or several kinds, in step; first in, first out.

    Args:
        size: K, 1 or more.
        widths: Numbers a row of each kind has. Rows start as random unit vectors.
    """

    at: Tensor
    filled: Tensor

    def __init__(self, size: int, *widths: int) -> None:
        super().__init__()
        if size < 1 or not widths or min(widths) < 1:
            raise ValueError(f"MemoryQueue needs a size and widths of 1 or more; got {size} and {widths}.")
        self.size = size
        for kind, width in enumerate(widths):
            self.register_buffer(f"rows{kind}", normalize(torch.randn(size, width), dim=1))
        self.register_buffer("at", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """``(K, D)`` of each kind. Row i of all kinds came together; the order is not the age."""
        return tuple(value for name, value in self.named_buffers() if name.startswith("rows"))

    def at_most(self, count: int) -> MemoryQueue:
        """Return this queue, or an empty one of ``count`` rows where it has more."""
        if count >= self.size:
            return self
        return MemoryQueue(count, *(rows.shape[1] for rows in self.rows)).to(self.at.device)

    @torch.no_grad()
    def nearest(self, vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the rows of the first kind nearest to unit ``vectors (B, D)``, and how near they are.

        Rows are compared by their products, which are cosines where rows have length 1. Takes B x K numbers.

        Args:
            vectors: What asks.
            count: Rows for each, k, from 1 to K.

        Returns:
            ``(B, k, D)`` and ``(B, k)``, nearest first.
        """
        rows = self.rows[0]
        scores, index = (vectors.to(rows.dtype) @ rows.T).topk(count, dim=1)
        return rows[index], scores

    @torch.no_grad()
    def push(self, *rows: Tensor) -> None:
        """Replace the oldest rows by ``(B, D)`` of each kind; of more than K, the last K stay.

        Raises:
            ValueError: If the kinds are not as many, or not as long, as they were to be.
        """
        held = self.rows
        if len(rows) != len(held) or len({len(part) for part in rows}) != 1:
            raise ValueError(
                f"MemoryQueue takes {len(held)} kinds of rows, equally many of each; "
                f"got {[len(part) for part in rows]}."
            )
        new = len(rows[0])
        kept = min(new, self.size)
        place = (self.at + torch.arange(new - kept, new, device=self.at.device)) % self.size
        for own, part in zip(held, rows, strict=True):
            own[place] = part[new - kept :].to(own.dtype)
        self.at.copy_((self.at + new) % self.size)
        self.filled.copy_((self.filled + new).clamp_max(self.size))
