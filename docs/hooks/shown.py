"""What has been shown of each paper, and why something falls short: a page made from the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from vergence import catalog
from vergence.benchmarks import PUBLISHED
from vergence.benchmarks.arms import PAPER, UNTRAINED
from vergence.benchmarks.published import IMAGE_TABLE, published, with_real_data
from vergence.catalog.paper import Paper
from vergence.cli.catalog import data_name, marks

PAGE = "shown.md"
NEAR = 1e-5  # share of the largest value up to which float32 code is called equal
NO_RIVALS = ("untrained", "raw", "raw features", "raw pixels")
YES, NO = '<span class="shown yes">✓</span>', '<span class="shown no">✗</span>'

Result = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    results = {paper.key: found for paper in catalog.PAPERS if (found := published(paper.key))}
    files.append(File.generated(config, PAGE, content=page(catalog.FAMILIES, results)))
    return files


def page(families: Mapping[str, Sequence[Paper]], results: Mapping[str, Result]) -> str:
    """Return the page: totals, the chart of image methods, and each family with what falls short."""
    runs = [paper for papers in families.values() for paper in papers if paper.code]
    parts = [
        "# What has been shown",
        "Made from the published results, whatever they say. *Parity*: how near the code is to the official "
        "one, to a port of it or to a second derivation, as a share of the largest value. *Mechanism*: in "
        "the smallest world where the paper's idea must matter, its lead over the rival that comes nearest, "
        f"in points with the 90 % interval; {YES} where that is above 0 for every rival. *Real data*: the "
        "run of record, beside the rival that comes nearest; of a paper without one, its row in the table of "
        f"image methods, where {YES} says that it is clear of the untrained encoder. Small runs, and not the "
        "papers' own numbers. "
        f"Where something falls short ({NO}) the reason stands below the table. [All papers](papers.md) has "
        "every arm.",
        totals(runs, results),
        "## Image methods at one budget",
        image_methods(),
    ]
    for family, papers in families.items():
        available = [paper for paper in papers if paper.code]
        if available:
            parts += [f"## {family}", table(available, results)]
            short = [line for paper in available for line in reasons(paper.key, results.get(paper.key, {}))]
            if short := [*short, *missing(available, results)]:
                parts += ["**Where it falls short**", "\n".join(f"- {line}" for line in short)]
    return "\n\n".join(parts) + "\n"


def totals(runs: Sequence[Paper], results: Mapping[str, Result]) -> str:
    """Return how many of the papers that can be run show what."""
    known = [results[paper.key] for paper in runs if paper.key in results]
    parities = [parity for one in known if (parity := one.get("parity"))]
    worlds = [world for one in known if (world := one.get("mechanism"))]
    first = [found for one in known if (found := next(with_real_data(one), None))]
    own = [one for one in first if not one.get("shared")]
    shared = [one for one in first if one.get("shared")]
    beside = [one for one in own if untrained_margin(one) is not None]
    rows = [
        ("can be run", len(runs), ""),
        ("parity", len(parities), f"{sum(near(one) for one in parities)} within {NEAR:.0e}"),
        ("mechanism", len(worlds), f"{sum(world['clear'] for world in worlds)} clear of every rival"),
        (
            "real data, a run of its own",
            len(own),
            f"{sum(ahead(one) for one in own)} clear of every rival; "
            f"{sum(untrained_margin(one)['low'] > 0 for one in beside)} of {len(beside)} clear of the "
            "untrained encoder",
        ),
        (
            "real data, a row in the image table",
            len(shared),
            f"{sum(ahead(one) for one in shared)} clear of the untrained encoder",
        ),
    ]
    lines = ["| | papers | of them |", "|---|---:|---|"]
    return "\n".join([*lines, *(f"| {what} | {count} | {of_them} |" for what, count, of_them in rows)])


def image_methods() -> str:
    """Return where the chart is to stand, which ``image_table.py`` draws, or that there is none."""
    if not (PUBLISHED / IMAGE_TABLE).exists():
        return "There is no table yet; `vergence bench image` makes it."
    return "{{ image chart }}\n\nTable and settings: [Image methods side by side](images.md)."


def table(papers: Sequence[Paper], results: Mapping[str, Result]) -> str:
    lines = ["| key | parity | mechanism | real data |", "|---|---|---|---|"]
    for paper in papers:
        result = results.get(paper.key, {})
        shown = [_parity(result), _mechanism(result), _real_data(result)]
        lines.append(f"| `{paper.key}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def missing(papers: Sequence[Paper], results: Mapping[str, Result]) -> Iterator[str]:
    """Yield for each kind of proof the papers that have none yet."""
    there = {
        "parity": lambda result: result.get("parity"),
        "mechanism": lambda result: result.get("mechanism"),
        "real data": lambda result: any(with_real_data(result)),
    }
    for kind, found in there.items():
        if without := [f"`{paper.key}`" for paper in papers if not found(results.get(paper.key, {}))]:
            yield f"No {kind} yet: {', '.join(without)}."


def reasons(key: str, result: Result) -> Iterator[str]:
    """Yield why a paper falls short, a line each: in its world, and on real data."""
    if (world := result.get("mechanism")) and not world["clear"]:
        yield f"`{key}`, mechanism: not clear of {unbeaten(world)}. {_cell(world['world'])}"
    for one in with_real_data(result):
        if not ahead(one):
            note = one.get("note") or f"Not clear of {unbeaten(one)}."
            yield f"`{key}`, {data_name(one['source'])}: {_cell(note)}"


def near(parity: Result) -> bool:
    share = parity.get("max_rel")
    return (parity["max_abs"] if share is None else share) <= NEAR


def rivals(comparison: Result) -> dict[str, Any]:
    """Return the margins over all ablations and baselines."""
    margins = comparison.get("margins") or {}
    names = comparison.get("rivals") or [name for name in margins if name not in NO_RIVALS]
    return {name: margins[name] for name in names if name in margins}


def ahead(comparison: Result) -> bool:
    """Say whether the paper's arm is clear of every rival; in a shared table, of the untrained encoder.

    There, one seed makes nothing clear.
    """
    found = rivals(comparison)
    if comparison.get("shared"):
        if len(comparison["seeds"]) == 1:
            return False
        found = {UNTRAINED: untrained_margin(comparison)}
    return bool(found) and all(margin["low"] > 0 for margin in found.values())


def unbeaten(comparison: Result) -> str:
    names = [name for name, margin in rivals(comparison).items() if margin["low"] <= 0]
    return ", ".join(f"'{_cell(name)}'" for name in names) or "anything: it has too few seeds"


def untrained_margin(comparison: Result) -> Any:
    return (comparison.get("margins") or {}).get("untrained")


def _parity(result: Result) -> str:
    parity = result.get("parity")
    return f"{YES if near(parity) else NO} {marks(result)['parity']}, {parity['kind']}" if parity else ""


def _mechanism(result: Result) -> str:
    world = result.get("mechanism")
    return f"{YES if world['clear'] else NO} {marks(result)['mechanism']}" if world else ""


def _real_data(result: Result) -> str:
    lines = []
    for one in with_real_data(result):
        if one.get("shared"):
            lines.append(f"{YES if ahead(one) else NO} {marks({'also': [one]})['real data']}")
            continue
        plain = one.get("less_is_better", False)
        found = rivals(one)
        said = f"{data_name(one['source'])} {_number(one['arms'][PAPER]['mean'], plain)}"
        if found:
            nearest = min(found, key=lambda name: float(found[name]["mean"]))
            rival = one["arms"].get(nearest)
            beside = [f"{_cell(nearest)} {_number(rival['mean'], plain)}"] if rival else []
            if one.get("untrained"):
                beside.append(f"untrained {_number(one['untrained']['mean'], plain)}")
            said += f" ({', '.join(beside)})"
        lines.append(f"{YES if ahead(one) else NO if found else ''} {said}".strip())
    return "<br>".join(lines)


def _number(value: float, plain: bool) -> str:
    return f"{value:.3g}" if plain else f"{100 * value:.1f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")
