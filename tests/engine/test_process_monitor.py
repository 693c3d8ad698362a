"""Who is let in by the process monitor: those who know the token, whatever strangers send before."""

import contextlib
import socket
import threading

from vergence.engine.process_monitor import accept_peers, open_server

TOKEN = "0123456789abcdef"


def test_it_listens_where_the_others_connect_only():
    with open_server("127.0.0.1") as server:
        assert server.getsockname()[0] == "127.0.0.1"
    with open_server("203.0.113.1") as server:  # kept for documentation: no machine has it
        assert server.getsockname()[0] == "0.0.0.0"


def test_strangers_are_turned_away_and_may_not_send_without_end():
    server, result = open_server("127.0.0.1"), {}
    port = server.getsockname()[1]
    waiting = threading.Thread(target=lambda: result.update(accept_peers(server, TOKEN, 2)))
    waiting.start()
    strangers = []
    for said in (b"x" * 100_000, b"\xff\xfe 1\n", b"wrong 1\n", TOKEN.encode() + b" one\n", b""):
        strangers.append(stranger := socket.create_connection(("127.0.0.1", port)))
        with contextlib.suppress(OSError):  # turned away before all was said
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
    friends = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    for rank, friend in enumerate(friends, 1):
        friend.sendall(f"{TOKEN} {rank}\nfailed at once\n".encode())
    waiting.join(30)
    assert sorted(result) == [1, 2]
    assert result[2].recv(100) == b"failed at once\n", "what follows the first line is not lost"
    for end in (*strangers, *friends, *result.values()):
        end.close()
