"""The studio's server: its page, and the routes under ``/studio/`` that the page's script asks."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from vergence.core.errors import BadInput, VergenceError
from vergence.studio import contrast
from vergence.studio.cluster_names import cluster_names
from vergence.studio.finding import find
from vergence.studio.linked_routes import linked_routes
from vergence.studio.requests import (
    Answer,
    Malformed,
    download,
    getter,
    number,
    or_none,
    packed,
    poster,
    query_of,
    row_of,
    text,
    whole,
    wholes,
)
from vergence.studio.selection import write_mask
from vergence.studio.selection_routes import selection_routes
from vergence.studio.session import Session, as_uri

_STATIC = Path(__file__).parent / "static"
STATIC = {path.name: path for path in _STATIC.iterdir() if path.suffix in (".js", ".css")}
_PAGE = (_STATIC / "page.html").read_text(encoding="utf-8")
_KINDS = {".js": "text/javascript", ".css": "text/css"}
_EXAMPLES = 8  # pictures of a cluster
_COMPARED = 6  # of a side in a cluster
_ROWS = 40  # clusters of a comparison that are shown
_SIDE = 288  # pixels of a heat map


def application(session: Session) -> Starlette:
    """Return a server of one store's page and data, without its guard."""
    return Starlette(
        routes=routes(session),
        exception_handlers={VergenceError: _refused, HTTPException: _missing},
    )


def _refused(request: Request, error: Exception) -> Response:
    return Answer({"error": str(error)}, 422 if isinstance(error, Malformed) else 400)


