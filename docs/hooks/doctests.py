"""Show the examples that stand at the end of docstrings as examples."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Put each run of ``>>>`` lines under a heading, as the Google style wants it."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = headed(obj.docstring.value)


def headed(text: str) -> str:
    """Indent the lines from each ``>>>`` to the next blank one under "Examples:"."""

    def under(found: re.Match[str]) -> str:
        return "Examples:\n" + "\n".join(f"    {line}" for line in found[0].splitlines())

    return re.sub(r"(?m)^>>> (?:.+\n?)+", under, text)
