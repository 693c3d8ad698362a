"""The library's table of contents: one row a paper, one file a family. Imports nothing heavy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module

from vergence.catalog.paper import Paper
from vergence.core.errors import BadInput, unknown

_FAMILIES = (
    *("image", "video", "points", "volume", "graph", "events", "tables", "text"),
    *("edges", "keypoints", "objects", "few-labels", "retrieval", "curation", "analysis", "references"),
)
FAMILIES: dict[str, tuple[Paper, ...]] = {
    family: import_module(f"{__name__}.{family.replace('-', '_')}").PAPERS for family in _FAMILIES
}
PAPERS: tuple[Paper, ...] = tuple(paper for rows in FAMILIES.values() for paper in rows)
_BY_KEY = {paper.key: paper for paper in PAPERS}


def find(key: str) -> Paper:
    """Return the row of ``key``.

    Raises:
        BadInput: If there is none; the nearest key is named.
    """
    paper = _BY_KEY.get(key) or _BY_KEY.get(key.lower().replace("_", "-"))
    if paper is None:
        near = difflib.get_close_matches(key, _BY_KEY, n=2, cutoff=0.5)
        raise (
            unknown("paper", key, near)
            if near
            else BadInput(f"Unknown paper '{key}'; list them with: vergence papers")
        )
    return paper


def papers(family: str | None = None, *, modality: str | None = None, task: str | None = None) -> list[Paper]:
    """Return the rows of the catalog that are of a family, a modality and a task, where these are given.

    >>> [paper.key for paper in papers("volume")]
    ['lvmmed', 'alice', 'jointssl', 'mrm', 'globallocalcl']
    >>> [paper.key for paper in papers(modality="text", task="clustering")]
    ['cpp']

    Args:
        family: File of the catalog, such as "graph" or "few-labels".
        modality: What the data are, such as "image" or "any".
        task: What it is for, such as "keypoints".

    Raises:
        BadInput: If no paper is of that family, modality or task.
    """
    _known("family", family, FAMILIES)
    _known("modality", modality, {paper.modality for paper in PAPERS})
    _known("task", task, {paper.task for paper in PAPERS})
    return [
        paper
        for paper in (PAPERS if family is None else FAMILIES[family])
        if modality in (None, paper.modality) and task in (None, paper.task)
    ]


def _known(what: str, name: str | None, names: Iterable[str]) -> None:
    if name is not None and name not in names:
        raise unknown(what, name, names)
