"""Errors of argparse and jsonargparse, said in one line a user can act on."""

from __future__ import annotations

import argparse
import difflib
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from vergence.core.errors import VergenceError

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
# jsonargparse's, which is slow to import
_BY_NAME = {"PositiveInt": "a whole number above 0", "PositiveFloat": "a number above 0"}


class ClearErrors(argparse.ArgumentParser):
    """A parser whose complaints are one-line ``VergenceError``s that name the nearest right option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise VergenceError(self._clear(" ".join(message.split()))) from ex

    def _clear(self, message: str) -> str:
        if match := re.search(r"[Uu]nrecognized arguments: (.*)", message):
            return self._strange(match[1])
        if match := re.search(r"Option '([\w.]+)' is not accepted", message):
            return self._strange(f"--{match[1]}")
        if match := re.search(r"arguments are required: (.*)", message):
            words = match[1].upper().split(", ")
            return f"{' and '.join(words)} {'are' if len(words) > 1 else 'is'} missing. {self._usage()}"
        if match := re.search(r"argument (\S+): expected (?:one|at least one) argument", message):
            return f"{match[1].split('/')[-1].replace('_', '-')} needs a value. {self._usage()}"
        if match := re.search(r'Parser key "([\w.]+)"', message):
            return self._mistyped(match[1], message)
        return f"{message}. {self._usage()}"

    def _usage(self) -> str:
        return f"See: {self.prog} --help"

    def _strange(self, words: str) -> str:
        word = words.split()[0]
        option = word.partition("=")[0]
        if not option.startswith("-"):
            return f"'{word}' is one word too many. {self._usage()}"
        option = option.replace("_", "-")
        known = [name.replace("_", "-") for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches(option, known, n=1, cutoff=0.6)
        return f"Unknown option {option}; " + (f"did you mean {near[0]}?" if near else self._usage().lower())

    def _mistyped(self, key: str, message: str) -> str:
        action = next((a for a in self._actions if a.dest == key), None)
        wanted = kinds(getattr(action, "_typehint", None))
        name = f"--{key.replace('_', '-')}" if action and action.option_strings else key.upper()
        got = re.search(r"(?:Got value: |Given value: |base 10: )'?(.*?)'?$", message)
        return f"{name} needs {wanted}; got '{got[1] if got else message}'."


def kinds(hint: Any) -> str:
    """Say in words what values a type allows.

    >>> kinds(int | None), kinds(Literal["a", "b"])
    ('a whole number', 'a or b')
    """
    if get_origin(hint) in (Union, types.UnionType):
        parts = [kinds(part) for part in get_args(hint) if part is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    if get_origin(hint) is Literal:
        *others, last = map(str, get_args(hint))
        return f"{', '.join(others)} or {last}" if others else last
    origin = get_origin(hint) or hint
    if origin in (list, tuple, Sequence):
        return f"a list of {kinds(get_args(hint)[0])}" if get_args(hint) else "a list"
    if origin in (dict, Mapping):
        return "names with values, such as '{flip: 0}'"
    return _WORDS.get(hint) or _BY_NAME.get(getattr(hint, "__name__", ""), "another value")
