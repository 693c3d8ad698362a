"""Decodes one picture, however it was written, into RGB bytes."""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vergence.data.image.formats import is_heic
from vergence.data.image.jpeg import decode_small

_GIANT = 2**25  # pixels; threads decode larger pictures one at a time, as each may take gigabytes
_one_giant = threading.Lock()
_ROWS = 256  # of wide greys that are converted at a time

MAX_RATIO = 3  # longer side over shorter side that a batch's canvas has room for


class DecodeError(ValueError):
    """A picture that cannot be decoded; the message is the reason."""


Raw = bytes | memoryview | Image.Image | np.ndarray


def decode(raw: Raw, *, size: int | None = None) -> np.ndarray:
    """Return a picture as ``(H, W, 3)`` uint8.

    Grey becomes RGB; transparency is laid on white, as a page would show it; 16-bit and 32-bit grey is
    read in [0, 65535], float grey in [0, 1], whatever the largest value of a picture is; the camera's
    rotation is applied; of an animation the first frame is taken. Colour profiles are ignored. HEIC is
    read where pillow-heif or pi-heif is installed.

    Args:
        raw: The encoded file, or what a library already decoded.
        size: Shrink by a whole factor, antialiased, as long as the shorter side keeps this many
            pixels. None leaves it as large as it is.

    Raises:
        DecodeError: If it is broken, of an unknown format, larger than Pillow's bomb limit, or grey with
            values out of its range.
    """
    if isinstance(raw, np.ndarray):
        return _finish(_to_rgb(Image.fromarray(raw)), size)
    if isinstance(raw, Image.Image):
        return _finish(_to_rgb(raw), size)
    fast = decode_small(raw)
    if fast is not None and (size is None or min(fast.shape[:2]) < 2 * size):
        return fast
    try:
        with _opened(raw) as image, _room_for(image):
            if size is not None:
                _draft(image, size)
            return _finish(_to_rgb(ImageOps.exif_transpose(image)), size)
    except MemoryError:
        raise DecodeError("needs more memory than there is") from None
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on broken bytes
        raise DecodeError(_reason(raw, error)) from None


def shape(raw: Raw) -> tuple[int, int]:
    """Return height and width as displayed, from the header alone; (0, 0) where it cannot be read."""
    if isinstance(raw, np.ndarray):
        return raw.shape[0], raw.shape[1]
    try:
        image = raw if isinstance(raw, Image.Image) else _opened(raw)
        turned = image.getexif().get(0x0112, 1) >= 5
    except Exception:  # noqa: BLE001 - a decoder may raise anything on broken bytes
        return 0, 0
    return (image.width, image.height) if turned else (image.height, image.width)


def _opened(raw: bytes | memoryview) -> Image.Image:
    if is_heic(raw) and _heic_opener():
        with contextlib.suppress(UnidentifiedImageError):
            return Image.open(io.BytesIO(raw), formats=["HEIF"])
    return Image.open(io.BytesIO(raw))


@cache
def _heic_opener() -> bool:
    """Let Pillow open HEIC, by a library that may not be there."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return True
    return False


def _reason(raw: bytes | memoryview, error: Exception) -> str:
    if not len(raw):
        return "empty"
    if is_heic(raw) and not _heic_opener():
        return "HEIC, which needs a decoder: pip install pi-heif, or pillow-heif"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a known format"
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    values, white = np.asarray(image), 1.0 if image.mode == "F" else 65535.0
    if not image.mode.startswith("I;16"):
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise DecodeError("holds values that are not finite")
        if low < 0 or high > white:
            kind = "float grey" if image.mode == "F" else "grey of whole numbers"
            raise DecodeError(f"{kind} is read in [0, {white:g}], but reaches from {low:g} to {high:g}")
    grey, transparent = np.empty(values.shape, np.uint8), image.info.get("transparency")
    for start in range(0, len(values), _ROWS):
        part = slice(start, start + _ROWS)
        grey[part] = np.round(values[part].astype(np.float64) * (255 / white))
        if isinstance(transparent, int):
            grey[part][values[part] == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _room_for(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    return _one_giant if image.width * image.height > _GIANT else contextlib.nullcontext()


def _draft(image: Image.Image, size: int) -> None:
    """Let the JPEG decoder leave out what a picture of this size does not show."""
    factor = max(1, min(image.size) // size)
    image.draft(None, (image.width // factor, image.height // factor))


def _finish(image: Image.Image, size: int | None) -> np.ndarray:
    factor = 1 if size is None else min(image.size) // size
    return np.asarray(image.reduce(factor) if factor >= 2 else image)


def crop_long_side(pixels: np.ndarray) -> np.ndarray:
    """Cut what is longer than 3:1 to its middle, so that one strip does not blow up a batch's canvas."""
    height, width = pixels.shape[:2]
    longest = MAX_RATIO * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return np.ascontiguousarray(pixels[top : top + longest, left : left + longest])


def thumbnail(sample: object, side: int) -> bytes | None:
    """Return an image ``(H, W, 3)`` uint8 as a small file, or None for a sample of another kind.

    Up to 64 pixels it is kept exactly, as PNG; larger ones become a JPEG of ``side`` pixels.
    """
    if not isinstance(sample, np.ndarray) or sample.dtype != np.uint8 or sample.shape[2:] != (3,):
        return None
    image, file = Image.fromarray(sample), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if max(image.size) <= 64:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=87)
    return file.getvalue()
