"""A layer of halo attention beside full attention and a convolution, forward and backward, at three sizes.

``saved_mb`` is what autograd keeps of one forward pass for the backward one, each storage counted once; the
weights are in it. "full" is the same layer with one block over the whole map; "full, fused" is torch's own
attention, which keeps no scores, and has no places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.methods.image.halonet import HaloAttention

WIDTH, HEADS, BLOCK, HALO = 64, 4, 8, 3


class Fused(nn.Module):
    """Attention of all pixels to all pixels by torch's fused kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(WIDTH, 3 * WIDTH, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, HEADS, -1)).mT.unbind(1)
        return scaled_dot_product_attention(q, k, v).mT.reshape(x.shape)


def contests(quick: bool) -> Iterator[Contest]:
    for side in (8, 16) if quick else (16, 32, 48):
        yield Contest(
            name=f"halo-{side}",
            what=f"one layer on a map of {side} x {side} pixels of {WIDTH} channels, {HEADS} heads, block "
            f"{BLOCK}, halo {HALO}",
            amount=side * side,
            unit="pixels",
            contestants=(
                Contestant("vergence", partial(_passes, _halo(BLOCK, HALO), side)),
                Contestant("full", partial(_passes, _halo(side, 0), side)),
                Contestant("full, fused", partial(_passes, Fused(), side)),
                Contestant(
                    "convolution 3 x 3",
                    partial(_passes, nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), side),
                ),
            ),
        )


def _halo(block: int, halo: int) -> HaloAttention:
    return HaloAttention(WIDTH, WIDTH, heads=HEADS, head=WIDTH // HEADS, block=block, halo=halo)


def _passes(layer: nn.Module, side: int) -> Round:
    x = torch.randn(1, WIDTH, side, side).contiguous(memory_format=torch.channels_last)
    kept = {"saved_mb": saved(layer, x) / 2**20}

    def round_() -> Mapping[str, float]:
        layer(x).square().mean().backward()
        layer.zero_grad(set_to_none=True)
        return kept

    return round_


def saved(layer: nn.Module, x: Tensor) -> int:
    """Return the bytes that autograd keeps of one forward pass of ``layer``."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x.requires_grad_())
    del out
    return sum(storages.values())
