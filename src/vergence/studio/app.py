"""The studio's program: listens on this machine, says where, and serves until it is interrupted."""

from __future__ import annotations

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from typing import Any

from vergence.core.errors import BadInput, need
from vergence.store.table import Store
from vergence.studio.encoder_session import LARGEST
from vergence.studio.session import Session

HOST = "127.0.0.1"
_PATIENCE = 20.0  # seconds that heavy work waits for the page to be drawn


def launch(
    store: Store,
    *,
    column: str = "vector",
    axes: tuple[str, str] | None = None,
    port: int = 7860,
    browser: bool = True,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve the page of a store to this machine, until it is interrupted.

    Args:
        store: Opened.
        column: Which vectors to look at.
        axes: Columns that the map is drawn by, x and y; None lays the vectors out.
        port: Where; 0 takes a free one.
        browser: Open the page in a browser.
        ready: Is given the address as soon as the page can be asked for.

    Raises:
        BadInput: If something else uses the port, or the store has no such vectors or columns.
        MissingExtra: If starlette or uvicorn is not installed.
    """
    need("starlette", extra="studio")
    uvicorn = need("uvicorn", extra="studio")

    with listening_socket(port) as listening:
        app = serving(Session(store, column, axes=axes), patience=_PATIENCE)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        threading.Thread(target=_announce, args=(server, url, browser, ready), daemon=True).start()
        server.run(sockets=[listening])


def serving(session: Session, *, patience: float = 0.0) -> Any:
    """Return the whole of the page as an ASGI application, and start what it works out in the background.

    Args:
        session: Of the store.
        patience: Seconds that heavy work waits for the page to be drawn at most.
    """
    from vergence.studio import linked_routes, selection_routes
    from vergence.studio.guard import Guard
    from vergence.studio.web import application

    session.start(patience)
    wide = len(session.store) // 6 + 2**16  # bytes of a mask in base64, and of what comes with it
    return Guard(
        application(session),
        largest=LARGEST,
        wide=dict.fromkeys([*linked_routes.MASKED, *selection_routes.MASKED], wide),
    )


@contextlib.contextmanager
def listening_socket(port: int) -> Iterator[socket.socket]:
    """Listen on a port of this machine, before anything slow is done."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(128)
        except OSError as error:
            raise BadInput(
                f"Port {port} cannot be used ({(error.strerror or str(error)).lower()}): choose another with "
                "--port, or --port 0 for a free one."
            ) from None
        yield listening


def _announce(server: Any, url: str, browser: bool, ready: Callable[[str], object]) -> None:
    """Say where the page is as soon as it is served."""
    waiting = threading.Event()
    while not server.started:
        if server.should_exit:
            return
        waiting.wait(0.02)
    ready(url)
    if browser:
        webbrowser.open(url)
