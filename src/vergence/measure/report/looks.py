"""What a store shows without being asked: neighbours, clusters, near-duplicates and a map, as pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vergence.data.store import Store
from vergence.measure.report.figures import palette, scatter
from vergence.use.clusters import Clusters
from vergence.use.maps import layout
from vergence.use.search import duplicates, search

QUERIES, NEIGHBOURS, MEMBERS, PAIRS = 8, 9, 10, 12
COLOURS = 20  # groups that get a colour of their own
_THRESHOLDS = (0.95, 0.98, 0.99, 0.995, 0.999)
_ON_MAP = 48  # pixels of the pictures that the map shows when pointed at


@dataclass(frozen=True, slots=True)
class Picture:
    """One sample as the page shows it.

    Args:
        name: Its id.
        group: Its class, or None.
        uri: The picture as a data URI, or None for a sample that is not one.
        small: Whether it is so small that its pixels should stay sharp when enlarged.
    """

    name: str
    group: str | None
    uri: str | None
    small: bool


def pictures(store: Store, rows: Sequence[int] | np.ndarray) -> list[Picture]:
    """Return the samples in these rows as pictures."""
    if not len(rows):
        return []
    found = store.take(rows, ["id", "class", "label", "thumbnail"]).to_pylist()
    return [
        Picture(row["id"], _class(row), data_uri(row["thumbnail"]), _is_small(row["thumbnail"]))
        for row in found
    ]


def data_uri(file: bytes | None) -> str | None:
    """Return a PNG, WebP or JPEG file as a URI that carries the picture itself."""
    if not file:
        return None
    kind = "png" if file.startswith(b"\x89PNG") else "webp" if file[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def neighbours(store: Store, clusters: Clusters, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a few samples, from each class or cluster in turn, each with its nearest neighbours."""
    random = np.random.default_rng(seed)
    queries: list[int] = []
    groups = clusters.of if store.labels is None else store.labels
    while len(queries) < min(QUERIES, len(store)):
        for group in np.unique(groups):
            left = np.setdiff1d(np.flatnonzero(groups == group), queries)
            if len(left) and len(queries) < QUERIES:
                queries.append(int(random.choice(left)))
    shown = []
    for row in queries:
        hits = search(store, row, k=NEIGHBOURS)
        rows = hits.rows[0][hits.rows[0] >= 0]
        found = list(zip(pictures(store, rows), hits.scores[0].tolist(), strict=False))
        shown.append({"query": pictures(store, [row])[0], "found": found})
    return shown


def cluster_cards(store: Store, clusters: Clusters) -> list[dict[str, Any]]:
    """Return each cluster with its typical members and, where there are labels, what it is made of."""
    groups = [_class(row) for row in store.read(["class", "label"]).to_pylist()]
    order = {name: i for i, name in enumerate(legend(store))}
    cards = []
    for c in range(len(clusters)):
        members = clusters.members(c)
        count = Counter(groups[i] for i in members if groups[i] is not None)
        parts = [(name, n / len(members), order.get(name, -1)) for name, n in count.most_common(5)]
        cards.append({"size": len(members), "pictures": pictures(store, members[:MEMBERS]), "parts": parts})
    return cards


def copies(store: Store) -> dict[str, Any]:
    """Return the most similar pairs, above a threshold that rises while too many samples pass it."""
    for threshold in _THRESHOLDS:
        found = duplicates(store, threshold=threshold)
        if found.total <= max(20, len(store) // 20):
            break
    best = found.pairs[:PAIRS]
    shown = pictures(store, best.reshape(-1))
    pairs = list(zip(shown[::2], shown[1::2], found.similarity[:PAIRS].tolist(), strict=True))
    return {
        "threshold": threshold,
        "total": found.total,
        "groups": len(found.groups),
        "surplus": len(found.surplus),
        "pairs": pairs,
    }


def legend(store: Store) -> list[str]:
    """Return the classes that get a colour, in their own order; the most frequent when they are many."""
    rows = store.read(["class", "label"], where="label IS NOT NULL").to_pylist()
    count = Counter((row["label"], _class(row) or "") for row in rows)
    return [name for _, name in sorted(key for key, _ in count.most_common(COLOURS))]


def chart(store: Store, clusters: Clusters) -> dict[str, Any]:
    """Return the map: its drawing, what colours it, and a small picture a point."""
    plan = layout(store)
    rows = store.take(plan.rows, ["id", "class", "label", "thumbnail"]).to_pylist()
    classes = legend(store)
    number = {name: i for i, name in enumerate(classes)}
    groupings: list[tuple[str, list[int], list[str]]] = []
    if classes:
        groupings.append(("class", [number.get(_class(row) or "", -1) for row in rows], classes))
    of = [int(c) if c < COLOURS else -1 for c in clusters.of[plan.rows]]
    groupings.append(("cluster", of, [str(i + 1) for i in range(min(len(clusters), COLOURS))]))
    return {
        "svg": scatter(plan.points, [g[1] for g in groupings], [row["id"] for row in rows]),
        "how": plan.how,
        "shown": len(plan.rows),
        "groupings": [(name, names) for name, _, names in groupings],
        "palettes": palette(max(len(names) for _, _, names in groupings)),
        "points": [[row["id"], _class(row), _tiny(row["thumbnail"])] for row in rows],
    }


def _class(row: dict[str, Any]) -> str | None:
    if row["class"] is not None:
        return row["class"]
    return None if row["label"] is None else str(row["label"])


def _is_small(file: bytes | None) -> bool:
    return file is not None and max(Image.open(io.BytesIO(file)).size) <= 40


def _tiny(file: bytes | None) -> str | None:
    if file is None or len(file) < 1_000:
        return data_uri(file)
    image, out = Image.open(io.BytesIO(file)), io.BytesIO()
    image.thumbnail((_ON_MAP, _ON_MAP))
    image.save(out, "WEBP", quality=70)
    return data_uri(out.getvalue())
