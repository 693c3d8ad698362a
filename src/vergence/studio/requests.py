"""Requests to the studio's routes: what they hold is read strictly, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vergence.core.errors import BadInput
from vergence.studio.session import Session

JSON = "application/json"
Kind = Callable[[Any], bool]


class Malformed(BadInput):
    """A request that the page would never send."""


class Answer(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which a request may hold, has no bytes in UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> bool:
    return isinstance(value, str)


def wholes(value: Any) -> bool:
    return isinstance(value, list) and all(whole(part) for part in value)


def or_none(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def read_body(raw: bytes, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the fields that JSON holds, by name; one that may be None may be left out.

    Raises:
        Malformed: If it is no JSON object, a field is missing, unknown or of another kind, or a text cannot
            be written in UTF-8.
    """
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Malformed("The request is not JSON.") from None
    if not isinstance(body, dict) or not set(body) <= set(kinds):
        raise Malformed(f"The request holds {', '.join(kinds)} and nothing else.")
    wrong = [name for name, kind in kinds.items() if not kind(body.get(name))]
    if wrong:
        raise Malformed(f"{wrong[0]} is missing, or not what it should be.")
    return {name: body.get(name) for name in kinds}


def row_of(request: Request) -> int:
    """Return the row that an address names; raises ``Malformed`` where that is no number."""
    word = request.path_params["row"]
    if not (word.removeprefix("-").isdecimal() and word.isascii() and len(word) < 12):
        raise Malformed(f"A row is a number; got {word}.")
    return int(word)


def query_of(request: Request, *names: str) -> list[str]:
    """Return what an address gives for these names; raises ``Malformed`` where one is missing."""
    missing = [name for name in names if name not in request.query_params]
    if missing:
        raise Malformed(f"The address lacks {missing[0]}.")
    return [request.query_params[name] for name in names]


def getter(session: Session, work: Callable[[Session, Request], Any]) -> Callable[[Request], Response]:
    """Return the endpoint of an address that is read; ``work`` gives a response, or what JSON holds."""

    def endpoint(request: Request) -> Response:
        return _response(work(session, request))

    return endpoint


def _response(result: Any) -> Response:
    return result if isinstance(result, Response) else Answer(result)


def poster(
    session: Session, work: Callable[..., Any], **kinds: Kind
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of an address that takes JSON, whose fields ``work`` gets as arguments."""

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            return Answer({"error": f"This takes {JSON}."}, 415)
        raw = await request.body()

        def answer() -> Any:
            return work(session, **read_body(raw, kinds))

        return _response(await run_in_threadpool(answer))

    return endpoint


def packed(about: dict[str, Any], values: np.ndarray) -> Response:
    """Return words and numbers in one answer: the words' length, the words as JSON, the numbers as bytes."""
    words = json.dumps(about).encode()
    words += b" " * (-len(words) % 4)  # so that the numbers start where the browser can read them in place
    size = len(words).to_bytes(4, "little")
    raw = size + words + values.astype(values.dtype.newbyteorder("<")).tobytes()
    return Response(raw, media_type="application/octet-stream", headers={"cache-control": "no-store"})


def download(content: str | bytes, name: str, kind: str = "text/plain") -> Response:
    """Return a file that the browser saves under a name of ours."""
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(content, media_type=kind, headers=headers)
