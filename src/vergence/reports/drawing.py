"""Layout of small graphs as pictures: distances on paper follow distances in the graph."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

SIDE = 200  # of a drawing, in its own units
_RIM = 16
_ROUNDS = 120


def stress_layout(edges: np.ndarray, nodes: int) -> np.ndarray:
    """Return places ``(n, 2)`` float64 in [0, 1] whose distances follow those along the edges.

    Stress majorisation (Gansner, Koren and North 2004) from classical scaling: pairs d steps apart weigh
    ``d ** -2``; pairs that no path joins count as a step further apart than the farthest that one does.

    Args:
        edges: ``(2, m)`` integers in ``0..n-1``; directions, doubles and loops do not matter.
        nodes: n, at least 1.
    """
    if nodes == 1:
        return np.full((1, 2), 0.5)
    adjacency = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(nodes, nodes)).tocsr()
    d = shortest_path(adjacency, directed=False, unweighted=True)
    d[np.isinf(d)] = d[np.isfinite(d)].max() + 1
    weight = 1 / np.maximum(d, 1) ** 2
    np.fill_diagonal(weight, 0)
    laplacian = np.diag(weight.sum(1)) - weight
    inverse = np.linalg.inv(laplacian + 1 / nodes) - 1 / nodes
    centred = -0.5 * (d**2 - (d**2).mean(0) - (d**2).mean(1)[:, None] + (d**2).mean())
    values, vectors = np.linalg.eigh(centred)
    top = np.argsort(values)[::-1][:2]
    places = np.pad(vectors[:, top] * np.sqrt(np.maximum(values[top], 0)), ((0, 0), (0, 2 - len(top))))
    places += np.random.default_rng(0).normal(0, 1e-2, places.shape)  # twins start at the same place
    for _ in range(_ROUNDS):
        apart = np.linalg.norm(places[:, None] - places, axis=-1)
        pull = -weight * d / np.maximum(apart, 1e-9)
        np.fill_diagonal(pull, 0)
        np.fill_diagonal(pull, -pull.sum(1))
        places = inverse @ pull @ places
    span = max(float(np.ptp(places, axis=0).max()), 1e-9)
    return 0.5 + (places - (places.max(0) + places.min(0)) / 2) / span


def drawing(edges: np.ndarray, colours: list[str], *, centre: int | None = None) -> bytes:
    """Return a graph as an SVG file.

    Args:
        edges: ``(2, m)``.
        colours: n colours of the nodes, as CSS writes them.
        centre: The node to ring, or None.
    """
    n = len(colours)
    places = np.round(_RIM + stress_layout(edges, n) * (SIDE - 2 * _RIM)).astype(int).tolist()
    dot = 22 if n <= 12 else 16 if n <= 30 else 11 if n <= 60 else 8
    pairs = np.unique(np.sort(edges, axis=0), axis=1).T.tolist()
    lines = "".join("M{} {}L{} {}".format(*places[a], *places[b]) for a, b in pairs if a != b)
    parts = [f'<path d="{lines}" stroke="#9298a8" stroke-width="{max(2, dot / 6):.0f}"/>']
    if centre is not None:
        x, y = places[centre]
        parts.append(f'<circle cx="{x}" cy="{y}" r="{dot * 0.85:.0f}" stroke="#6f84ff" stroke-width="5"/>')
    for colour in dict.fromkeys(colours):
        dots = "".join(f"M{x} {y}h0" for (x, y), own in zip(places, colours, strict=True) if own == colour)
        parts.append(f'<path d="{dots}" stroke="{colour}" stroke-width="{dot}" stroke-linecap="round"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" fill="none">'
    return f"{head}{''.join(parts)}</svg>".encode()


def ink(hue: int, step: int) -> str:
    """Return a colour of the page's palette that is seen on light and dark paper alike."""
    return f"oklch({0.62 + 0.1 * step:.2f} 0.16 {hue})"