def _missing(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return Answer({"error": "There is no such page."}, status)


def routes(session: Session) -> list[Route]:
    """Return every address that is answered."""

    def get(path: str, work: Callable[[Session, Request], Any]) -> Route:
        return Route(path, getter(session, work), methods=["GET"])

    def post(path: str, work: Callable[..., Any], **kinds: Callable[[Any], bool]) -> Route:
        return Route(path, poster(session, work, **kinds), methods=["POST"])

    async def search(request: Request) -> Response:
        raw = await request.body()
        return Answer(await run_in_threadpool(_search, session, raw))

    return [
        get("/", page),
        get("/studio/static/{name}", _static),
        get("/studio/state", _state),
        get("/studio/map", _map),
        get("/studio/colour", _colour),
        get("/studio/card/{row}", lambda s, r: s.cards([row_of(r)])[0]),
        get("/studio/point/{row}", lambda s, r: s.point(row_of(r))),
        get("/studio/original/{row}", lambda s, r: s.originals.describe(row_of(r))),
        get("/studio/pixels/{row}", _pixels),
        post("/studio/find", _find, query=text),
        Route("/studio/search", search, methods=["POST"]),
        get("/studio/why", lambda s, r: heat(s, *query_of(r, "first", "second"))),
        post("/studio/duplicates", _duplicates, by=text, threshold=or_none(number)),
        get("/studio/groups", _group),
        post("/studio/decide", _decide, rows=wholes, verdict=text),
        post("/studio/keep-first", _keep_first, number=or_none(whole)),
        get("/studio/drop.txt", lambda s, _: download(s.review.text(), "drop.txt")),
        get("/studio/decisions.csv", lambda s, _: download(s.review.table(), "decisions.csv", "text/csv")),
        get("/studio/clusters", lambda s, _: cluster_cards(s)),
        get("/studio/names", lambda s, _: {"names": cluster_names(s)}),
        post("/studio/divide", _divide, k=or_none(whole)),
        post("/studio/name", _name, cluster=whole, name=text),
        get("/studio/sides", _sides),
        get("/studio/compare", lambda s, r: comparison(s, *query_of(r, "column", "first", "second"))),
        *selection_routes(get, post),
        *linked_routes(post),
    ]


def page(session: Session, request: Request | None = None) -> HTMLResponse:
    """Return the page before its script has drawn anything; what comes from the store is escaped."""
    title = escape(session.store.path.name)
    facts = f"{len(session.store):,} samples, {session.store.width(session.column)} values each"
    words = _PAGE.replace("{{title}}", title).replace("{{facts}}", facts)
    return HTMLResponse(words, headers={"cache-control": "no-store"})


def _static(session: Session, request: Request) -> Response:
    path = STATIC.get(request.path_params["name"])
    if path is None:
        return Answer({"error": "There is no such file."}, 404)
    return FileResponse(path, media_type=_KINDS[path.suffix], headers={"cache-control": "no-cache"})


def _state(session: Session, request: Request) -> dict[str, Any]:
    if "drawn" in request.query_params:
        session.drawn.set()
    return session.state()


def _map(session: Session, request: Request) -> Response:
    points, how, stage = session.projection.now
    return packed({"how": how, "stage": stage}, points)


def _colour(session: Session, request: Request) -> Response:
    by = request.query_params.get("by", "")
    names = session.columns()
    if not by and not names:  # nothing to tell rows apart by
        return packed({"legend": None}, np.full(len(session.store), 255, np.uint8))
    codes, legend = session.colour(by or names[0])
    return packed({"legend": legend.plain()}, codes)


def _pixels(session: Session, request: Request) -> Response:
    raw = session.originals.encoded(row_of(request))
    kind = "image/png" if raw.startswith(b"\x89PNG") else "image/jpeg"
    return Response(raw, media_type=kind, headers={"cache-control": "no-store"})


def _search(session: Session, raw: bytes) -> dict[str, Any]:
    from vergence.studio.encoder_session import picture

    pixels = picture(raw)
    if (line := session.encoder.missing) is not None:
        raise BadInput(line)
    return {"near": session.alike(session.encoder.vector(pixels))}


def _find(session: Session, query: str) -> Response:
    """Return what a query means, how many rows it has found and the first of them, then all as a mask."""
    result = find(session.store, query)
    first = int(result.rows[0]) if len(result.rows) else -1
    about = {"kind": result.kind, "count": len(result.rows), "row": first}
    return packed(about, write_mask(result.rows, len(session.store)))


def _duplicates(session: Session, by: str, threshold: float | None) -> dict[str, Any]:
    """Look for near-duplicates, and say in one sentence what was found."""
    n, review = len(session.store), session.review
    with session.busy(f"Comparing {n:,} samples, each with each"), session.reviewing:
        review.find(by, threshold if by == "cosine" else None)  # type: ignore[arg-type]  # find checks it
    rest = f" Of the pairs, the {review.left_out:,} least alike are left out." if review.left_out else ""
    by_chance = "" if review.chance is None else f", about {review.chance:.1f} of them by chance"
    return {
        "line": f"{review.pairs:,} pairs{by_chance}, in {len(review.groups):,} groups around one sample "
        f"each; if only that one stayed, {review.surplus:,} of {n:,} samples would go.{rest}"
    }


def _group(session: Session, request: Request) -> dict[str, Any]:
    word = request.query_params.get("number", "0")
    if not (word.isascii() and word.isdecimal() and len(word) < 12):
        raise Malformed(f"A group is a number; got {word}.")
    return review_state(session, int(word))


def _decide(session: Session, rows: list[int], verdict: str) -> dict[str, Any]:
    with session.reviewing:
        session.review.decide(rows, verdict)
    return {"decided": session.review.decided, "dropped": len(session.review.dropped)}


def _keep_first(session: Session, number: int | None) -> dict[str, Any]:
    with session.reviewing:
        return {"groups": session.review.keep_first(number)}


def _divide(session: Session, k: int | None) -> dict[str, Any]:
    if k is not None and not 0 <= k <= len(session.store):
        raise BadInput(f"The number of clusters is from 1 to {len(session.store):,}, or 0; got {k}.")
    with session.busy(f"Dividing {len(session.store):,} samples into clusters"), session.dividing:
        session.groups.find(k or None)
    return {"line": f"{len(session.groups)} clusters."}


def _name(session: Session, cluster: int, name: str) -> dict[str, Any]:
    with session.dividing:
        session.groups.rename(cluster, name)
    return {"name": session.groups.name(cluster)}


def review_state(session: Session, number: int) -> dict[str, Any]:
    """Return how far the review of near-duplicates has come, and one group with its pictures."""
    review = session.review
    state: dict[str, Any] = {
        "searched": review.searched,
        "groups": len(review.groups),
        "pairs": review.pairs,
        "decided": review.decided,
        "dropped": len(review.dropped),
    }
    if review.groups:
        group = review.group(number)
        state["group"] = {**group, "cards": session.cards(group["rows"])}
    return state


def cluster_cards(session: Session) -> dict[str, Any]:
    """Return every cluster with its name and most typical members; none while they are not known yet."""
    groups = session.groups
    if groups.of is None:
        return {"clusters": []}
    rows = groups.examples(_EXAMPLES)
    cards = iter(session.cards(np.concatenate(rows)) if len(rows) else [])
    return {
        "clusters": [
            {
                "cluster": c,
                "name": groups.names.get(c, ""),
                "usual": f"cluster {c + 1}",
                "size": size,
                "cards": [next(cards) for _ in rows[c]],
            }
            for c, size in enumerate(groups.sizes.tolist())
        ]
    }


def _sides(session: Session, request: Request) -> dict[str, Any]:
    """Return the columns that divide the store, and the sides that one (the first by default) gives."""
    columns = [name for name in session.columns() if name != session.by_cluster]
    column = request.query_params.get("column") or (columns[0] if columns else "")
    sides = contrast.sides(session.store, column) if columns else []
    named = [[name, session.shown(name)] for name in columns]
    return {"columns": named, "column": column, "sides": sides, "rest": contrast.REST}


def comparison(session: Session, column: str, first: str, second: str) -> dict[str, Any]:
    """Return two sides of a store compared, cluster by cluster, the most uneven first.

    Raises:
        BadInput: If a side is unknown or empty, or the clusters are not known yet.
    """
    groups = session.groups
    clusters = groups.of
    if clusters is None:
        raise BadInput("The clusters are still being found: ask again in a moment.")
    rows = contrast.rows_of(session.store, column, first, second)
    contrasted = contrast.contrast(session.store.directions(session.column), clusters, *rows)
    shares, counts = contrasted.shares, contrasted.counts
    order = sorted(range(len(groups)), key=lambda c: -abs(float(shares[0, c] - shares[1, c])))

    def typical(side: np.ndarray, cluster: int) -> list[dict[str, Any]]:
        members = side[clusters[side] == cluster]
        return session.cards(groups.typical(members, _COMPARED)) if len(members) else []

    return {
        "by": session.shown(column),
        "sides": [first, second],
        "rows": [len(side) for side in rows],
        "clusters": len(groups),
        "uneven": [int((contrasted.verdicts == side).sum()) for side in (0, 1)],
        "cosine": round(contrasted.cosine, 3),
        "lines": [
            {
                "name": groups.name(c),
                "shares": [round(float(share), 4) for share in shares[:, c]],
                "counts": counts[:, c].tolist(),
                "verdict": int(contrasted.verdicts[c]),
                "typical": [typical(side, c) for side in rows],
            }
            for c in order[:_ROWS]
        ],
    }


def heat(session: Session, first: str, second: str) -> dict[str, Any]:
    """Return two rows, by id, with what each place of their pictures adds to their likeness."""
    from vergence.studio.encoder_session import picture
    from vergence.use.simvis import overlay_heat

    rows = [session.store.find(name) for name in (first, second)]
    pictures = [picture(session.picture_of(row)) for row in rows]
    score, *maps = session.encoder.why(*pictures)
    most = max(float(np.abs(part).max()) for part in maps)
    lit = [
        as_uri(_png(overlay_heat(_enlarged(p), _stretched(part), most)))
        for p, part in zip(pictures, maps, strict=True)
    ]
    stored = float(np.prod([session.store.directions(session.column)[row] for row in rows], axis=0).sum())
    return {"score": round(score, 4), "stored": round(stored, 4), "cards": session.cards(rows), "lit": lit}


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Return a picture's central square, as the encoder sees it, at the size of a heat map."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


def _stretched(heat: np.ndarray) -> np.ndarray:
    image = Image.fromarray(heat.astype(np.float32))
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
