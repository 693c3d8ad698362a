"""Request guard: stands before the page's server and lets nothing through that the page does not need.

Gradio serves files, takes uploads and fetches addresses for whoever asks; none of that is needed here. A
request passes only if it is for this machine by name, comes from the page itself, and asks for one of the
few addresses that are listed. What is sent to gradio's queue holds plain values only, so that no file on
the disk can be named.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HERE = ("127.0.0.1", "localhost")
OURS = "/studio/"
_LARGEST = 64 * 2**10  # bytes of a body that is not a picture
_PICTURE = "/studio/search"
_GETS = {"/", "/config", "/theme.css", "/favicon.ico", "/gradio_api/queue/data", "/gradio_api/startup-events"}
_FOLDERS = ("/assets/", "/static/", "/gradio_api/heartbeat/")
_JOIN = "/gradio_api/queue/join"
_POSTS = {_JOIN, "/gradio_api/cancel", "/gradio_api/reset"}
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'self' blob:; font-src 'self' data:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application in front of another.

    Args:
        app: What answers the requests that pass.
        largest: Bytes of a picture that may be sent.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], *, largest: int) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in scope["headers"]}
        if (refused := refusal(scope["method"], scope["path"], headers)) is not None:
            await _answer(send, *refused)
            return
        most = self.largest if scope["path"] == _PICTURE else _LARGEST
        if scope["method"] == "POST":
            body = await _body(receive, headers, most)
            if body is None:
                await _answer(send, 413, f"That is larger than {most:,} bytes.")
                return
            if scope["path"] in _POSTS and not (plain if scope["path"] == _JOIN else strict)(body):
                await _answer(send, 400, "Only plain values can be sent.")
                return
            receive = _again(body, receive)
        if scope["path"] == "/":
            scope = {**scope, "query_string": b""}  # a link into gradio's own folder of files

        async def sealed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                kept = [(n, v) for n, v in message.get("headers", []) if n.decode().lower() not in _HEADERS]
                message = {**message, "headers": [*kept, *extra]}
            await send(message)

        await self.app(scope, receive, sealed)


def refusal(method: str, path: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
    """Return why a request is refused, a status and a line; None lets it pass.

    Args:
        method: Of HTTP.
        path: Decoded.
        headers: By lower-case name.
    """
    host = headers.get("host", "")
    if _machine(f"//{host}") not in HERE:
        return 403, "The studio answers to 127.0.0.1 and localhost only."
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    if origin is not None and _netloc(origin) != host:
        return 403, "Other pages may not talk to the studio."
    if site == "cross-site" and path != "/":
        return 403, "Other pages may not talk to the studio."
    if any(part in ("..", ".") for part in path.replace("\\", "/").split("/")) or "\0" in path:
        return 404, "There is no such page."
    if method in ("GET", "HEAD") and (path in _GETS or path.startswith((*_FOLDERS, OURS))):
        return None
    if method == "POST" and (path in _POSTS or path.startswith(OURS)):
        return None
    return 404, "There is no such page."


def _machine(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # "//[" is no address
        return None


def _netloc(address: str) -> str | None:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def strict(body: bytes) -> Any:
    """Return what JSON holds, None where it is none, or holds what cannot be written as JSON again."""
    try:
        event = json.loads(body)
        json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return event


def plain(body: bytes) -> bool:
    """Say whether an event for gradio holds nothing but plain values, for a function that may be."""
    event = strict(body)
    if not isinstance(event, dict) or not isinstance(event.get("data"), list):
        return False
    number = event.get("fn_index", 0)
    if not (number is None or (isinstance(number, int) and number >= 0)):
        return False
    values = [*event["data"], event.get("event_data")]
    return all(value is None or isinstance(value, str | int | float | bool) for value in values)


async def _body(receive: Receive, headers: MutableMapping[str, str], most: int) -> bytes | None:
    """Return what was sent, None as soon as it is more than may be."""
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > most):
        return None
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _answer(send: Send, status: int, line: str) -> None:
    body = json.dumps({"error": line}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
