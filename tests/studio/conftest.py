"""What the studio's tests look at, and a server of it."""

from __future__ import annotations

import threading

import pytest

from scans import filled, store  # noqa: F401 - fixtures


@pytest.fixture
def served():
    """Return a function that serves a session and answers with its address; all are stopped in the end."""
    import uvicorn

    from vergence.studio.app import listening_socket, serving

    running = []

    def serve(session):
        bound = listening_socket(0)
        listening = bound.__enter__()
        config = uvicorn.Config(serving(session), log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()

        def stop():
            server.should_exit = True
            thread.join(5)
            bound.__exit__(None, None, None)

        running.append(stop)
        while not server.started:
            thread.join(0.02)
        return f"http://127.0.0.1:{listening.getsockname()[1]}", stop

    yield serve
    for stop in running:
        stop()
