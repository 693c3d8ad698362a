"""One self-contained page of pictures with a line under each."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vergence.engine.files import write_text

_STYLE = """:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;
max-width:72rem;padding:0 1rem}
h1{line-height:1.2}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.row{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:20rem}
img{display:block;image-rendering:pixelated;border-radius:4px;max-width:100%}
.small{gap:.75rem}.small figure{width:6rem}.small img{width:6rem;height:6rem;object-fit:contain;
background:color-mix(in srgb,currentColor 7%,transparent)}
figcaption{font-size:.85rem;opacity:.8;overflow-wrap:anywhere;white-space:pre-line}.small figcaption{
font-size:.75rem;line-height:1.3;margin-top:.2rem}.bare figcaption{font-size:.85rem;padding:.4rem .6rem;
border-radius:4px;opacity:1;background:color-mix(in srgb,currentColor 7%,transparent)}"""

Figure = tuple[np.ndarray | bytes | None, str]


def write_page(
    out: str | Path,
    title: str,
    lead: str,
    rows: Sequence[tuple[str, Sequence[Figure]]],
    *,
    small: bool = False,
) -> None:
    """Write rows of pictures to an HTML file that needs no other.

    Args:
        out: The file.
        title: Of the page.
        lead: What is to be seen, in a sentence or two.
        rows: Heading and pictures, each with what stands under it: pixels ``(H, W, 3)`` uint8, the bytes of
            a PNG or JPEG file, or None for the words alone.
        small: Show all pictures at one small size.
    """
    parts = [f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>"]
    for heading, figures in rows:
        shown = "".join(_figure(picture, line) for picture, line in figures)
        size = "row small" if small else "row"
        parts.append(f'<h2>{html.escape(heading)}</h2><div class="{size}">{shown}</div>')
    named = html.escape(title)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{named}</title><style>{_STYLE}</style>"
    body = "".join(parts)
    write_text(Path(out), f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>')


def _figure(picture: np.ndarray | bytes | None, line: str) -> str:
    text = html.escape(line)
    if picture is None:
        return f'<figure class="bare"><figcaption>{text}</figcaption></figure>'
    if isinstance(picture, np.ndarray):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        picture = file.getvalue()
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(picture).decode()
    shown = f'<img alt="{text}" src="data:image/{kind};base64,{data}">'
    return f"<figure>{shown}<figcaption>{text}</figcaption></figure>"


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture ``(H, W, 3)`` uint8 at ``(side, side)``."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
