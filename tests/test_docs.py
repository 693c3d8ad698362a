"""What the documentation shows runs as it stands: the blocks of a page, in their order, in one session."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vergence.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = 10  # of code, at most, that a block takes


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((DOCS / page).read_text())


def world(folder: Path) -> None:
    """Lay out what a reader of the page has: photos, one to look for, and a graph of three files."""
    drawn = np.random.default_rng(0)
    for i in range(24):
        (folder / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (32, 32, 3), np.uint8) // (1 + i % 2)
        Image.fromarray(pixels).save(folder / "photos" / "ab"[i % 2] / f"{i}.png")
    Image.fromarray(pixels).save(folder / "query.jpg")
    edges = "".join(f"{i},{(i * i + 1) % 20}\n" for i in range(20))
    (folder / "edges.csv").write_text(f"from,to\n{edges}")
    nodes = "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(20))
    (folder / "nodes.csv").write_text(f"name,words,field\n{nodes}")


@pytest.mark.parametrize("page", ["own.md"])
def test_a_page_runs_as_it_stands(page, tmp_path, monkeypatch):
    world(tmp_path)
    monkeypatch.chdir(tmp_path)
    session = types.ModuleType(f"page_{page.removesuffix('.md')}")
    monkeypatch.setitem(sys.modules, session.__name__, session)
    code = blocks(page)
    assert len(code) > 5
    for number, (language, text) in enumerate(code, 1):
        if language == "sh":
            for line in text.splitlines():
                assert main(shlex.split(line, comments=True)[1:]) == 0, line
        else:
            exec(compile(text, f"{page}, block {number}", "exec"), vars(session))


@pytest.mark.parametrize("page", ["own.md"])
def test_a_block_takes_ten_lines_at_most(page):
    lengths = [len([line for line in text.splitlines() if line.strip()]) for _, text in blocks(page)]
    assert max(lengths) <= LINES
