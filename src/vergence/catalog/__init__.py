"""The library's table of contents: one row a paper, one file a family. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

from vergence.catalog.paper import Paper
from vergence.core.errors import BadInput, nearest, unknown

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
    return _find(key, _BY_KEY, "vergence papers")


def find_trained(key: str) -> Paper:
    """Return the row of a paper that ``vergence learn KEY`` trains or fits.

    Raises:
        BadInput: If there is none of that key (the nearest one that can be trained is named), its code is
            still planned, or it is not trained.
    """
    if _row(key) is None:
        return _find(key, {paper.key: paper for paper in PAPERS if paper.trained}, "vergence learn --help")
    paper = find(key)
    if paper.code is None:
        raise BadInput(
            f"'{paper.key}' ({paper.title}) is planned: there is no code for it yet. "
            "What can be learned with: vergence learn --help"
        )
    if not paper.trained:
        module = paper.code.partition(":")[0]
        raise BadInput(f"'{paper.key}' ({paper.title}) is not something to train; it lives in {module}.")
    return paper


def _row(key: str) -> Paper | None:
    return _BY_KEY.get(key) or _BY_KEY.get(key.lower().replace("_", "-"))


def _find(key: str, known: Mapping[str, Paper], listing: str) -> Paper:
    """Return a row, or raise ``BadInput`` with the nearest of the ``known`` keys, else how to list them."""
    if (paper := _row(key)) is not None:
        return paper
    if near := nearest(key, known):
        raise unknown("paper", key, near)
    raise BadInput(f"Unknown paper '{key}'; list them with: {listing}")


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
