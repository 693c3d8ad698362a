"""Fused views on a CPU: one image at a time stays in the cache from its bytes to its finished view.

The same numbers as ``geometry.resample`` and ``colour`` give, which work batch by batch and step by
step: here a crop is resampled line by line with the few taps that are not zero, and every change of
colour is a short loop over the view's three colour planes. Images are shared out to as many threads
as torch uses. Each holds one view and one colour plane as float32, 16 S² bytes, and a few lines,
whatever the batch: 0.8 MB at S = 224.

Compiling takes a few seconds; numba keeps the result beside this file or, where nothing can be
written there, in the user's cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)
_THREE_HALVES, _BYTE = np.float32(1.5), np.float32(1 / 255)
_RED, _GREEN, _BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)  # as in colour.py
_TASKS = 4  # a thread, so that none waits long for another


def views(
    pixels: Tensor,
    boxes: Tensor,
    size: int,
    *,
    flip: Tensor | None = None,
    factors: Tensor | None = None,
    order: list[int] | None = None,
    grey: Tensor | None = None,
    sigma: Tensor | None = None,
    solarize: Tensor | None = None,
) -> Tensor:
    """Crop, mirror and recolour every image of a batch.

    Args:
        pixels: ``(B, 3, H, W)`` uint8 on the CPU; fastest when channels are last in memory.
        boxes: ``(B, 4)`` top, left, height, width.
        size: Side S of the views in pixels.
        flip: ``(B,)`` bool, mirror left and right.
        factors: ``(4, B)`` factors of brightness, contrast and saturation, turns of hue; None changes
            nothing.
        order: In which these four are done.
        grey: ``(B,)`` bool.
        sigma: ``(B,)`` pixels, of the blur; 0 blurs nothing.
        solarize: ``(B,)`` bool.

    Returns:
        ``(B, 3, S, S)`` float32 in [0, 1], channels last in memory.
    """
    b = len(pixels)
    none = torch.zeros(b, dtype=torch.bool)
    if factors is None:
        factors = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None].expand(-1, b)
    numbers = torch.zeros((b, 9))
    numbers[:, :4] = boxes
    numbers[:, 4:8] = factors.T
    if sigma is not None:
        numbers[:, 8] = sigma
    given = [none if which is None else which for which in (flip, grey, solarize)]
    photos = pixels.permute(0, 2, 3, 1).contiguous()
    out = torch.empty((b, size, size, 3))
    work = partial(
        _kernel(),
        photos.view(b, pixels.shape[2], 3 * pixels.shape[3]).numpy(),
        numbers.numpy(),
        torch.stack(given, 1).numpy(),
        np.array(order or (0, 1, 2, 3)),
        out.view(b, 3 * size * size).numpy(),
        size,
    )
    share_out(work, b)
    return out.permute(0, 3, 1, 2)


def share_out(work: Callable[[int, int], None], n: int) -> None:
    """Call ``work(start, stop)`` for short runs of ``range(n)`` from as many threads as torch uses."""
    threads = torch.get_num_threads()
    step = max(1, n // (threads * _TASKS))
    starts = iter(range(0, n, step))

    def drain() -> None:
        for start in starts:
            work(start, min(start + step, n))

    helpers = [_pool(threads, os.getpid()).submit(drain) for _ in range(threads - 1)]
    drain()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="vergence-views")


@cache
def _kernel() -> Any:
    """Return ``_views`` compiled, by numba's cache if it was before."""
    try:
        kernel = numba.njit(_views, nogil=True, fastmath=True, cache=True)
    except RuntimeError:  # no folder to keep it in
        kernel = _jit(_views)
    with contextlib.suppress(OSError):  # a full disk keeps nothing, but compiled it is
        kernel.compile(_SIGNATURE)
    return kernel


_jit = numba.njit(nogil=True, fastmath=True)


