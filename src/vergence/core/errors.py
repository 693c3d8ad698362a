"""Errors of the user, said in one line; imports nothing heavy, so that the command line starts fast."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterable
from types import ModuleType

_NEARLY = 0.1  # of similarity, in [0, 1]
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, and halves of pairs


def escaped(text: str) -> str:
    r"""Return text in one line that can be printed: line breaks and other controls as numbers or letters.

    >>> escaped("two\nlines")
    'two\\nlines'
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class VergenceError(Exception):
    r"""Something the user can put right. The command line prints its one line and exits with 2.

    Names and values that a message quotes may hold line breaks and other controls: they are escaped.

    >>> print(VergenceError("There is no row 'two\nlines'."))
    There is no row 'two\nlines'.
    """

    def __str__(self) -> str:
        return escaped(super().__str__())


class BadInput(VergenceError, ValueError):
    """A path, name, option or file that cannot be used as it is."""


class WrongModality(BadInput):
    """Data of another kind than the one who was asked reads; the next one may be asked."""


class MissingExtra(VergenceError, ImportError):
    """An optional library is not installed."""


class Interrupted(VergenceError):
    """Training was asked to stop; what was learned so far is saved."""


class LostProcess(VergenceError):
    """Another process of the run died or failed; this one could not go on without it."""


def unknown(what: str, name: str, known: Iterable[str]) -> BadInput:
    """Return the error for a misspelt ``name``, naming the nearest of the ``known`` ones.

    >>> print(unknown("method", "simcrl", ["simclr", "byol"]))
    Unknown method 'simcrl'; did you mean 'simclr'?
    """
    known = sorted(set(known))
    hint = " or ".join(f"'{other}'" for other in nearest(name, known))
    tail = f"did you mean {hint}?" if hint else f"known: {', '.join(known)}."
    return BadInput(f"Unknown {what} '{name}'; {tail}")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return what a misspelt name may stand for: the nearest name, and a second one that is hardly farther.

    >>> nearest("simcrl", ["simclr", "smart", "byol"]), nearest("moco", ["mocov2", "mocov3"])
    (['simclr'], ['mocov3', 'mocov2'])
    """
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    ratios = [difflib.SequenceMatcher(None, other, name).ratio() for other in near]
    return [other for other, ratio in zip(near, ratios, strict=True) if ratio > ratios[0] - _NEARLY]


def need(module: str, *, extra: str) -> ModuleType:
    """Import ``module``, or raise ``MissingExtra`` saying which extra of vergence brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtra(
            f"This needs {package}, which is not installed: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """Return what installs an extra for this Python: from the checkout, where vergence runs from one."""
    here = os.getcwd()
    python = os.path.relpath(sys.executable, here) if _inside(sys.executable, here) else sys.executable
    checkout = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    if not os.path.isfile(os.path.join(checkout, "pyproject.toml")):
        return f"{python} -m pip install 'vergence[{extra}]'"
    return f"{python} -m pip install -e '{'.' if checkout == here else checkout}[{extra}]'"


def _inside(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(os.path.join(folder, ""))


def out_of_memory(error: BaseException) -> bool:
    """Say whether Python, torch or a device had no memory left."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = ("not enough memory", "can't allocate memory")  # torch, on a CPU
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or any(words in str(error) for words in said)
