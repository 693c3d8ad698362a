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

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color-scheme:light dark}h2{font-size:1.1rem;margin:2rem 0 .5rem}.row{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}img{display:block;image-rendering:pixelated;border-radius:4px;max-width:100%}
figcaption{font-size:.85rem;opacity:.8;max-width:20rem}"""

Figure = tuple[np.ndarray, str]


def write_page(out: str | Path, title: str, lead: str, rows: Sequence[tuple[str, Sequence[Figure]]]) -> None:
    """Write rows of pictures to an HTML file that needs no other.

    Args:
        out: The file.
        title: Of the page.
        lead: What is to be seen, in a sentence or two.
        rows: Heading and pictures ``(H, W, 3)`` uint8, each with what stands under it.
    """
    parts = [f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>"]
    for heading, figures in rows:
        shown = "".join(_figure(picture, line) for picture, line in figures)
        parts.append(f'<h2>{html.escape(heading)}</h2><div class="row">{shown}</div>')
    named = html.escape(title)
    head = f'<meta charset="utf-8"><title>{named}</title><style>{_STYLE}</style>'
    body = "".join(parts)
    write_text(Path(out), f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>')


def _figure(picture: np.ndarray, line: str) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    text = html.escape(line)
    shown = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{shown}<figcaption>{text}</figcaption></figure>"


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture ``(H, W, 3)`` uint8 at ``(side, side)``."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
