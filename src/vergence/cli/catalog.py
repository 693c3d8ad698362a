"""``vergence papers``: the catalog, without loading anything heavy."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from typing import Any

from vergence import catalog
from vergence.benchmarks.published import published, with_real_data
from vergence.cli.errors import ClearErrors

_NARROW = 80


def papers(argv: list[str]) -> None:
    parser = ClearErrors(
        "vergence papers",
        description="List the papers, those that are available first; the planned ones have no code yet. "
        "With modality, task and kind, and with three marks where there are some: parity with another "
        "derivation, lead of the mechanism over its nearest rival, score on real data.",
        epilog="example: vergence papers --family graph",
    )
    parser.add_argument("--family", help="only this file of the catalog, such as graph or few-labels")
    parser.add_argument("--modality", help="only what looks at such data, such as image or events")
    parser.add_argument("--task", help="only what is for this, such as keypoints or retrieval")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    args = parser.parse_args(argv)
    listed = []
    for paper in catalog.papers(args.family, modality=args.modality, task=args.task):
        record = published(paper.key)
        row = {**dataclasses.asdict(paper), "status": paper.status, "result": record, **proof(record)}
        listed.append(row)
    print(json.dumps(listed, indent=2, ensure_ascii=False) if args.json else _table(listed))


def proof(result: dict[str, Any] | None) -> dict[str, dict[str, Any] | None]:
    """Return what a result shows: "parity", "mechanism" and "real_data", each None where it shows none.

    Real data is the first score on data that is not generated; "shared" names the table that it is a row of.
    """
    result = result or {}
    real = next(with_real_data(result), None)
    names = ("source", "metric", "less_is_better", "arms", "untrained", "shared", "seeds")
    return {
        "parity": result.get("parity"),
        "mechanism": result.get("mechanism"),
        "real_data": {name: real.get(name) for name in (names if "shared" in real else names[:-2])}
        if real
        else None,
    }


def marks(result: dict[str, Any] | None) -> dict[str, str]:
    """Say what a result shows in three marks, empty where it shows none.

    Parity is the largest difference as a share of the largest value, else the largest difference. A
    mechanism is the lead over the rival that comes nearest, with its 90 % interval, in points or, of an
    error, in its unit. A row of a table that methods share has its spread over seeds, or says that it has
    one, and the table's name.

    >>> arms = {"arms": {"paper": {"mean": 0.719}}, "untrained": {"mean": 0.645}}
    >>> marks({"source": "cifar10", **arms, "parity": {"max_abs": 2e-6, "max_rel": 3e-7}})
    {'parity': '3e-07', 'mechanism': '', 'real data': 'cifar10 71.9 (untrained 64.5)'}
    """
    shown = proof(result)
    parity, mechanism, real = shown["parity"], shown["mechanism"], shown["real_data"]
    return {
        "parity": _parity(parity) if parity else "",
        "mechanism": _lead(mechanism) if mechanism else "",
        "real data": f"{data_name(real['source'])} {_score(real)}" if real else "",
    }


def data_name(source: str) -> str:
    """Return the name of data without the scheme and folders of its uri.

    >>> data_name("scaled:planetoid:planetoid/cora"), data_name("hyper:hetero:hetero/acm:a")
    ('cora', 'acm')
    """
    parts = source.split(":")
    path = next((part for part in parts if "/" in part), parts[-1])
    return path.rsplit("/", 1)[-1].split(".")[0]


def _parity(parity: dict[str, Any]) -> str:
    share = parity.get("max_rel")
    return f"{parity['max_abs'] if share is None else share:.0e}"


def _lead(mechanism: dict[str, Any]) -> str:
    lead = min(mechanism["margins"].values(), key=lambda margin: margin["low"])
    if mechanism["less_is_better"]:
        return f"{lead['mean']:+.2g} [{lead['low']:.2g}, {lead['high']:.2g}]"
    return f"{100 * lead['mean']:+.1f} [{100 * lead['low']:.1f}, {100 * lead['high']:.1f}]"


def _score(real: dict[str, Any]) -> str:
    factor, digits = (1, ".3g") if real["less_is_better"] else (100, ".1f")
    ours, untrained = real["arms"]["paper"]["mean"], real["untrained"]
    said = f"{factor * ours:{digits}}"
    if shared := real.get("shared"):
        one = len(real["seeds"]) == 1
        said += ", one seed" if one else f" ± {factor * real['arms']['paper']['std']:{digits}}"
    if untrained:
        said += f" (untrained {factor * untrained['mean']:{digits}})"
    return f"{said}, {shared}" if shared else said


def _table(rows: list[dict[str, Any]]) -> str:
    rows = [{**row, **marks(row["result"])} for row in rows]
    seen = [mark for mark in ("parity", "mechanism", "real data") if any(row[mark] for row in rows)]
    columns = ["key", "status", "number", "year", "modality", "task", "kind", *seen, "title"]
    rows.sort(key=lambda row: row["status"])  # those that are available first
    cells = [columns] + [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    wide = max(_NARROW, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()[:wide]
        for line in cells
    ]
    counted = [row for row in rows if row["number"] is not None]
    available = sum(row["status"] == "available" for row in counted)
    last = (
        f"{len(counted)} papers: {available} are available, {len(counted) - available} are planned and have "
        "no code yet. Rows without a number are references."
    )
    return "\n".join([*lines, "", last])