@_jit
def _taps(
    start: np.float32,
    length: np.float32,
    n_out: int,
    mirror: bool,
    whole: np.float32,
    first: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Write which line of the source each output line begins at, and its weights from there.

    The triangle of ``geometry.Lines.taps``: ``weights (n_out, k)`` add up to ``whole``.
    """
    step = length / np.float32(n_out)
    reach = max(step, _ONE)
    low, high = int(np.floor(start)), int(np.ceil(start + length))
    for i in range(n_out):
        at = np.float32(n_out - 1 - i if mirror else i) + _HALF
        centre = start + at * step - _HALF
        begin = min(max(low, int(np.floor(centre - reach)) + 1), high - 1)
        total = _ZERO
        for j in range(weights.shape[1]):
            weight = _ZERO
            if begin + j < high:
                weight = max(_ZERO, _ONE - abs(centre - np.float32(begin + j)) / reach)
            weights[i, j] = weight
            total += weight
        for j in range(weights.shape[1]):
            weights[i, j] *= whole / total
        first[i] = begin - low


@_jit
def _crop(
    photo: np.ndarray,
    box: np.ndarray,
    mirror: bool,
    size: int,
    planes: np.ndarray,
    first: np.ndarray,
    line: np.ndarray,
) -> None:
    """Resample a box of ``photo (H, 3 W)`` to ``planes (3, S²)`` in [0, 1]."""
    top, left, tall, wide = box[0], box[1], box[2], box[3]
    low, high = int(np.floor(left)), int(np.ceil(left + wide))
    k_down = int(np.ceil(np.float32(2) * max(_ONE, tall / np.float32(size))))
    k_across = int(np.ceil(np.float32(2) * max(_ONE, wide / np.float32(size))))
    down = np.empty((size, k_down), np.float32)
    across = np.empty((size, k_across), np.float32)
    _taps(top, tall, size, False, _ONE, first[0], down)
    _taps(left, wide, size, mirror, _BYTE, first[1], across)
    rows = photo[int(np.floor(top)) :, 3 * low : 3 * high]
    n = rows.shape[1]
    lines = line[: n + 3 * k_across]
    for i in range(n, n + 3 * k_across):
        lines[i] = _ZERO
    span = lines[:n]
    for y in range(size):
        start = first[0, y]
        weight, row = down[y, 0], rows[start]
        for i in range(n):
            span[i] = weight * np.float32(row[i])
        for j in range(1, k_down):
            weight = down[y, j]
            if weight > _ZERO:
                row = rows[start + np.uintp(j)]
                for i in range(n):
                    span[i] += weight * np.float32(row[i])
        red, green, blue = (
            planes[0, y * size : (y + 1) * size],
            planes[1, y * size : (y + 1) * size],
            planes[2, y * size : (y + 1) * size],
        )
        for x in range(size):
            at = np.uintp(3) * first[1, x]
            r = g = b = _ZERO
            for j in range(k_across):
                weight = across[x, j]
                r += weight * lines[at]
                g += weight * lines[at + np.uintp(1)]
                b += weight * lines[at + np.uintp(2)]
                at += np.uintp(3)
            red[x], green[x], blue[x] = min(r, _ONE), min(g, _ONE), min(b, _ONE)


@_jit
def _contrast(red: np.ndarray, green: np.ndarray, blue: np.ndarray, factor: np.float32) -> None:
    r = g = b = _ZERO
    for i in range(len(red)):
        r += red[i]
        g += green[i]
        b += blue[i]
    mean = (r * _RED + g * _GREEN + b * _BLUE) / np.float32(len(red)) * (_ONE - factor)
    for i in range(len(red)):
        red[i] = min(max(red[i] * factor + mean, _ZERO), _ONE)
        green[i] = min(max(green[i] * factor + mean, _ZERO), _ONE)
        blue[i] = min(max(blue[i] * factor + mean, _ZERO), _ONE)


@_jit
def _saturation(red: np.ndarray, green: np.ndarray, blue: np.ndarray, factor: np.float32) -> None:
    for i in range(len(red)):
        r, g, b = red[i], green[i], blue[i]
        grey = (r * _RED + g * _GREEN + b * _BLUE) * (_ONE - factor)
        red[i] = min(max(r * factor + grey, _ZERO), _ONE)
        green[i] = min(max(g * factor + grey, _ZERO), _ONE)
        blue[i] = min(max(b * factor + grey, _ZERO), _ONE)


@_jit
def _hue(red: np.ndarray, green: np.ndarray, blue: np.ndarray, turn: np.float32) -> None:
    """Turn the hue; see ``colour.hue_`` for the formula."""
    sextants = turn * np.float32(6)
    sign = -_ONE if sextants < _ZERO else _ONE
    reach, half = sign * (_HALF - abs(sextants)), sign * _HALF
    for i in range(len(red)):
        r, g, b = red[i], green[i], blue[i]
        low, high = min(r, g), max(r, g)
        middle = _HALF * max(min(high, b), low)
        low, high = min(low, b), max(high, b)
        span = (high - low) * reach
        r_slope, g_slope, b_slope = g - b, b - r, r - g
        r_span = span if r_slope > _ZERO else (-span if r_slope < _ZERO else _ZERO)
        g_span = span if g_slope > _ZERO else (-span if g_slope < _ZERO else _ZERO)
        b_span = span if b_slope > _ZERO else (-span if b_slope < _ZERO else _ZERO)
        red[i] = min(max(_THREE_HALVES * r + (r_span - r_slope * half - middle), low), high)
        green[i] = min(max(_THREE_HALVES * g + (g_span - g_slope * half - middle), low), high)
        blue[i] = min(max(_THREE_HALVES * b + (b_span - b_slope * half - middle), low), high)


@_jit
def _blur(plane: np.ndarray, sigma: np.float32, size: int, spare: np.ndarray, line: np.ndarray) -> None:
    """Blur one plane as ``colour.gaussian_blur`` does with its usual kernel."""
    reach = min(size // 20, int(np.ceil(sigma * np.float32(6))))  # beyond, weights are below 1e-7
    taps = np.empty(reach + 1, np.float32)
    total = -_ONE
    for d in range(reach + 1):
        taps[d] = np.exp(-_HALF * (np.float32(d) / sigma) * (np.float32(d) / sigma))
        total += np.float32(2) * taps[d]
    for d in range(reach + 1):
        taps[d] /= total
    _blur_down(plane, taps, size, line, spare)
    _blur_down(spare, taps, size, line, plane)


@_jit
def _blur_down(source: np.ndarray, taps: np.ndarray, size: int, line: np.ndarray, out: np.ndarray) -> None:
    """Blur the columns of ``source (S²)`` and write the result transposed."""
    row = line[:size]
    for y in range(size):
        here = source[y * size : (y + 1) * size]
        for x in range(size):
            row[x] = taps[0] * here[x]
        for d in range(1, len(taps)):
            up, down = abs(y - d), size - 1 - abs(size - 1 - y - d)  # mirrored at the ends
            above, below = source[up * size : (up + 1) * size], source[down * size : (down + 1) * size]
            weight = taps[d]
            for x in range(size):
                row[x] += weight * (above[x] + below[x])
        for x in range(size):
            out[np.uintp(x * size + y)] = min(row[x], _ONE)


def _views(
    photos: np.ndarray,
    numbers: np.ndarray,
    chosen: np.ndarray,
    order: np.ndarray,
    out: np.ndarray,
    size: int,
    start: int,
    stop: int,
) -> None:
    """Make views ``start`` to ``stop`` of a batch.

    Args:
        photos: ``(B, H, 3 W)`` uint8.
        numbers: ``(B, 9)`` box, four factors of colour, sigma.
        chosen: ``(B, 3)`` mirrored, grey, solarized.
        order: Of the four factors.
        out: ``(B, 3 S²)`` float32, channels last.
        size: S.
        start: First image.
        stop: One after the last.
    """
    planes = np.empty((3, size * size), np.float32)
    spare = np.empty(size * size, np.float32)
    first = np.empty((2, size), np.uintp)
    line = np.empty(max(size, photos.shape[2] + 6 * (photos.shape[2] // 3 // size + 2)), np.float32)
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(start, stop):
        _crop(photos[i], numbers[i, :4], chosen[i, 0], size, planes, first, line)
        for step in order:
            factor = numbers[i, 4 + step]
            if step == 3:
                if factor != _ZERO:
                    _hue(red, green, blue, factor)
            elif factor != _ONE:
                if step == 0:
                    for plane in range(3):
                        values = planes[plane]
                        for j in range(len(values)):
                            values[j] = min(values[j] * factor, _ONE)
                elif step == 1:
                    _contrast(red, green, blue, factor)
                else:
                    _saturation(red, green, blue, factor)
        if chosen[i, 1]:
            _saturation(red, green, blue, _ZERO)
        sigma = numbers[i, 8]
        if sigma > _ZERO and size >= 20:
            for plane in range(3):
                _blur(planes[plane], sigma, size, spare, line)
        if chosen[i, 2]:
            for plane in range(3):
                values = planes[plane]
                for j in range(len(values)):
                    values[j] = _ONE - values[j] if values[j] >= _HALF else values[j]
        written = out[i]
        for j in range(size * size):
            written[3 * j] = red[j]
            written[3 * j + 1] = green[j]
            written[3 * j + 2] = blue[j]


_floats, _flags, _bytes = numba.float32[:, ::1], numba.boolean[:, ::1], numba.uint8[:, :, ::1]
_SIGNATURE = (_bytes, _floats, _flags, numba.int64[::1], _floats, numba.int64, numba.int64, numba.int64)
