"""The pages of ``search``, ``duplicates``, ``clusters`` and ``curate``: what was found, in pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vergence.cli.html_page import Figure, write_page
from vergence.core.modality import find_modality
from vergence.store.table import Store
from vergence.use.clustering import Clusters
from vergence.use.nearest import query_source

if TYPE_CHECKING:
    from vergence.use.curation import Curation
    from vergence.use.nearest import Hits
    from vergence.use.pairs import Duplicates

_GROUPS = 50  # of duplicates that a page shows
_ROWS = 24  # of one group or cluster


def search_page(out: str, store: Store, query: str | int, hits: Hits) -> None:
    """Write what was asked for, a row or id of the store or what a file holds, and what is like it."""
    if hits.queries is not None:
        source = query_source(query)
        draw = find_modality(source.modality).load("thumbnail")
        samples = [source.names.index(name) for name in hits.queries[:_ROWS]]
        asked_for: list[Figure] = [
            (draw(source.small_sample(i), 192), name) for i, name in zip(samples, hits.queries, strict=False)
        ]
    else:
        asked_for = figures(store, [query if isinstance(query, int) else store.find(query)])
    lead = f"The samples of {store.path} most like it, the most alike first."
    if hits.recall is not None:
        lead += f" The index that was asked finds {hits.recall:.0%} of the true ten nearest."
    if len(hits) > len(asked_for):
        lead += f" The first {len(asked_for)} of {len(hits):,} that ask are shown."
    sections = []
    for figure, rows, scores in zip(asked_for, hits.rows, hits.scores, strict=False):
        near = figures(store, rows[rows >= 0], [f"{score:.3f}" for score in scores])
        sections += [("Asked for", [figure]), ("Found", near)]
    write_page(out, "Search", lead, sections, small=True)


def duplicates_page(out: str, store: Store, copies: Duplicates) -> None:
    """Write the groups of samples that are nearly the same, the largest first."""
    shown = copies.groups[:_GROUPS]
    rows = [(samples_text(len(group)), figures(store, group[:_ROWS])) for group in shown]
    lead = (
        f"{len(copies.groups):,} groups of nearly the same in {store.path}, "
        f"linked by {copies.total:,} pairs; {len(copies.surplus):,} samples could go."
    )
    if copies.chance is not None:
        lead += f" About {copies.chance:.1f} of the pairs are expected by chance."
    if copies.recall is not None:
        lead += f" About {copies.recall:.1%} of all such pairs were found."
    if len(copies.groups) > len(shown):
        lead += f" The largest {len(shown)} groups are shown."
    write_page(out, "Near-duplicates", lead, rows, small=True)


def clusters_page(out: str, store: Store, parts: Clusters) -> None:
    """Write the most typical samples of every cluster."""
    rows = []
    labels, names = store.labels, store.classes or []
    for i in range(len(parts)):
        members = parts.members(i)
        heading = f"Cluster {i}: {samples_text(len(members))}"
        if labels is not None and (known := labels[members][labels[members] >= 0]).size:
            label, count = Counter(known.tolist()).most_common(1)[0]
            name = names[label] if label < len(names) else str(label)
            heading += f", {count / len(known):.0%} of them {name}"
        rows.append((heading, figures(store, members[:_ROWS])))
    lead = (
        f"{len(parts)} clusters of {len(store):,} samples of {store.path}, silhouette "
        f"{parts.silhouette:.2f}. The most typical samples come first."
    )
    write_page(out, "Clusters", lead, rows, small=True)


def curated_page(out: str, store: Store, chosen: Curation) -> None:
    """Write examples of what was kept and what was left out of every cluster, the largest first."""
    clusters, kept, before, after = chosen.clusters, chosen.rows, chosen.before, chosen.after
    rows: list[tuple[str, Sequence[Figure]]] = []
    stays = np.zeros(len(store), np.bool_)
    stays[kept] = True
    for cluster in np.argsort(-before, kind="stable")[:_GROUPS].tolist():
        members = np.flatnonzero(clusters == cluster)
        heading = f"{after[cluster]:,} of {samples_text(before[cluster])} kept"
        rows.append((heading, figures(store, _some(members[stays[members]]))))
        if len(gone := members[~stays[members]]):
            rows.append(("left out of them", figures(store, _some(gone))))
    lead = f"{len(kept):,} of {len(store):,} samples of {store.path} are kept, from {len(before):,} clusters."
    if len(before) > _GROUPS:
        lead += f" The largest {_GROUPS} are shown."
    write_page(out, "Curated", lead, rows, small=True)


def figures(store: Store, rows: Sequence[int] | np.ndarray, lines: Sequence[str] = ()) -> list[Figure]:
    """Return rows as figures: the picture, where there is one, above a line, the id and the class."""
    records = store.take(rows, ["id", "class", "thumbnail"]).to_pylist()
    said = list(lines) + [""] * (len(records) - len(lines))
    return [
        (row["thumbnail"], "\n".join(word for word in (line, row["id"], row["class"]) if word))
        for row, line in zip(records, said, strict=False)
    ]


def _some(rows: np.ndarray) -> np.ndarray:
    """Return some of the rows from all over them."""
    return rows[:: max(1, -(-len(rows) // (_ROWS // 2)))]


def samples_text(count: int) -> str:
    return f"{count:,} sample{'' if count == 1 else 's'}"
