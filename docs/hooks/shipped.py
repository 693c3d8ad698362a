"""The table of the encoders that ship, from their cards."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from vergence.engine.shipped import card, shipped

MARK = "{{ shipped }}"


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


def table() -> str:
    """Return every encoder with its scores and those of its rivals: k-NN, five labels a class, mAP."""
    lines = []
    for name in shipped():
        known = card(name)
        data = list(known["scores"][name])
        measures = [(where, what) for where in data for what in known["scores"][name][where]]
        if not lines:
            lines = [
                "| encoder | " + " | ".join(f"{where}: {what}" for where, what in measures) + " |",
                "|---" * (len(measures) + 1) + "|",
            ]
        for who, scores in known["scores"].items():
            values = (scores[where][what] for where, what in measures)
            shown = " | ".join(f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for v in values)
            size = f" ({known['parameters'] / 1e6:.1f} million weights, {known['minutes']:.0f} minutes)"
            lines.append(f"| {f'**{who}**{size}' if who == name else who} | {shown} |")
    return "\n".join(lines)
