"""``vergence papers``: the catalog, without loading anything heavy."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from typing import Any

from vergence import catalog
from vergence.benchmarks import PUBLISHED
from vergence.cli.errors import ClearErrors

_NARROW = 80


def papers(argv: list[str]) -> None:
    parser = ClearErrors(
        "vergence papers",
        description="List the papers with modality, task, kind, and result of record where there is one.",
        epilog="example: vergence papers --family graph",
    )
    parser.add_argument("--family", help="only this file of the catalog, such as graph or few-labels")
    parser.add_argument("--modality", help="only what looks at such data, such as image or events")
    parser.add_argument("--task", help="only what is for this, such as keypoints or retrieval")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    args = parser.parse_args(argv)
    listed = [
        {**dataclasses.asdict(paper), "status": paper.status, "result": result(paper.key)}
        for paper in catalog.papers(args.family, modality=args.modality, task=args.task)
    ]
    print(json.dumps(listed, indent=2, ensure_ascii=False) if args.json else _table(listed))


def result(key: str) -> dict[str, Any] | None:
    """Return a paper's run of record; None where there is none."""
    path = PUBLISHED / f"{key}.json"
    return json.loads(path.read_text()) if path.exists() else None


def short(result: dict[str, Any] | None) -> str:
    """Say a run of record in two numbers: the paper's and the untrained encoder's, where there is one.

    >>> short({"arms": {"paper": {"mean": 0.633}}, "untrained": {"mean": 0.41}})
    '63.3 (untrained 41.0)'
    >>> short({"arms": {"paper": {"mean": 0.58}}, "untrained": None, "less_is_better": True})
    '0.58'
    """
    if result is None:
        return ""
    factor, digits = (1, ".3g") if result.get("less_is_better") else (100, ".1f")
    ours = f"{factor * result['arms']['paper']['mean']:{digits}}"
    untrained = result["untrained"]
    return f"{ours} (untrained {factor * untrained['mean']:{digits}})" if untrained else ours


def _table(rows: list[dict[str, Any]]) -> str:
    rows = [{**row, "result": short(row["result"])} for row in rows]
    columns = ["key", "number", "year", "modality", "task", "kind", "status", "result", "title"]
    if not any(row["result"] for row in rows):
        columns.remove("result")
    cells = [columns] + [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    wide = max(_NARROW, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()[:wide]
        for line in cells
    ]
    counted = [row for row in rows if row["number"] is not None]
    there = sum(row["status"] == "in" for row in counted)
    return "\n".join([*lines, "", f"{len(counted)} papers, {there} of them in; the others are planned."])
