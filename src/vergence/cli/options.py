"""A command's options: flags, a YAML file, or both (jsonargparse)."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Collection
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from vergence.cli.clear import ClearErrors, kinds


class Options(ClearErrors, ArgumentParser):
    """The parser of one command.

    ``--batch-size`` and ``--batch_size`` are one option; YAML files write ``batch_size``.

    Args:
        name: Of the command.
        summary: What it does, in a sentence or two.
        example: A worked one.
    """

    def __init__(self, name: str, summary: str, example: str) -> None:
        super().__init__(
            prog=f"vergence {name}",
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=_Help,
            usage=argparse.SUPPRESS,
        )
        self.add_argument("--config", action="config", help="read options from this YAML file")
        self.add_argument("--json", action="store_true", help="print one JSON object, nothing else")

    def add_signature(self, function: Callable[..., Any], skip: Collection[str] = ()) -> None:
        """Make options of a function's (or class's) keyword arguments, explained by its docstring."""
        add = self.add_class_arguments if inspect.isclass(function) else self.add_function_arguments
        add(function, as_group=False, skip=set(skip))

    def read(self, argv: list[str]) -> Namespace:
        """Parse ``argv``.

        Raises:
            VergenceError: One line on what is wrong.
        """
        for action in self._actions:
            _polish(action)
        found = self.parse_args([_underscored(word) for word in argv])
        positional = [
            a for a in self._actions if not a.option_strings and a.nargs == "?" and a.default is None
        ]
        missing = [a.dest for a in positional if found.get(a.dest) is None]
        if missing:
            self.error(f"arguments are required: {', '.join(missing)}")
        return found


class _Help(argparse.HelpFormatter):
    """One line of usage, options spelt with dashes, each on its own line with its default."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, max_help_position=28, **kwargs)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("example:") else super()._fill_text(text, width, indent)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return action.dest.upper()
        names = [name.replace("_", "-") for name in action.option_strings]
        shown = ", ".join(n for n in names if n != "--print-config")
        return (shown or names[0]) + ("" if action.nargs == 0 else f" {action.dest.split('.')[-1].upper()}")

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        hint = getattr(action, "_typehint", None)
        notes = []
        if hint is not None and action.option_strings:
            notes.append(kinds(hint))
        if action.option_strings and action.default not in (None, False, argparse.SUPPRESS):
            notes.append(f"default {_shown(action.default)}")
        return text + (f" [{'; '.join(notes)}]" if notes else "")


def _polish(action: argparse.Action) -> None:
    if action.dest == "print_config" or "--print_config" in action.option_strings:
        action.help = argparse.SUPPRESS
    elif action.help and action.help != argparse.SUPPRESS:
        plain = re.sub(r"`{1,2}", "", action.help).replace("%", "%%")
        action.help = re.sub(r"\bNone (takes |lets |means )?", "else ", plain)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _underscored(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
