"""``vergence studio``: how it starts, refuses and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request

from vergence.cli import main
from vergence.core.errors import install_command


def test_a_port_in_use_is_one_line(store, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["studio", str(store.path), "--port", str(port), "--no-browser", "--json"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"Port {port}" in said and "--port" in said


def test_mistakes_are_one_line(store, capsys, monkeypatch):
    for words, line in (
        (["nowhere.lance"], "no store"),
        ([str(store.path), "--port", "70000"], "65535"),
        ([str(store.path), "--column", "vectr"], "did you mean 'vector'"),
    ):
        assert main(["studio", *words, "--no-browser", "--json"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and line in said
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert main(["studio", str(store.path), "--no-browser"]) == 2
    assert install_command("studio") in capsys.readouterr().err


def test_it_says_where_it_is_listens_to_this_machine_only_and_ends_at_ctrl_c(store):
    words = [sys.executable, "-m", "vergence.cli", "studio", str(store.path), "--no-browser", "--port", "0"]
    running = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    )
    try:
        url = running.stdout.readline().split()[0]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/studio/state") as answer:
            assert answer.status == 200
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 128 + signal.SIGINT
    assert err.splitlines() == [f"Reading {len(store)} samples ...", "Stopped."] and out == ""
