"""Builds a report: what a run and its store have to say, as one page."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vergence import catalog
from vergence.core.errors import BadInput, VergenceError
from vergence.core.lists import read_cell
from vergence.core.modality import find_modality
from vergence.core.numbers import short
from vergence.core.run_config import RunConfig
from vergence.core.specs import innermost, label
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import Run, embed
from vergence.engine.files import write_text
from vergence.evaluate.baselines import LEARNED
from vergence.evaluate.drift import NEIGHBOURS, drift
from vergence.evaluate.table import Table
from vergence.reports.figures import Line, curve, intervals
from vergence.reports.looks import chart, cluster_cards, copies, neighbours
from vergence.reports.subject import Panel, Subject, subject_of
from vergence.store.table import Store
from vergence.use.clustering import clusters
from vergence.use.maps import NoSpread

SKIPPED = 12  # rows of skipped.csv that are shown
# of health: title, how to read it
_SIGNS = {
    "rankme": ("Effective rank", "Directions the embedding really uses. Falling towards 1 is collapse."),
    "std": ("Spread", "0: all samples look the same. 1: spread evenly in all directions."),
    "alignment": ("Alignment", "Distance between two views of one sample: lower is more stable."),
    "uniformity": ("Uniformity", "How evenly samples fill the sphere: 0 is one point, lower is better."),
}
_NOT_LOSS = {"step", "epoch", "stage", "lr", "loss", "samples_per_second"}


def report(
    run: Run,
    source: str | Path | Source,
    *,
    store: Store | str | Path | None = None,
    table: Table | None = None,
    out: str | Path | None = None,
) -> Path:
    """Write one self-contained page about a run: no network, no library, pictures inside.

    Args:
        run: A finished run.
        source: What is embedded when there is no ``store``; says more about samples that are no pictures, and
            how far features moved where the run began with weights (``init``).
        store: Embeddings by this run's encoder; None makes ``embeddings.lance`` in the run's folder.
        table: What ``measure`` returned; None leaves scores out.
        out: Where the page goes; None means ``report.html`` in the run's folder.

    Returns:
        Where it is.
    """
    modality, seen = run.config.modality, None
    if store is None:
        seen = open_source(source)
        embeddings = embed(run.encoder, seen)
        store = Store.create(
            run.path / "embeddings.lance", seen, embeddings, model=str(run.path), overwrite=True
        )
    elif not isinstance(store, Store):
        store = Store.open(store)
    if seen is None and not find_modality(modality).thumbnail:
        seen = open_source(source)
    parts = clusters(store)
    subject = subject_of(store, parts, modality=modality, source=seen, encoder=run.encoder)
    drawn, unmapped = _map(subject)
    page = {
        "title": _title(run),
        "paper": _paper(run.config.method),
        "facts": _facts(run, store),
        "curves": _curves(run),
        "signs": _signs(run),
        "trouble": list(dict.fromkeys(str(row["note"]) for row in run.health if row.get("note"))),
        "scores": _scores(table) if table is not None else None,
        "start": _start(run, seen if seen is not None else source),
        "subject": subject,
        "map": drawn,
        "unmapped": unmapped,
        "sections": subject.sections(),
        "neighbours": neighbours(subject),
        "clusters": {"cards": cluster_cards(subject), "silhouette": parts.silhouette},
        "copies": copies(subject),
        "skipped": _skipped(run.path / "skipped.csv"),
        "notes": list(seen.notes) if seen is not None else [],
        "command": command(run.config),
        "config": _flat(run.config.to_dict()),
        "path": str(run.path.resolve()),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "rows": len(store),
        "labelled": store.labels is not None,
        "label_name": store.label_name,
    }
    path = Path(out) if out is not None else run.path / "report.html"
    write_text(path, render(page))
    return path


def render(page: Mapping[str, Any]) -> str:
    """Fill the template; whatever came from outside is escaped."""
    folder = Path(__file__).parent
    world = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    world.filters["short"] = short
    world.filters["percent"] = lambda share: f"{100 * share:.1f}"
    world.filters["duration"] = duration
    style, script = (Markup((folder / name).read_text()) for name in ("report.css", "report.js"))
    return world.get_template("report.html.j2").render(page, style=style, script=script)


def duration(seconds: float | None) -> str:
    """Write a time as people say it.

    >>> [duration(s) for s in (4.2, 75, 7320)]
    ['4 s', '1 min 15 s', '2 h 2 min']
    """
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def command(config: RunConfig) -> str:
    """Return what repeats a run: the command that was typed, or the call in Python."""
    if config.command != "python API":
        return config.command
    made = None if config.init else innermost(config.encoder or {}).get("name")
    options: dict[str, Any] = {"encoder": made}
    for name in (
        "encoder_options",
        "init",
        "size",
        "epochs",
        "batch_size",
        "lr",
        "optimizer",
        "weight_decay",
        "warmup",
        "accumulate",
        "views",
        "seed",
        "precision",
    ):
        options[name] = getattr(config, name)
    options.update(config.options or {})
    default = {"accumulate": 1, "views": {}, "encoder_options": {}}
    words = [
        f"{name}={value!r}"
        for name, value in options.items()
        if value is not None and default.get(name) != value
    ]
    lines = [f"{config.method!r}, {config.source!r}", *words]
    return "import vergence as vg\n\nvg.learn(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def _map(subject: Subject) -> tuple[dict[str, Any] | None, str]:
    """Return the map of more than two samples, or why there is none."""
    try:
        return (chart(subject), "") if len(subject.store) > 2 else (None, "")
    except NoSpread as error:
        return None, str(error)


def _title(run: Run) -> str:
    source = run.config.source.partition("?")[0]
    return Path(source).name or source


def _paper(key: str) -> dict[str, Any]:
    try:
        paper = catalog.find(key)
    except BadInput:
        return {"name": key, "title": None, "year": None, "arxiv": None}
    name = paper.code.partition(":")[2] if paper.code else key
    return {"name": name or key, "title": paper.title, "year": paper.year, "arxiv": paper.arxiv}


def _facts(run: Run, store: Store) -> dict[str, Any]:
    config = run.config
    return {
        "source": config.source,
        "samples": config.samples or len(store),
        "encoder": label(config.encoder),
        "size": config.size,
        "parameters": config.parameters,
        "width": store.width(),
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "seconds": config.seconds,
        "device": config.device,
        "precision": config.precision,
    }


def _epochs(run: Run, rows: list[dict[str, Any]]) -> list[float]:
    """Return where rows stand in epochs, between whole ones too."""
    last = max((row["step"] for row in run.metrics), default=0) or 1
    whole = run.config.epochs or max((row["epoch"] for row in run.metrics), default=1)
    return [row["step"] / last * whole for row in rows]


def _curves(run: Run) -> list[Panel]:
    rows = run.metrics
    if not rows:
        return []
    x = _epochs(run, rows)
    rates = [name for name in rows[0] if name.rpartition("/")[2] == "lr"]  # one a turn
    terms = [name for name in rows[0] if name not in _NOT_LOSS and name not in rates]
    names = ["loss", *(terms if len(terms) > 1 else [])]
    shown = [
        ("Loss", "What is minimised" + (": the sum of its terms." if len(names) > 1 else "."), names),
        ("Learning rate", "Its peak; warm-up comes before, decay after.", rates),
        ("Speed", "Samples a second, reading and augmenting included.", ["samples_per_second"]),
    ]
    panels = []
    for title, how, columns in shown:
        lines = [Line(name, x, _numbers(rows, name), i) for i, name in enumerate(columns)]
        if not lines or not np.isfinite(lines[0].y).any():
            continue
        last = np.nanmax(lines[0].y) if columns == rates else _last(lines[0].y)
        legend = [line.name for line in lines] if len(lines) > 1 else []
        panels.append(Panel(title, how, curve(lines, label=title), last, legend=legend))
    return panels


def _signs(run: Run) -> list[Panel]:
    rows = run.health
    if not rows:
        return []
    x = _epochs(run, rows)
    panels = []
    for i, (name, (title, how)) in enumerate(_SIGNS.items()):
        y = _numbers(rows, name)
        if np.isfinite(y).any():
            svg = curve([Line(name, x, y, i % 4)], label=title)
            panels.append(Panel(title, how, svg, _last(y), next(v for v in y if math.isfinite(v))))
    return panels


def _numbers(rows: list[dict[str, Any]], name: str) -> list[float]:
    values = (row.get(name) for row in rows)
    return [float(v) if isinstance(v, int | float) else math.nan for v in values]


def _last(values: Sequence[float]) -> float | None:
    return next((v for v in reversed(values) if math.isfinite(v)), None)


def _scores(table: Table) -> dict[str, Any]:
    """Return the table, its charts, and how often the learned features win beyond doubt."""
    learned = table.rows.get(LEARNED, {})
    others = {name: scores for name, scores in table.rows.items() if name != LEARNED}
    colours = {name: 9 if name == LEARNED else i for i, name in enumerate(table.rows)}
    columns = []
    for name in table.columns:
        scores = {row: cells[name] for row, cells in table.rows.items() if name in cells}
        rivals = [cells[name] for cells in others.values() if name in cells]
        score = learned.get(name)
        verdict = "mixed"
        if score is not None and rivals:
            if all(score.above(rival) for rival in rivals):
                verdict = "above"
            elif any(rival.above(score) for rival in rivals):
                verdict = "below"
        rows = [(row, s.value, s.low, s.high, colours[row]) for row, s in scores.items()]
        columns.append({"name": name, "verdict": verdict, "svg": intervals(rows, label=name)})
    return {
        "rows": table.rows,
        "columns": columns,
        "above": sum(c["verdict"] == "above" for c in columns),
        "below": [c["name"] for c in columns if c["verdict"] == "below"],
        "about": table.about,
        "learned": LEARNED,
    }


def _start(run: Run, source: str | Path | Source) -> dict[str, Any] | None:
    """Return how far the features moved from the weights that the run began with, or why that is unknown."""
    if run.config.init is None:
        return None
    try:
        return {"drift": drift(run, open_source(source)), "neighbours": NEIGHBOURS}
    except VergenceError as error:
        return {"untold": str(error)}


def _skipped(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"count": 0, "rows": []}
    with path.open(newline="") as file:
        rows = [[read_cell(text) for text in row] for row in csv.reader(file)][1:]
    return {"count": len(rows), "rows": rows[:SKIPPED]}


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{name}.") if value else []
        elif value is not None:
            pairs.append((f"{prefix}{name}", str(value)))
    return pairs
