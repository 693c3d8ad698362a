"""Entry point: from ``vergence COMMAND …`` to an exit code, and every error in one line."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from vergence.core.errors import Interrupted, LostProcess, VergenceError, out_of_memory, unknown
from vergence.core.waiting import wait_asleep

COMMANDS = {
    "demo": ("train", "Learn, measure and look at the embedded digits, or at your own data"),
    "learn": ("train", "Learn a representation of unlabelled data"),
    "embed": ("store", "Write the embeddings of data to a table"),
    "measure": ("evaluate", "Say how good a representation is, beside what it has to beat"),
    "audit": ("evaluate", "Say whether an encoder serves some groups worse than others"),
    "search": ("store", "Find the samples most like one"),
    "duplicates": ("store", "Find samples that are nearly the same"),
    "clusters": ("store", "Divide samples into groups of like ones"),
    "curate": ("curation", "Choose the samples that are worth keeping"),
    "export": ("rows", "Write a table's rows to one file, or a run's encoder for use elsewhere"),
    "import": ("rows", "Make a table of one file"),
    "update": ("rows", "Give rows of a table a new value"),
    "rate": ("rows", "Rate a table's rows by examples of good and bad"),
    "delete": ("rows", "Take rows out of a table"),
    "compare": ("comparison", "Say what two collections of images share, and what one has alone"),
    "explain": ("comparison", "Say which places of two images make them alike"),
    "track": ("tracking", "Carry a mask or points of one frame through a video"),
    "studio": ("studio", "Open a page to look at a table: map, search, duplicates, clusters"),
    "mcp": ("mcp", "Serve a table to agents by the Model Context Protocol"),
    "report": ("evaluate", "Write a page to look at: curves, scores, neighbours, map, clusters"),
    "papers": ("catalog", "List the papers: which can be run here, and which are planned"),
    "bench": ("evaluate", "Repeat a paper's run of record"),
}
MISTAKE, CRASH = 2, 1
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}

_HELP = """usage: vergence COMMAND [options]

Point vergence at unlabelled data and get representations you can trust, measure and use.

{commands}

Example: vergence demo
Every command explains itself: vergence learn --help
Also: --version. With VERGENCE_DEBUG=1 errors come with their traceback."""


class _Terminated(BaseException):
    """SIGTERM came; let files and folders be tidied on the way out."""


def run() -> NoReturn:
    """Run the command of this process, and end it.

    The studio works out its map in a thread. The interpreter cannot be taken down around one that is inside
    native code (it corrupts memory now and then), so while there is one the process ends as it stands.
    """
    wait_asleep()
    code = main()
    if any(thread.name == "studio" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 1: a fault of the program. 2: a mistake of the user, or a machine without room.
    129, 130, 143: stopped by SIGHUP, SIGINT, SIGTERM.

    Args:
        argv: Words after ``vergence``; None takes the process's own.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    kept = _on_sigterm(_terminate)
    try:
        _dispatch(argv)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # argparse after --help
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CRASH
    except (KeyboardInterrupt, _Terminated, Interrupted) as error:
        return _stopped(error)
    except LostProcess as error:
        return _say(f"vergence: {error}", CRASH, always=True)
    except Exception as error:
        if _debugging():
            raise
        return _failed(error)
    finally:
        _on_sigterm(kept)


def _dispatch(argv: list[str]) -> None:
    name = argv[0] if argv else "--help"
    if name in ("--help", "-h", "help"):
        rows = "\n".join(f"  {command:<12}{summary}" for command, (_, summary) in COMMANDS.items())
        print(_HELP.format(commands=rows))
    elif name == "--version":
        from importlib.metadata import version

        print(f"vergence {version('vergence')}")
    elif name not in COMMANDS:
        if name.startswith("-"):
            raise unknown("option", name, ("--help", "--version"))
        raise unknown("command", name, COMMANDS)
    else:
        module = importlib.import_module(f"vergence.cli.{COMMANDS[name][0]}")
        command: Callable[[list[str]], None] = getattr(module, "import_" if name == "import" else name)
        command(argv[1:])


def _stopped(error: BaseException) -> int:
    """Say that the command was stopped, and return 128 and the signal's number."""
    if isinstance(error, Interrupted):
        name = next((name for name in ("SIGTERM", "SIGHUP") if name in str(error)), "SIGINT")
        return _say(str(error), 128 + signal.Signals[name])
    return _say("Stopped.", 128 + (signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT))


def _failed(error: Exception) -> int:
    """Say in one line what went wrong, and return whose fault it is."""
    if isinstance(error, VergenceError):
        return _say(f"vergence: {error}", MISTAKE)
    if (trouble := _trouble_of_the_machine(error)) is not None:
        return _say(f"vergence: {trouble}", MISTAKE)
    text = f"vergence: {type(error).__name__}: {error}"
    return _say(f"{text} (a fault of vergence; run with VERGENCE_DEBUG=1 for the traceback)", CRASH)


def _say(text: str, code: int, *, always: bool = False) -> int:
    # torchrun starts all processes with the same words, so all make the same mistakes.
    twin = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"
    if always or not twin:
        print(" ".join(text.split()), file=sys.stderr)
    return code


def _trouble_of_the_machine(error: Exception) -> str | None:
    """Return one line about a disk or memory that refused, None for any other error."""
    if out_of_memory(error):
        return "Out of memory: take less at a time (--batch-size, --size), or end what else is running."
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" {error.filename}" if error.filename else ""
        return f"Cannot read or write{where}: {error.strerror}. Make room, or choose another folder."
    return None


def _debugging() -> bool:
    return os.environ.get("VERGENCE_DEBUG", "0") not in ("", "0")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _on_sigterm(handler: object) -> object:
    try:
        return signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]
    except ValueError:  # not the main thread: leave signals alone
        return None
