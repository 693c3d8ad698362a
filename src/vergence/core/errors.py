"""Errors of the user, said in one line; imports nothing, so that the command line starts fast."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class VergenceError(Exception):
    """Something the user can put right. The command line prints its one line and exits with 2."""


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
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = " or ".join(f"'{n}'" for n in near)
    tail = f"did you mean {hint}?" if near else f"known: {', '.join(known)}."
    return BadInput(f"Unknown {what} '{name}'; {tail}")


def need(module: str, *, extra: str) -> ModuleType:
    """Import ``module``, or raise ``MissingExtra`` saying which extra of vergence brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtra(
            f"This needs {package}, which is not installed: pip install 'vergence[{extra}]'"
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Say whether Python, torch or a device had no memory left."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = ("not enough memory", "can't allocate memory")  # torch, on a CPU
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or any(words in str(error) for words in said)
