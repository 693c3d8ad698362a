"""Routes under ``/studio/`` that the page's own script asks."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool

from vergence.core.errors import BadInput, VergenceError
from vergence.studio.encoder_session import picture
from vergence.studio.session import Session, as_uri
from vergence.use.simvis import overlay_heat

STATIC = {path.name: path for path in (Path(__file__).parent / "static").iterdir()}
_KINDS = {".js": "text/javascript", ".css": "text/css"}
_EXAMPLES = 8  # pictures of a cluster
_SIDE = 288  # pixels of a heat map


class Answer(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which a request may hold, has no bytes in UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def application(session: Session) -> FastAPI:
    """Return a server of one store's data, without the page itself."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(routes(session), prefix="/studio")

    @app.exception_handler(VergenceError)
    def error_response(request: Request, error: VergenceError) -> JSONResponse:
        return Answer({"error": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def invalid_response(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return Answer({"error": f"{place}: {first['msg']}."}, 422)

    return app


def routes(session: Session) -> APIRouter:
    router = APIRouter(default_response_class=Answer)
    _map_routes(router, session)
    _original_routes(router, session)
    _search_routes(router, session)
    _review_routes(router, session)
    _cluster_routes(router, session)
    return router


def _map_routes(router: APIRouter, session: Session) -> None:
    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            return JSONResponse({"error": "There is no such file."}, 404)
        path = STATIC[name]
        return FileResponse(path, media_type=_KINDS[path.suffix], headers={"cache-control": "no-cache"})

    @router.get("/state")
    def state() -> dict[str, Any]:
        return session.state()

    @router.get("/map")
    def the_map() -> Response:
        points, how, stage = session.projection.now
        return _packed({"how": how, "stage": stage}, points)

    @router.get("/colour")
    def colour(by: str = "") -> Response:
        names = session.columns()
        if not by and not names:  # nothing to tell rows apart by
            return _packed({"legend": None}, np.full(len(session.store), 255, np.uint8))
        codes, legend = session.colour(by or names[0])
        return _packed({"legend": legend.plain()}, codes)

    @router.get("/card/{row}")
    def card(row: int) -> dict[str, Any]:
        return session.cards([row])[0]

    @router.get("/point/{row}")
    def point(row: int) -> dict[str, Any]:
        return session.point(row)


def _original_routes(router: APIRouter, session: Session) -> None:
    @router.get("/original/{row}")
    def original(row: int) -> dict[str, Any]:
        return session.originals.describe(row)

    @router.get("/pixels/{row}")
    def pixels(row: int) -> Response:
        raw = session.originals.encoded(row)
        kind = "image/png" if raw.startswith(b"\x89PNG") else "image/jpeg"
        return Response(raw, media_type=kind, headers={"cache-control": "no-store"})


def _search_routes(router: APIRouter, session: Session) -> None:
    @router.get("/find")
    def find(id: str) -> dict[str, int]:
        return {"row": session.find(id)}

    @router.post("/search")
    async def search(request: Request) -> dict[str, Any]:
        raw = await request.body()
        return await run_in_threadpool(_search, session, raw)

    @router.get("/why")
    def why(first: str, second: str) -> dict[str, Any]:
        return heat(session, first, second)


def _review_routes(router: APIRouter, session: Session) -> None:
    @router.get("/groups")
    def groups(number: int = 0) -> dict[str, Any]:
        return review_state(session, number)

    @router.post("/decide")
    def decide(rows: Annotated[list[int], Body()], verdict: Annotated[str, Body()]) -> dict[str, Any]:
        with session.reviewing:
            session.review.decide(rows, verdict)
        return {"decided": session.review.decided, "dropped": len(session.review.dropped)}

    @router.post("/keep-first")
    def keep_first(number: Annotated[int | None, Body(embed=True)] = None) -> dict[str, Any]:
        with session.reviewing:
            return {"groups": session.review.keep_first(number)}

    @router.get("/drop.txt")
    def drop_text() -> Response:
        return PlainTextResponse(session.review.text(), headers=_named("drop.txt"))

    @router.get("/decisions.csv")
    def drop_table() -> Response:
        text = session.review.table()
        return PlainTextResponse(text, media_type="text/csv", headers=_named("decisions.csv"))


def _cluster_routes(router: APIRouter, session: Session) -> None:
    @router.get("/clusters")
    def clusters() -> dict[str, Any]:
        return cluster_cards(session)

    @router.post("/name")
    def name(cluster: Annotated[int, Body()], name: Annotated[str, Body()]) -> dict[str, Any]:
        with session.dividing:
            session.groups.rename(cluster, name)
        return {"name": session.groups.name(cluster)}


def _search(session: Session, raw: bytes) -> dict[str, Any]:
    pixels = picture(raw)
    if (line := session.encoder.missing) is not None:
        raise BadInput(line)
    return {"near": session.alike(session.encoder.vector(pixels))}


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


def heat(session: Session, first: str, second: str) -> dict[str, Any]:
    """Return two rows, by id, with what each place of their pictures adds to their likeness."""
    rows = [session.find(name) for name in (first, second)]
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


def _packed(about: dict[str, Any], values: np.ndarray) -> Response:
    """Return words and numbers in one answer: the words' length, the words as JSON, the numbers as bytes."""
    words = json.dumps(about).encode()
    words += b" " * (-len(words) % 4)  # so that the numbers start where the browser can read them in place
    raw = struct.pack("<I", len(words)) + words + values.astype(values.dtype.newbyteorder("<")).tobytes()
    return Response(raw, media_type="application/octet-stream", headers={"cache-control": "no-store"})


def _named(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
