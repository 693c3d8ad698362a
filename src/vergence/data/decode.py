"""One picture, however it was written, as RGB bytes."""

from __future__ import annotations

import io
import struct

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.io import ImageReadMode, decode_jpeg

MAX_RATIO = 3  # longer side over shorter side that a batch's canvas has room for
_SMALL_JPEG = 512 * 512  # pixels up to which shrinking while decoding saves less than Pillow costs
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # start-of-frame markers of baseline and progressive JPEG


class DecodeError(ValueError):
    """A picture that cannot be decoded; the message is the reason."""


Raw = bytes | memoryview | Image.Image | np.ndarray


def decode(raw: Raw, *, size: int | None = None) -> np.ndarray:
    """Return a picture as ``(H, W, 3)`` uint8.

    Grey becomes RGB; transparency is laid on white, as a page would show it; 16-bit grey keeps its
    full range (65535 is white); float and 32-bit grey inside [0, 1], [0, 255] or [0, 65535] are read
    as such and stretched otherwise; the camera's rotation is applied; of an animation the first
    frame is taken. Colour profiles are ignored.

    Args:
        raw: The encoded file, or what a library already decoded.
        size: Shrink by a whole factor, antialiased, as long as the shorter side keeps this many
            pixels, and cut what is longer than 3:1 to its middle. None returns the whole picture.

    Raises:
        DecodeError: If it is broken, of an unknown format, or larger than Pillow's bomb limit.
    """
    if isinstance(raw, np.ndarray):
        return _finish(_to_rgb(Image.fromarray(raw)), size)
    if isinstance(raw, Image.Image):
        return _finish(_to_rgb(raw), size)
    fast = _decode_small_jpeg(raw)
    if fast is not None and (size is None or min(fast.shape[:2]) < 2 * size):
        return fast if size is None else _cut(fast)
    try:
        with Image.open(io.BytesIO(raw)) as image:
            if size is not None:
                _draft(image, size)
            return _finish(_to_rgb(ImageOps.exif_transpose(image)), size)
    except UnidentifiedImageError:
        raise DecodeError("empty" if not len(raw) else "not a picture in a known format") from None
    except Exception as error:  # a decoder may raise anything on bytes that were made to break it
        raise DecodeError(str(error) or type(error).__name__) from None


def shape(raw: Raw) -> tuple[int, int]:
    """Return height and width as displayed, from the header alone; (0, 0) where it cannot be read."""
    if isinstance(raw, np.ndarray):
        return raw.shape[0], raw.shape[1]
    try:
        image = raw if isinstance(raw, Image.Image) else Image.open(io.BytesIO(raw))
        turned = image.getexif().get(0x0112, 1) >= 5
    except Exception:
        return 0, 0
    return (image.width, image.height) if turned else (image.height, image.width)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float64))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    if not np.isfinite(values).all():
        raise DecodeError("holds values that are not finite")
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        values = (values - low) / max(high - low, 1e-12) * 255
    elif high > 255:
        values = values / 257
    return Image.fromarray(np.round(values).astype(np.uint8)).convert("RGB")


def _draft(image: Image.Image, size: int) -> None:
    """Let the JPEG decoder leave out what a picture of this size does not show."""
    factor = max(1, min(image.size) // size)
    image.draft(None, (image.width // factor, image.height // factor))


def _finish(image: Image.Image, size: int | None) -> np.ndarray:
    if size is None:
        return np.asarray(image)
    factor = min(image.size) // size
    return _cut(np.asarray(image.reduce(factor) if factor >= 2 else image))


def _cut(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    longest = MAX_RATIO * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return pixels[top : top + longest, left : left + longest]


def _decode_small_jpeg(raw: bytes | memoryview) -> np.ndarray | None:
    """Decode a small plain JPEG three times faster than Pillow; None leaves it to Pillow."""
    if not _is_small_plain_jpeg(raw):
        return None
    try:
        pixels = decode_jpeg(torch.frombuffer(bytearray(raw), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except RuntimeError:  # Pillow says what is wrong with it
        return None
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _is_small_plain_jpeg(raw: bytes | memoryview) -> bool:
    """Walk the header: 8 bits, grey or three components, few pixels and no camera tags."""
    if bytes(raw[:2]) != b"\xff\xd8":
        return False
    at = 2
    while at + 10 <= len(raw):
        mark, code, length = struct.unpack_from(">BBH", raw, at)
        if mark != 0xFF or code == 0xE1 or code == 0xEE:  # APP1: rotation; APP14: Adobe's colours
            return False
        if code in _FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", raw, at + 4)
            return bits == 8 and components in (1, 3) and 0 < height * width <= _SMALL_JPEG
        at += 2 + length
    return False
