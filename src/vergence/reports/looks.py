"""Views of a store in a report: neighbours, clusters, near-duplicates and a map, as pictures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.reports.figures import scatter
from vergence.reports.subject import Subject, class_of
from vergence.use.copies import duplicates
from vergence.use.maps import layout
from vergence.use.nearest import search

QUERIES, MEMBERS, PAIRS = 8, 10, 12


def neighbours(subject: Subject, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a few samples, from each class or cluster in turn, each with its nearest neighbours."""
    random, store = np.random.default_rng(seed), subject.store
    queries: list[int] = []
    groups = subject.parts.of if store.labels is None else store.labels
    while len(queries) < min(QUERIES, len(store)):
        for group in np.unique(groups):
            left = np.setdiff1d(np.flatnonzero(groups == group), queries)
            if len(left) and len(queries) < QUERIES:
                queries.append(int(random.choice(left)))
    shown = []
    for row in queries:
        hits = search(store, row, k=subject.around)
        rows = hits.rows[0][hits.rows[0] >= 0]
        scores = hits.scores[0][: len(rows)].tolist()
        near = list(zip(subject.pictures(rows), scores, subject.bonds(row, rows), strict=True))
        shown.append({"query": subject.pictures([row])[0], "found": near})
    return shown


def cluster_cards(subject: Subject) -> list[dict[str, Any]]:
    """Return each cluster with its typical members and, where there are labels, what it is made of."""
    clusters = subject.parts
    groups = [class_of(row) for row in subject.store.read(["class", "label"]).to_pylist()]
    order = {name: i for i, name in enumerate(subject.classes)}
    cards = []
    for c in range(len(clusters)):
        members = clusters.members(c)
        count = Counter(groups[i] for i in members if groups[i] is not None)
        parts = [(name, n / len(members), order.get(name, -1)) for name, n in count.most_common(5)]
        shown = subject.pictures(members[:MEMBERS])
        cards.append({"size": len(members), "pictures": shown, "parts": parts})
    return cards


def copies(subject: Subject) -> dict[str, Any]:
    """Return the surest pairs, as ``vergence duplicates`` finds them, or why none can be told."""
    try:
        copies = duplicates(subject.store)
    except BadInput as error:
        return {"total": 0, "untold": str(error)}
    shown = subject.pictures(copies.pairs[:PAIRS].reshape(-1))
    pairs = list(zip(shown[::2], shown[1::2], copies.similarity[:PAIRS].tolist(), strict=True))
    return {
        "total": copies.total,
        "chance": copies.chance,
        "groups": len(copies.groups),
        "surplus": len(copies.surplus),
        "pairs": pairs,
    }


def chart(subject: Subject) -> dict[str, Any]:
    """Return the map: its drawing, what colours it, and what each point shows when pointed at.

    Raises:
        NoSpread: If all vectors are alike.
    """
    plan = layout(subject.store)
    rows = subject.store.take(plan.rows, ["id", "class", "label"]).to_pylist()
    groups = [of[plan.rows].tolist() for _, of, _ in subject.groupings]
    points = zip(rows, subject.on_map(plan.rows), subject.facts(plan.rows), strict=True)
    return {
        "svg": scatter(plan.points, groups, [row["id"] for row in rows], links=subject.links(plan.rows)),
        "how": plan.how,
        "shown": len(plan.rows),
        "groupings": [(name, names) for name, _, names in subject.groupings],
        "palettes": subject.palette,
        "points": [[row["id"], class_of(row), uri, fact] for row, uri, fact in points],
    }
