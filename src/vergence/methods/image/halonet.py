"""Scaling Local Self-Attention for Parameter Efficient Visual Backbones (HaloNet), arXiv:2103.12731.

Backbones by name: ``build("halonet-tiny", size=32)`` for a CPU, ``build("halonet-h1", size=256)`` for photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vergence.core import BadInput
from vergence.nets.convnets import ConvNet, Patches, conv


class HaloAttention(nn.Module):
    """Attention of each block of pixels to the block and a halo around it.

    The pixels of a block share their keys, so that a map of any size costs (block + 2 halo)² products a
    pixel. A map that blocks do not divide is continued at its lower and right edge, and cut again.

    Where a window reaches over the edge of the map, ``outside`` decides. "masked": there is nothing to attend
    to, as if the map ended; a window over the whole map then is attention as transformers have it. "zeros":
    keys and values there are zero but take part in the softmax, as in timm's ``HaloAttn``, so that pixels at
    the edge attend less to what there is. (Another port masks the keys inside instead of those outside.)

    Args:
        dim: Channels that come in.
        out: Channels of all heads' values; those of queries and keys are ``heads`` times ``head``.
        heads: Divides ``out``.
        head: Width d of a head's queries and keys.
        block: Side b of a block in pixels.
        halo: Pixels h around it.
        stride: Only every so many rows and columns of queries are kept; divides ``block``.
        outside: "masked" or "zeros".
    """

    def __init__(
        self,
        dim: int,
        out: int,
        *,
        heads: int,
        head: int,
        block: int = 8,
        halo: int = 3,
        stride: int = 1,
        outside: Literal["masked", "zeros"] = "masked",
    ) -> None:
        super().__init__()
        if block < 1 or halo < 0 or stride < 1 or block % stride:
            raise BadInput(
                "Halo attention needs a block of 1 or more, a halo of 0 or more, and a stride that divides "
                f"the block; got {block}, {halo} and {stride}."
            )
        if heads < 1 or head < 1 or out < 1 or out % heads:
            raise BadInput(
                f"Halo attention needs heads of width 1 or more that divide its {out} channels; "
                f"got {heads} of width {head}."
            )
        if outside not in ("masked", "zeros"):
            raise BadInput(f"outside is 'masked' or 'zeros'; got {outside!r:.40}.")
        self.heads, self.head, self.block, self.halo, self.stride = heads, head, block, halo, stride
        self.outside = outside
        self.queries = nn.Conv2d(dim, heads * head, 1, stride=stride, bias=False)
        self.keys_values = nn.Conv2d(dim, heads * head + out, 1, bias=False)  # head by head: keys, values
        for layer in (self.queries, self.keys_values):
            nn.init.trunc_normal_(layer.weight, std=dim**-0.5)
        offsets = 2 * (block + halo) - 1  # that occur between a pixel of a block and one of its window
        self.rows = nn.Parameter(torch.randn(offsets, head) * head**-0.5)
        self.columns = nn.Parameter(torch.randn(offsets, head) * head**-0.5)
        seen = torch.arange(block + 2 * halo) - halo
        asks = torch.arange(0, block, stride)
        self.register_buffer("offset", seen - asks[:, None] + block + halo - 1, persistent=False)

    offset: Tensor  # (b / stride, b + 2 h), rows of the tables

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, out, ceil(H / stride), ceil(W / stride))`` of a map ``(B, C, H, W)``."""
        height, width = x.shape[2:]
        down, across = (-(-n // self.block) for n in (height, width))  # blocks
        q = self._blocks(self.queries(x), down, across)  # (B, down, across, heads, q, q, d)
        k, v = self._windows(self.keys_values(x), down, across)  # (B, down, across, heads, window, d)
        side = q.shape[-2]
        logits = (q.flatten(-3, -2) * self.head**-0.5 @ k.mT).unflatten(-2, (side, side))
        logits = logits.unflatten(-1, (len(self.offset[0]),) * 2)
        logits = logits + (q @ self.rows[self.offset].mT.to(q.dtype))[..., :, :, :, None]  # q_xy · r_(i - x)
        by_column = torch.einsum("...xyd,yjd->...xyj", q, self.columns[self.offset].to(q.dtype))
        logits = (logits + by_column[..., None, :]).flatten(-2)
        if self.outside == "masked":
            inside = self._inside(height, down)[:, None, :, None] & self._inside(width, across)[None, :, None]
            logits = logits.masked_fill(~inside.flatten(2)[:, :, None, None, None], -torch.inf)
        seen = logits.softmax(-1).to(v.dtype).flatten(-3, -2) @ v  # (B, down, across, heads, q², v)
        seen = seen.unflatten(-2, (side, side)).permute(0, 3, 6, 1, 4, 2, 5)
        whole = seen.flatten(1, 2).flatten(2, 3).flatten(3, 4)
        return whole[..., : -(-height // self.stride), : -(-width // self.stride)].contiguous(
            memory_format=torch.channels_last
        )

    def _blocks(self, q: Tensor, down: int, across: int) -> Tensor:
        side = self.block // self.stride
        q = pad(q, (0, across * side - q.shape[3], 0, down * side - q.shape[2]))
        q = q.unflatten(3, (across, side)).unflatten(2, (down, side)).unflatten(1, (self.heads, self.head))
        return q.permute(0, 3, 5, 1, 4, 6, 2)

    def _windows(self, kv: Tensor, down: int, across: int) -> tuple[Tensor, Tensor]:
        b, h = self.block, self.halo
        kv = pad(kv, (h, across * b - kv.shape[3] + h, h, down * b - kv.shape[2] + h))
        kv = kv.unfold(2, b + 2 * h, b).unfold(3, b + 2 * h, b).unflatten(1, (self.heads, -1))
        kv = kv.permute(0, 3, 4, 1, 5, 6, 2).flatten(-3, -2)
        return kv[..., : self.head], kv[..., self.head :]

    def _inside(self, length: int, blocks: int) -> Tensor:
        """Return which keys of each block's window are of the map, ``(blocks, b + 2 h)``."""
        device = self.offset.device
        at = torch.arange(self.block + 2 * self.halo, device=device) - self.halo
        at = at + self.block * torch.arange(blocks, device=device)[:, None]
        return (at >= 0) & (at < length)


class HaloBlock(nn.Module):
    """The residual bottleneck: 1 x 1 convolution, halo attention, 1 x 1 convolution.

    Args:
        inside: Channels that come in.
        width: Of the bottleneck, w.
        bottleneck: The paper's r_b: ``bottleneck`` times w channels go out.
        values: The paper's r_v: values have ``values`` times w channels.
        head: Width of a head; divides w, which has w / ``head`` heads.
        block: As of ``HaloAttention``.
        halo: As of ``HaloAttention``.
        stride: As of ``HaloAttention``.
        outside: As of ``HaloAttention``.
        convolve: A 3 x 3 convolution in place of the attention, as in the paper's hybrids.
    """

    def __init__(
        self,
        inside: int,
        width: int,
        *,
        bottleneck: float = 1.0,
        values: float = 1.0,
        head: int = 16,
        block: int = 8,
        halo: int = 3,
        stride: int = 1,
        outside: Literal["masked", "zeros"] = "masked",
        convolve: bool = False,
    ) -> None:
        super().__init__()
        out, middle = round(bottleneck * width), round(values * width)
        if head < 1 or width % head:
            raise BadInput(f"HaloNet needs widths that heads of {head} channels divide; got {width}.")
        if min(out, middle) < 1:
            raise BadInput(f"HaloNet needs bottleneck and values above 0; got {bottleneck} and {values}.")
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inside != out:
            kept = nn.Conv2d(inside, out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(kept, nn.BatchNorm2d(out))
        look: nn.Module
        if convolve:
            look = nn.Conv2d(width, middle, 3, stride=stride, padding=1, bias=False)
        else:
            look = HaloAttention(
                width, middle, heads=width // head, head=head, block=block, halo=halo, stride=stride,
                outside=outside,
            )  # fmt: skip
        normed = (nn.BatchNorm2d(middle), nn.ReLU(inplace=True))
        self.body = nn.Sequential(conv(inside, width, 1), look, *normed, conv(middle, out, 1, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.downsample(x))


class HaloNet(ConvNet):
    """A residual network that attends within blocks and their halos where others convolve.

    Vaswani et al. 2021. Differs from the paper, which published no code: tables hold the 2 (b + h) - 1
    offsets that occur, where ports hold 2 (b + 2 h) - 1; a strided layer's offsets are counted in pixels of
    the map that is attended to (timm counts rows of queries); keys outside the map are masked unless
    ``outside="zeros"``; activations are ReLU, and all heads have 16 channels unless ``head`` says otherwise.

    Args:
        stem: From pixels to the first stage's map.
        inside: Channels of that map.
        size: Side of the images in pixels.
        widths: Of each stage's bottleneck; from the second stage on, the first block has stride 2.
        blocks: Of each stage.
        bottleneck: As of ``HaloBlock``, like ``values``, ``head``, ``block``, ``halo`` and ``outside``.
        convolutions: How many of the first stages convolve.
    """

    def __init__(
        self,
        stem: nn.Module,
        inside: int,
        *,
        size: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        bottleneck: float = 1.0,
        values: float = 1.0,
        head: int = 16,
        block: int = 8,
        halo: int = 3,
        outside: Literal["masked", "zeros"] = "masked",
        convolutions: int = 0,
    ) -> None:
        if not blocks or len(blocks) != len(widths) or min(*blocks, *widths) < 1:
            raise BadInput(
                "HaloNet needs a width and a number of blocks, 1 or more, of each stage; "
                f"got {tuple(widths)} and {tuple(blocks)}."
            )
        stages: list[nn.Module] = []
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            made: list[nn.Module] = [] if i else [stem]
            for j in range(count):
                made.append(
                    HaloBlock(
                        inside, width, bottleneck=bottleneck, values=values, head=head, block=block,
                        halo=halo, stride=2 if i and not j else 1, outside=outside, convolve=i < convolutions,
                    )
                )  # fmt: skip
                inside = round(bottleneck * width)
            stages.append(nn.Sequential(*made))
        super().__init__(stages, size=size, out_dim=inside)


def halonet_tiny(
    *,
    size: int,
    width: int = 64,
    blocks: Sequence[int] = (1, 1, 1),
    bottleneck: float = 1.0,
    values: float = 1.0,
    head: int = 16,
    block: int = 4,
    halo: int = 2,
    outside: Literal["masked", "zeros"] = "masked",
    convolutions: int = 0,
) -> HaloNet:
    """``resnet-tiny``'s stem and grid, for a CPU: 16 x 16 patches of 2 pixels or more, halved between stages.

    Args:
        size: Side in pixels; sixteenths of it become the stem's patches.
        width: Of the first stage; each later one is twice as wide.
        blocks: Of each stage.
        bottleneck: As of ``HaloBlock``, like ``values``, ``head``, ``block``, ``halo`` and ``outside``.
        convolutions: How many of the first stages convolve.
    """
    side = max(2, size // 16)
    return HaloNet(
        nn.Sequential(Patches(side), conv(3 * side * side, width, 3)), width, size=size,
        widths=[width * 2**i for i in range(len(blocks))], blocks=blocks, bottleneck=bottleneck,
        values=values, head=head, block=block, halo=halo, outside=outside, convolutions=convolutions,
    )  # fmt: skip


def halonet_h1(
    *,
    size: int,
    bottleneck: float = 1.0,
    values: float = 1.0,
    head: int = 16,
    block: int = 8,
    halo: int = 3,
    outside: Literal["masked", "zeros"] = "masked",
    convolutions: int = 0,
) -> HaloNet:
    """The paper's H1, for photos of 256 pixels: 3, 3, 10 and 3 blocks, 64 to 512 wide, after a ResNet's stem.

    Args:
        size: Side in pixels.
        bottleneck: As of ``HaloBlock``, like ``values``, ``head``, ``block``, ``halo`` and ``outside``.
        values: See there; so are the following.
        head: Width of a head.
        block: Side of a block.
        halo: Pixels around it.
        outside: "masked" or "zeros".
        convolutions: How many of the first stages convolve; the paper's hybrids: 2.
    """
    stem = nn.Sequential(
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip
    return HaloNet(
        stem, 64, size=size, widths=(64, 128, 256, 512), blocks=(3, 3, 10, 3), bottleneck=bottleneck,
        values=values, head=head, block=block, halo=halo, outside=outside, convolutions=convolutions,
    )  # fmt: skip
