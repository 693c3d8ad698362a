"""Process monitor: processes notice each other's end, so that one killed leaves none waiting.

torch's elastic launcher (2.15), tried in place of this and of ``launch`` on the kills of the tests, left no
process behind either, but a killed worker ended the others after 8 to 9 s instead of 1 s, and the message
names a signal, not the command that goes on with the run. It needs a third process, which has no rank, so
that what ``learn`` is given would have to be pickled, and its run read back from disk.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

from vergence.core.errors import LostProcess, VergenceError
from vergence.engine.launch import started_here, stop_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

P = ParamSpec("P")
R = TypeVar("R")
NEWS_IN = 5.0  # seconds in which the end of a process is heard of, after a collective failed by it
LEAVE_IN = 15.0  # seconds for the main thread to leave by itself; NCCL holds it for ever
_HELLO, _HELLO_IN = 64, 5.0  # bytes and seconds for the token and the rank
_BYE = "\x00bye"


def open_server(address: str) -> socket.socket:
    """Listen where the other processes connect, and nowhere else if that is an interface of this machine."""
    try:
        return socket.create_server((address, 0))
    except OSError:  # such as the address of a router that passes on to this machine
        return socket.create_server(("", 0))


def accept_peers(server: socket.socket, token: str, count: int) -> dict[int, socket.socket]:
    """Return ``count`` processes that connect and know the token, by their rank; others are turned away.

    Raises:
        TimeoutError: If nobody connects for a minute.
    """
    peers: dict[int, socket.socket] = {}
    server.settimeout(60)
    with server:
        while len(peers) < count:
            peer, _ = server.accept()
            with contextlib.suppress(OSError, ValueError):
                said, rank = _first_line(peer).split()
                if secrets.compare_digest(said, token.encode()):
                    peers[int(rank)] = peer
                    continue
            peer.close()
    return peers


def _first_line(peer: socket.socket) -> bytes:
    """Return what a stranger says first, and not more of it than a token and a rank need."""
    line, until = b"", time.monotonic() + _HELLO_IN
    while not line.endswith(b"\n") and len(line) < _HELLO:
        peer.settimeout(max(0.001, until - time.monotonic()))
        if not (part := peer.recv(1)):
            break
        line += part
    return line


class ProcessMonitor:
    """A socket between process 0 and every other one, on which silence is life.

    The system closes a dead process's sockets, whatever it died of; a machine that vanished is
    noticed by keep-alive packets within 20 s. Process 0 passes the news on. A process that fails
    sends its last words, so that process 0 says what happened, once, and the others end quietly.

    Args:
        fabric: With its processes started.

    Attributes:
        news: What happened to another process, empty while all is well.
        advice: A sentence on how to go on, added to the news.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world = fabric.global_rank, fabric.world_size
        self.news = self.advice = ""
        self.speaks = self.rank == 0
        self.heard, self.closed = threading.Event(), False
        self.peers: dict[int, socket.socket] = {}
        address = fabric.strategy.cluster_environment.main_address  # type: ignore[attr-defined]
        server = open_server(address) if self.rank == 0 else None
        port, token = fabric.broadcast((server.getsockname()[1] if server else 0, secrets.token_hex(8)))
        if server is not None:
            self.peers = accept_peers(server, token, self.world - 1)
        else:
            self.peers[0] = socket.create_connection((address, port), timeout=60)
            self.peers[0].sendall(f"{token} {self.rank}\n".encode())
        for peer in self.peers.values():
            _keep_alive(peer)
        self._first_here = fabric.local_rank == (1 if fabric.node_rank == 0 else 0)
        threading.Thread(target=self._listen, daemon=True, name="vergence-process_monitor").start()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            messages = dict.fromkeys(self.peers, b"")
            for number, peer in self.peers.items():
                selector.register(peer, selectors.EVENT_READ, number)
            while selector.get_map():
                for key, _ in selector.select():
                    try:
                        received = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                    except OSError:
                        received = b""
                    messages[key.data] += received
                    if received and not received.endswith(b"\n"):
                        continue
                    selector.unregister(key.fileobj)
                    if (message := messages[key.data].decode(errors="replace").strip()) != _BYE:
                        self._lost(key.data, message)

    def _lost(self, number: int, message: str) -> None:
        if self.closed or self.news:
            return
        if number and message:
            message = f"Process {number} stopped: {message.rstrip('.')}."
        elif not message:
            self.speaks = self.speaks or self._first_here
            message = f"Process {number} of {self.world} died (killed, or out of memory), so the others stop."
        self.news = message
        if self.rank == 0:
            self._send(message)
        self.heard.set()
        threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        time.sleep(LEAVE_IN)
        if self.speaks and not self.closed:
            print(f"vergence: {self.report()}", file=sys.stderr, flush=True)
        if os.environ.get("VERGENCE_DEBUG"):
            faulthandler.dump_traceback()
        stop_processes(wait=0)
        os._exit(1)

    def _send(self, message: str) -> bool:
        reached = False
        for peer in self.peers.values():
            with contextlib.suppress(OSError):
                peer.sendall(f"{' '.join(message.split())}\n".encode())
                reached = True
        return reached

    def report(self) -> str:
        """Return the news with the advice."""
        return f"{self.news} {self.advice}".strip()

    def fail(self, error: BaseException) -> NoReturn:
        """Raise what this process is to end with: ``error``, the news of another, or a quiet exit."""
        if not isinstance(error, VergenceError):  # may be but the echo of another process's end
            self.heard.wait(NEWS_IN if _of_collective(error) else 0.2)
        if self.news and not (self.rank == 0 and isinstance(error, VergenceError)):
            self.close()
            if self.speaks:
                raise LostProcess(self.report()) from error
            _leave()
        reached = self._send(str(error) or type(error).__name__)
        self.close(farewell=False)
        if self.rank == 0 or not reached:
            raise error
        _leave()

    def close(self, farewell: bool = True) -> None:
        """Part in peace."""
        self.closed = True
        if farewell:
            self._send(_BYE)


def _leave() -> NoReturn:
    """End at once: an ordinary exit may wait for the very processes that wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _of_collective(error: BaseException) -> bool:
    signs = ("gloo", "nccl", "process group", "connection", "tcpstore", "store")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def _keep_alive(peer: socket.socket) -> None:
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 8), ("TCP_KEEPINTVL", 4), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


_monitors: list[ProcessMonitor] = []  # the one of this process


def current() -> ProcessMonitor | None:
    return _monitors[-1] if _monitors else None


def connect(fabric: Fabric) -> None:
    """Tie this process to the others; does nothing for one process."""
    if fabric.world_size > 1 and not _monitors:
        _monitors.append(ProcessMonitor(fabric))
        atexit.register(_part)


def _part() -> None:
    monitor = _monitors[-1]
    if not monitor.closed:
        monitor.close()
    stop_processes()


def advise(text: str) -> None:
    """Say how to go on, should another process die."""
    if monitor := current():
        monitor.advice = text


def monitored(work: Callable[P, R]) -> Callable[P, R]:
    """Let ``work`` end in all processes when it fails in one: with one message, not one each."""

    @functools.wraps(work)
    def together(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = work(*args, **kwargs)
        except BaseException as error:
            if (monitor := current()) is None or monitor.closed:
                raise
            monitor.fail(error)
        if started_here():  # its work is done; what follows in the program is for the first process
            raise SystemExit(0)
        return result

    return together
