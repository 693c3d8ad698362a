"""Optical flow of clips by Lucas and Kanade, from coarse to fine: a whole batch at once, nothing learned."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

_LUMA = (0.299, 0.587, 0.114)
_NOISE = 1e-4  # of a squared derivative: what has no texture does not move


def lucas_kanade(clips: Tensor, *, window: int = 7, levels: int = 3, rounds: int = 3) -> Tensor:
    """Return where each pixel goes in the next frame.

    In a window around each pixel the shift is sought that explains the change of brightness best (Lucas and
    Kanade 1981), first on small copies of the frames, whose shift the larger ones refine.

    Args:
        clips: ``(B, T, 3, H, W)`` in [0, 1].
        window: Side in pixels, odd.
        levels: Copies, each half as large as the one before; those below 8 pixels are left out.
        rounds: Refinements on each.

    Returns:
        ``(B, T - 1, 2, H, W)`` float32, pixels to the right and down.
    """
    luma = clips.new_tensor(_LUMA).view(1, 1, 3, 1, 1)
    grey = (clips * luma).sum(2)
    now, after = grey[:, :-1].flatten(0, 1)[:, None], grey[:, 1:].flatten(0, 1)[:, None]  # (N, 1, H, W)
    pyramid = [(now, after)]
    while len(pyramid) < levels and min(pyramid[-1][0].shape[-2:]) >= 16:
        now, after = (avg_pool2d(frame, 2) for frame in pyramid[-1])
        pyramid.append((now, after))
    flow = torch.zeros_like(pyramid[-1][0]).expand(-1, 2, -1, -1)
    for now, after in reversed(pyramid):
        size = now.shape[-2:]
        if flow.shape[-2:] != size:
            scale = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]]).view(1, 2, 1, 1)
            flow = scale * interpolate(flow, size, mode="bilinear", align_corners=False)
        for _ in range(rounds):
            flow = flow + _step(now, moved(after, flow), window, within(flow)).clamp(-1, 1)
    return flow.unflatten(0, (len(clips), -1))


def moved(frames: Tensor, flow: Tensor) -> Tensor:
    """Return frames ``(N, C, H, W)`` as seen before their flow ``(N, 2, H, W)``; beyond lies the border."""
    height, width = frames.shape[-2:]
    y = torch.arange(height, device=frames.device) + 0.5
    x = torch.arange(width, device=frames.device) + 0.5
    at = torch.stack([2 * (x + flow[:, 0]) / width - 1, 2 * (y[:, None] + flow[:, 1]) / height - 1], -1)
    return grid_sample(frames, at, padding_mode="border", align_corners=False)


def within(flow: Tensor) -> Tensor:
    """Return which pixels ``(N, 1, H, W)`` bool go to a place within the frame by a flow ``(N, 2, H, W)``."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + 0.5 + flow[:, 0]
    y = (torch.arange(height, device=flow.device) + 0.5)[:, None] + flow[:, 1]
    return ((x >= 0) & (x <= width) & (y >= 0) & (y <= height))[:, None]


def _step(now: Tensor, then: Tensor, window: int, seen: Tensor) -> Tensor:
    """Return the shift ``(N, 2, H, W)`` that explains ``then - now`` to first order in every window.

    Pixels that are not ``seen`` again explain nothing.
    """
    around = pad((now + then) / 2, (1, 1, 1, 1), mode="replicate")
    dx = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    dy = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / 2
    products = torch.cat([dx * dx, dx * dy, dy * dy, dx * (then - now), dy * (then - now)], 1)
    products = products * seen
    half = window // 2
    xx, xy, yy, xt, yt = avg_pool2d(pad(products, (half,) * 4, mode="replicate"), window, 1).unbind(1)
    xx, yy = xx + _NOISE, yy + _NOISE
    return torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], 1) / (xx * yy - xy * xy)[:, None]
