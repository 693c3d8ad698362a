"""EXIF: what a camera wrote into a picture, in words for people."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from PIL import ExifTags, Image

_LONGEST = 80  # characters of a value


def exif(raw: bytes) -> list[tuple[str, str]]:
    """Return names with values of what is known of how an encoded picture was taken; none of what is broken.

    The picture is not decoded. Exposure is in seconds, focal length in millimetres, the place in degrees.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(raw)) as image:
            tags = image.getexif()
        lens, place = (dict(tags.get_ifd(part)) for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    except Exception:  # noqa: BLE001 - Pillow's readers raise whatever a broken file makes them
        return []
    readers: dict[str, Callable[[], str]] = {
        "taken": lambda: _word(lens[ExifTags.Base.DateTimeOriginal]),
        "camera": lambda: _camera(tags),
        "lens": lambda: _word(lens[ExifTags.Base.LensModel]),
        "exposure": lambda: _seconds(float(lens[ExifTags.Base.ExposureTime])),
        "aperture": lambda: f"f/{_number(lens[ExifTags.Base.FNumber])}",
        "ISO": lambda: _number(lens[ExifTags.Base.ISOSpeedRatings]),
        "focal length": lambda: f"{_number(lens[ExifTags.Base.FocalLength])} mm",
        "place": lambda: _place(place),
        "software": lambda: _word(tags[ExifTags.Base.Software]),
    }
    known = []
    for name, read in readers.items():
        try:
            value = read()
        except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError):
            continue
        if value:
            known.append((name, value))
    return known


def _word(value: Any) -> str:
    """Return a text without what cannot be printed."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_LONGEST]


def _number(value: Any) -> str:
    number = float(value[0] if isinstance(value, tuple) else value)
    if not math.isfinite(number):
        raise ValueError("no number")
    return f"{number:g}"


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if 0 < value < 0.5 else f"{_number(value)} s"


def _camera(tags: Mapping[int, Any]) -> str:
    make, model = (_word(tags.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()


def _place(tags: Mapping[int, Any]) -> str:
    degrees = []
    for value, sign, most in (
        (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, 90),
        (ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, 180),
    ):
        whole, minutes, seconds = (float(part) for part in tags[value])
        degree = whole + minutes / 60 + seconds / 3600
        if not 0 <= degree <= most:
            raise ValueError("no place")
        degrees.append(-degree if _word(tags[sign]).upper()[:1] in ("S", "W") else degree)
    return f"{degrees[0]:.5f}, {degrees[1]:.5f}"
