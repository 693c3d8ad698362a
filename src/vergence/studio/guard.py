"""Request guard: stands before the page's server and lets nothing through that the page does not need.

A request passes only if it is for this machine by name, comes from the page itself, asks for an address under
the page's own, and brings, if anything, JSON or a picture of a bounded size.
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
PAGE = "/"
_LARGEST = 64 * 2**10  # bytes of a body that is not a picture
_PICTURE = "/studio/search"
_BODIES = ("application/json", "application/octet-stream")  # no form of another page can send either
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI application in front of another.

    Args:
        app: What answers the requests that pass.
        largest: Bytes of a picture that may be sent.
        wide: Addresses that may be sent more bytes than usual, and how many.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        largest: int,
        wide: MutableMapping[str, int] | None = None,
    ) -> None:
        self.app, self.wide = app, {_PICTURE: largest, **(wide or {})}

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
        if scope["method"] == "POST":
            most = self.wide.get(scope["path"], _LARGEST)
            body = await _body(receive, headers, most)
            if body is None:
                await _answer(send, 413, f"That is larger than {most:,} bytes.")
                return
            receive = _again(body, receive)

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
    if site not in ("same-origin", "none") and path != PAGE:  # a link to the page may be followed
        return 403, "Other pages may not talk to the studio."
    if any(part in ("..", ".") for part in path.replace("\\", "/").split("/")) or "\0" in path:
        return 404, "There is no such page."
    if method in ("GET", "HEAD") and (path == PAGE or path.startswith(OURS)):
        return None
    if method == "POST" and path.startswith(OURS):
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return None if kind in _BODIES else (415, f"The studio takes {' and '.join(_BODIES)}.")
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
