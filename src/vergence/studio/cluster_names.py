"""Names of clusters on the map: those that people give, else a typical class or words, and where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vergence.studio.against_rest import words_of
from vergence.studio.colours import decoded
from vergence.studio.projection import NOWHERE

if TYPE_CHECKING:
    from vergence.studio.session import Session

_MOST = 100  # clusters that are named, the first (and largest) ones
_GRID, _BLUR = 32, 2  # cells of a side, and how many of them around say how full one is of a cluster
_ROWS = 200  # of a cluster whose words are read
_SHARE, _LIFT = (
    0.25,
    2.0,
)  # least share of a cluster's rows with a typical word, and how much more than of others
_MAJORITY = 0.5  # share of a cluster's rows of one class that makes it typical


def cluster_names(session: Session) -> list[dict[str, Any]]:
    """Return the clusters with their names and places on the map, none where columns draw it.

    ``name`` is what people have called it, "" if nothing; ``typical`` the class of most of its rows, else one
    or two words that its texts (or ids) have more often than those of other clusters, else ""; ``x`` and
    ``y`` are in steps of the map.
    """
    groups = session.groups
    if groups.of is None or session.axes is not None or not len(groups):
        return []
    k, of = min(len(groups), _MOST), groups.of
    places = _places(session.projection.now[0], of, k)
    typical = session.store.once(f"typical of {session.mark} {groups.divided}", lambda: _typical(session, k))
    return [
        {
            "cluster": c,
            "name": groups.names.get(c, ""),
            "usual": f"cluster {c + 1}",
            "typical": typical[c],
            "x": int(places[c, 0]),
            "y": int(places[c, 1]),
        }
        for c in range(k)
        if places[c, 0] >= 0
    ]


def _places(points: np.ndarray, of: np.ndarray, k: int) -> np.ndarray:
    """Return the mean ``(k, 2)`` of every cluster's rows where they lie closest, -1 for one without any."""
    from scipy.ndimage import gaussian_filter

    rows = np.flatnonzero((of >= 0) & (of < k) & (points[:, 0] < NOWHERE))
    cluster, x = of[rows], points[rows].astype(np.int64)
    cell = x * _GRID // NOWHERE
    number = (cluster * _GRID + cell[:, 1]) * _GRID + cell[:, 0]
    counts = np.bincount(number, minlength=k * _GRID**2).reshape(k, _GRID, _GRID).astype(np.float32)
    fullest = gaussian_filter(counts, (0, _BLUR, _BLUR), mode="constant").reshape(k, -1).argmax(1)
    middle = np.stack([fullest % _GRID, fullest // _GRID], axis=1)
    inside = (np.abs(cell - middle[cluster]) <= _BLUR).all(1)
    count = np.bincount(cluster[inside], minlength=k)
    sums = np.stack([np.bincount(cluster[inside], x[inside, d], minlength=k) for d in (0, 1)], axis=1)
    return np.where(count[:, None] > 0, np.round(sums / np.maximum(count, 1)[:, None]), -1).astype(np.int64)


def _typical(session: Session, k: int) -> list[str]:
    of = session.groups.of
    assert of is not None
    names = session.columns()
    by_class = (
        _classes(decoded(session.store, names[0]), of, k) if names[:1] in (["class"], ["label"]) else [""] * k
    )
    if all(by_class):
        return by_class
    rows = np.concatenate(
        [np.flatnonzero(of == c)[:: max(1, (of == c).sum() // _ROWS)][:_ROWS] for c in range(k)]
    )
    text = session.text or "id"
    words = _words(session.store.take(rows, [text])[text].combine_chunks(), of[rows], k)
    return [first or second for first, second in zip(by_class, words, strict=True)]


def _classes(values: pa.Array, of: np.ndarray, k: int) -> list[str]:
    coded = values.dictionary_encode()
    which = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    rows, n = np.flatnonzero((which >= 0) & (of >= 0) & (of < k)), len(coded.dictionary)
    if not n:
        return [""] * k
    counts = np.bincount(of[rows] * n + which[rows], minlength=k * n).reshape(k, n)
    sizes = np.bincount(of[of >= 0], minlength=k)[:k]
    return [
        str(coded.dictionary[int(line.argmax())].as_py()) if line.max() > _MAJORITY * size else ""
        for line, size in zip(counts, sizes, strict=True)
    ]


def _words(texts: pa.Array, of: np.ndarray, k: int) -> list[str]:
    words, which, row = words_of(texts)
    n = len(words)
    if not n:
        return [""] * k
    counts = np.bincount(of[row] * n + which, minlength=k * n).reshape(k, n)
    sizes = np.bincount(of, minlength=k)
    share = counts / np.maximum(sizes, 1)[:, None]
    others = (counts.sum(0) - counts) / np.maximum(len(of) - sizes, 1)[:, None]
    length = np.char.str_len(np.array(words, str))
    good = (share >= _SHARE) & (share >= _LIFT * others) & (length > 2)
    score = np.where(good, share - others + 1e-6 * length, 0)  # of equal words the longest
    best = np.argsort(-score, axis=1, kind="stable")[:, :2]
    return [", ".join(str(words[w]) for w in best[c] if score[c, w] > 0) for c in range(k)]
