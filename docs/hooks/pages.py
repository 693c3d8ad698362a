"""Pages that are made from the code, so that they cannot drift: papers, command line, reference."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import vergence
from vergence import catalog
from vergence.benchmarks import PUBLISHED
from vergence.benchmarks.published import published
from vergence.catalog.paper import Paper
from vergence.cli import main
from vergence.cli.catalog import marks
from vergence.cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
KEYS = sorted(paper.key for paper in catalog.PAPERS)
MARKS = ("parity", "mechanism", "real data")
PACKAGES = (
    "core",
    "losses",
    "views",
    "nets",
    "data",
    "store",
    "engine",
    "methods",
    "use",
    "evaluate",
    "reports",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    speeds = [json.loads(path.read_text()) for path in sorted(PUBLISHED.glob("speed-*.json"))]
    results = {key: found for key in KEYS if (found := published(key))}
    pages = {
        "papers.md": papers_page(results),
        "speed.md": speed_page(speeds),
        "cli.md": cli_page(),
        "adding-a-paper.md": _adding(),
        "reference/index.md": public_page(),
        **{f"reference/{package}.md": package_page(package) for package in PACKAGES},
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def papers_page(results: dict[str, dict[str, Any]]) -> str:
    counted = [paper for paper in catalog.PAPERS if paper.number is not None]
    available = sum(paper.status == "available" for paper in counted)
    parts = [
        "# Papers",
        f"{len(counted)} papers: **{available} are available**, {len(counted) - available} are planned and "
        "have no code yet; they stand below those of their family that can be run. Beside them stand "
        "references that everybody expects. Three marks say what is shown of a paper, each empty where "
        "nothing is yet. *Parity*: the largest difference from the official code, a port of it or a second "
        "derivation, as a share of the largest value. *Mechanism*: in the smallest world where the paper's "
        "idea must matter, the lead over the rival that comes nearest, in points with its 90 % interval. "
        "*Real data*: the run of record, beside the untrained encoder; where a paper has none, its row in "
        "the [image table](images.md), which then stands beside it. `vergence bench KEY` repeats all three, "
        "and `vergence bench image` the table; both go on where they were broken off. Runs are small on "
        "purpose, to be repeated on a laptop, and not the papers' own numbers.",
    ]
    for family, papers in catalog.FAMILIES.items():
        parts += [f"## {family}", *_family(family, papers, results)]
    for title, table in (("Parity", _parities), ("Mechanisms", _mechanisms), ("Runs of record", _records)):
        if text := table(results):
            parts += [f"## {title}", text]
    return "\n\n".join(parts) + "\n"


def _family(family: str, papers: Sequence[Paper], results: dict[str, dict[str, Any]]) -> list[str]:
    """Return the papers of a family that can be run, with their marks, and those that are planned."""
    shown = {paper.key: marks(results.get(paper.key)) for paper in papers}
    seen = [mark for mark in MARKS if any(one[mark] for one in shown.values())]
    available = [paper for paper in papers if paper.code]
    planned = [paper for paper in papers if not paper.code]
    parts = []
    if available:
        rows = [[*_paper(one, family), *(_cell(shown[one.key][mark]) for mark in seen)] for one in available]
        parts.append(_table(["key", "paper", "for", *seen], rows))
    if planned:
        parts += [
            "Planned, no code yet:",
            _table(["key", "paper", "for"], [_paper(p, family) for p in planned]),
        ]
    return parts


def _paper(paper: Paper, family: str) -> list[str]:
    title = f"[{_cell(paper.title)}]({paper.url})" if paper.url else _cell(paper.title)
    data = "" if paper.modality == family else f"{paper.modality}: "
    what = paper.kind if paper.task == "representation" else f"{paper.task}, {paper.kind}"
    return [f"`{paper.key}`", f"{title}, {paper.year}", data + what]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _parities(results: dict[str, dict[str, Any]]) -> str:
    rows = [
        f"| `{key}` | {parity['kind']} | {_cell(parity['against'])} {_cell(parity['commit'])} | "
        f"{parity['max_abs']:.1e} | {'' if parity['max_rel'] is None else format(parity['max_rel'], '.1e')} |"
        for key, result in results.items()
        if (parity := result.get("parity"))
    ]
    head = [
        "| key | kind | against | largest difference | share of the largest value |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) if rows else ""


def _mechanisms(results: dict[str, dict[str, Any]]) -> str:
    rows, worlds = [], []
    for key, result in results.items():
        if mechanism := result.get("mechanism"):
            for one in (mechanism, *(mechanism.get("also") or ())):
                plain = one["less_is_better"]
                arms = {arm: _spread(score, plain) for arm, score in one["arms"].items()}
                ours = arms.pop("paper", "")
                others = "; ".join(f"{_cell(arm)}: {score}" for arm, score in arms.items())
                lead = marks(result)["mechanism"] if one is mechanism else ""
                clear, metric = "yes" if one["clear"] else "no", _cell(one["metric"])
                rows.append(f"| `{key}` | {metric} | **{ours}** | {others} | {lead} | {clear} |")
            worlds.append(f"- `{key}`: {_cell(mechanism['world'])}")
    head = [
        "| key | metric | the paper's idea | without it | lead over the nearest rival | clear of all |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", *worlds]) if rows else ""


def _records(results: dict[str, dict[str, Any]]) -> str:
    rows = [
        "| key | data | metric | the paper's idea | without it | untrained | raw data |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for key, result in results.items():
        for comparison in (result, *(result.get("also") or ())):
            if "arms" not in comparison:
                continue
            rows.append("| " + " | ".join(_record(key, comparison)) + " |")
            if comparison.get("note"):
                where = "" if comparison is result else f", {_breakable(comparison['source'])}"
                notes.append(f"- `{key}`{where}: {_cell(comparison['note'])}")
    return "\n".join(rows) + ("\n\n" + "\n".join(notes) if notes else "")


def _record(key: str, comparison: dict[str, Any]) -> list[str]:
    plain = comparison.get("less_is_better", False)
    arms = {arm: _spread(score, plain) for arm, score in comparison["arms"].items()}
    ours = arms.pop("paper")
    raw = comparison.get("raw_pixels")  # of results before raw pixels became an arm like others
    return [
        f"`{key}`",
        f"{_breakable(comparison['source'])}, {comparison['train']:,} / {comparison['test']:,}",
        _cell(comparison["metric"]),
        f"**{ours}**",
        "; ".join(f"{_cell(arm)}: {score}" for arm, score in arms.items()),
        _spread(comparison["untrained"], plain),
        f"{100 * raw:.1f}" if raw is not None else _spread(comparison.get("raw_features"), plain),
    ]


def _breakable(name: str) -> str:
    return re.sub(r"([:/_-])", r"\1<wbr>", _cell(name))


def speed_page(results: list[dict[str, Any]]) -> str:
    parts = [
        "# Speed",
        "Ours and its peers do the same work in turn on one machine: `vergence bench speed` repeats it. A "
        "ratio is the median over the repeats, with the least and the greatest beside it; the ratio by CPU "
        "time is what a busy machine cannot disturb.",
    ]
    for result in results:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        parts += [f"## {result['subject']}", result["what"], _contests(result["contests"])]
        parts.append(f"{result['machine']}, {result['date']}: {versions}.")
    if not results:
        parts.append("There are no results yet.")
    return "\n\n".join(parts) + "\n"


def _contests(contests: list[dict[str, Any]]) -> str:
    rows = [
        "| work | who | a second | ours is faster | by CPU time | bar |",
        "|---|---|---|---|---|---|",
    ]
    for contest in contests:
        what = _cell(contest["what"])
        for entry in contest["contestants"]:
            ratio = entry.get("ours_is_faster")
            shown = [
                what,
                _cell(entry["name"]),
                f"{entry['rate']:,.{0 if entry['rate'] >= 100 else 2}f} {contest['unit']}",
                f"{ratio['median']:.3g} ({ratio['low']:.3g} to {ratio['high']:.3g})" if ratio else "",
                f"{entry['ours_is_faster_by_cpu']['median']:.3g}" if ratio else "",
                f"{entry['bar']:,g}, {'reached' if entry['passed'] else 'missed'}" if "bar" in entry else "",
            ]
            rows.append("| " + " | ".join(shown) + " |")
            what = ""
    notes = [
        f"- {_cell(contest['name'])}: {_cell(contest['note'])}" for contest in contests if contest["note"]
    ]
    return "\n".join(rows) + ("\n\n" + "\n".join(notes) if notes else "")


def _spread(score: dict[str, Any] | None, plain: bool = False) -> str:
    """Show a mean with its spread: a share in percent, an error (``plain``) as it is."""
    if score is None:
        return ""
    if plain:
        return f"{score['mean']:.3g} ± {score['std']:.2g}"
    return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")


def cli_page() -> str:
    parts = [
        "# Command line",
        "Options may come as flags, from a YAML file (`--config`), or both; flags win. `--json` prints one "
        "JSON object on standard output. Exit codes: 0 done, 2 a mistake to put right (one line says how), 1 "
        "a fault of the program, 130 and 143 stopped by SIGINT and SIGTERM.",
        _block(_help([])),
        *[f"## {command}\n\n{_block(_help([command]))}" for command in COMMANDS],
        f"## bench speed\n\n{_block(_help(['bench', 'speed']))}",
    ]
    return "\n\n".join(parts) + "\n"


def _help(words: list[str]) -> str:
    kept = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "96"
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if kept is not None:
            os.environ["COLUMNS"] = kept
    return shown.getvalue().rstrip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _adding() -> str:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    return text.replace("# Contributing", "# Adding a paper", 1).replace(
        "## Adding a paper", "## Four files", 1
    )


def public_page() -> str:
    rows = ["| name | what |", "|---|---|"]
    for name in sorted(vergence.__all__):
        thing = getattr(vergence, name)
        first = (thing.__doc__ or "").strip().splitlines()[0]
        shown = f"`vergence.{name}`"
        if not isinstance(thing, ModuleType):
            shown = f"[{shown}][{thing.__module__}.{thing.__qualname__}]"
        rows.append(f"| {shown} | {_cell(first)} |")
    return "# Public names\n\nEach loads when it is first used.\n\n" + "\n".join(rows) + "\n"


def package_page(package: str) -> str:
    root = CHECKOUT / "src" / "vergence" / package
    modules = sorted(path for path in root.rglob("*.py") if path.name != "__init__.py")
    names = [".".join(path.relative_to(root.parent.parent).with_suffix("").parts) for path in modules]
    body = [f"::: {name}" for name in names if not any(part.startswith("_") for part in name.split("."))]
    return "\n\n".join([f"# {package}", *body]) + "\n"
