"""The table of the image methods at one budget, and its chart of accuracy against time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from vergence.benchmarks import PUBLISHED
from vergence.benchmarks.image_table import Row, is_untrained, rows, spread, times
from vergence.benchmarks.published import IMAGE_TABLE
from vergence.reports.figures import ticks

CHART, TABLE = "{{ image chart }}", "{{ image table }}"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 56, 110, 14, 46
LINE, LETTER = 15, 8  # pixels of a name: high, and a letter wide

Box = tuple[float, float, float, float]


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    if CHART not in markdown:
        return markdown
    path = PUBLISHED / IMAGE_TABLE
    if not path.exists():
        return markdown.replace(CHART, "").replace(TABLE, "There are no results yet.")
    written = json.loads(path.read_text())
    made = rows(written)
    return markdown.replace(CHART, chart(made, times(made))).replace(TABLE, table(written, made))


def table(written: dict[str, Any], made: Sequence[Row]) -> str:
    ratios = times(made)
    lines = ["| method | k-NN | linear | time, SimCLR = 1 | seeds |", "|---|---:|---:|---:|---:|"]
    for row in made:
        name = row.key if is_untrained(row.key) else f"`{row.key}`"
        ratio = f"{ratios[row.key]:.2f}" if row.key in ratios else ""
        lines.append(f"| {name} | {spread(row.knn)} | {spread(row.linear)} | {ratio} | {len(row.knn)} |")
    options = "; ".join(f"`{key}` {_options(own)}" for key, own in written["options"].items())
    encoders = "".join(
        f" With {name} ({_options(own['options'])}): {', '.join(f'`{key}`' for key in own['of'])}."
        for name, own in written["encoders"].items()
    )
    about = f"{written['what']}; {written['machine']}.{encoders} Options: {options}."
    return "\n".join([*lines, "", about])


def _options(own: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in own.items())


def chart(made: Sequence[Row], ratios: Mapping[str, float]) -> str:
    """Draw k-NN accuracy against time, a dot and a name for each method."""
    shown = [(row.key, ratios[row.key], 100 * float(np.mean(row.knn))) for row in made if row.key in ratios]
    if not shown:
        return ""
    low, high = min(y for *_, y in shown) - 1, max(y for *_, y in shown) + 1
    right = 1.05 * max(x for _, x, _ in shown)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / right * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for y in ticks(low, high, 6):
        x0, y0 = at(0, y)
        parts.append(
            f'<line x1="{x0:.0f}" x2="{WIDTH - RIGHT}" y1="{y0:.1f}" y2="{y0:.1f}" stroke="currentColor" '
            f'opacity=".15"/><text x="{x0 - 8:.0f}" y="{y0 + 4:.1f}" text-anchor="end">{y:g}</text>'
        )
    for x in ticks(0, right, 6):
        x0, _ = at(x, low)
        parts.append(f'<text x="{x0:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">time of a core, '
        f'SimCLR = 1</text><text x="14" y="{HEIGHT / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2:.0f})">k-NN accuracy in %</text>'
    )
    dots = [at(x, y) for _, x, y in shown]
    names: list[Box] = []
    for (key, *_), (cx, cy) in zip(shown, dots, strict=True):
        tx, ty = place(key, cx, cy, names, dots)
        names.append(box(key, tx, ty))
        parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" fill="#6f84ff"/>')
        parts.append(f'<text x="{tx:.1f}" y="{ty + 4:.1f}">{key}</text>')
        if abs(ty - cy) > 1:  # not beside its dot: a line leads to it
            end = tx - 2 if tx > cx else tx + LETTER * len(key) + 2
            parts.append(
                f'<line x1="{cx:.1f}" y1="{cy:.1f}" x2="{end:.1f}" y2="{ty:.1f}" stroke="currentColor" '
                'opacity=".4"/>'
            )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="k-NN accuracy of image methods against '
        f'their time" fill="currentColor" style="font-size: 13px; max-width: 100%">{"".join(parts)}</svg>'
    )


def box(name: str, x: float, y: float) -> Box:
    """Return what a name covers whose middle begins at a place: left, right, top and bottom."""
    return x, x + LETTER * len(name), y - LINE / 2, y + LINE / 2


def place(
    name: str, cx: float, cy: float, names: Sequence[Box], dots: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Return where a dot's name begins: beside it, or as near as no other name or dot is covered."""
    wide = LETTER * len(name)
    for away in range(0, 200, 3):
        for down in (away, -away):
            for x in (cx + 8 + away / 4, cx - 8 - away / 4 - wide):
                left, right, top, bottom = box(name, x, cy + down)
                free = all(left > r or right < l or top > b or bottom < t for l, r, t, b in names)
                clear = not any(left - 5 < dx < right + 5 and top - 3 < dy < bottom + 3 for dx, dy in dots)
                if free and clear and top > TOP and bottom < HEIGHT - BOTTOM and left > LEFT:
                    return x, cy + down
    return cx + 8, cy
