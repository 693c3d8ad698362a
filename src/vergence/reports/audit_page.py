"""An audit on one page, and as lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vergence.core.errors import escaped
from vergence.engine.files import write_text
from vergence.evaluate.seeraudit import Audit, Gap
from vergence.reports.figures import intervals

HERE = Path(__file__).parent


def as_text(audit: Audit) -> str:
    """Lay out the gaps of an audit, the clearest first, for a terminal."""
    lines = [
        f"{gap.measure:32}{audit.overall[gap.measure]!s:>20}  {verdict(gap)}"
        for gap in sorted(audit.gaps, key=lambda one: not one.found)
    ]
    if audit.few:
        lines.append(f"Too few to be compared: {', '.join(audit.few)}.")
    return "\n".join([*map(escaped, lines), audit.limits])


def write_audit(path: str | Path, audit: Audit, *, encoder: str, data: str, groups: str) -> Path:
    """Write an audit as one self-contained page.

    Args:
        path: Of the page.
        audit: What was found.
        encoder: Its name, for the heading.
        data: Its name.
        groups: Where they come from.
    """
    pages = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=True)
    text = pages.get_template("audit.html.j2").render(
        audit=audit,
        encoder=encoder,
        data=data,
        groups=groups,
        style=(HERE / "report.css").read_text(),
        cards=[(gap, verdict(gap), _chart(gap)) for gap in audit.gaps],
    )
    write_text(Path(path), text)
    return Path(path)


def verdict(gap: Gap) -> str:
    """Say in a sentence what a gap means."""
    if gap.gap is None:
        return "Too few samples of two groups to compare them."
    if gap.highest == gap.lowest:
        return "The same for all groups."
    if gap.found:
        return f"Higher for {gap.highest} than for {gap.lowest}, by {gap.gap} points."
    return f"No gap beyond chance between {gap.highest} and {gap.lowest} ({gap.gap} points)."


def _chart(gap: Gap) -> str:
    rows = [
        (f"{name} ({score.n:,})", score.value, score.low, score.high, 0)
        for name, score in sorted(gap.by_group.items(), key=lambda pair: -pair[1].value)
    ]
    return intervals(rows, label=f"{gap.measure} by group")
