"""A command's options: flags, a YAML file, or both (jsonargparse)."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from vergence.cli.errors import ClearErrors, kinds
from vergence.core import plain_yaml
from vergence.core.errors import BadInput
from vergence.core.specs import load_module


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
        self.add_argument(
            "--import", type=str, help="modules of your own to load first, as a,b, such as a run's encoder's"
        )

    def add_signature(self, function: Callable[..., Any], skip: Collection[str] = ()) -> None:
        """Make options of a function's (or class's) keyword arguments, explained by its docstring.

        An option that is there already stays as it is.
        """
        add = self.add_class_arguments if inspect.isclass(function) else self.add_function_arguments
        add(function, as_group=False, skip={*skip, *(action.dest for action in self._actions)})

    def read(self, argv: list[str]) -> Namespace:
        """Parse ``argv``.

        Raises:
            VergenceError: One line on what is wrong.
        """
        words = [_underscored(word) for word in argv]
        positional = [action for action in self._actions if not action.option_strings]
        for path in config_paths(words):
            written = read_options(path)
            for action in positional:  # argparse lets the default of a missing word hide the file's
                action.default = written.get(action.dest, action.default)
        args = self.parse_args(words)
        missing = [action.dest for action in positional if args.get(action.dest) is None]
        if missing:
            self.error(f"arguments are required: {', '.join(missing)}")
        for module in filter(None, (args.pop("import", None) or "").split(",")):
            load_module(module)
        return args

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        for action in self._actions:
            _polish(action)
        return super().format_help(*args, **kwargs)


def read_options(path: str) -> dict[str, Any]:
    """Read a YAML file of options.

    Raises:
        BadInput: If it is missing or not names with values.
    """
    try:
        read = plain_yaml.parse(Path(path).read_text(), f"--config {path}")
    except OSError as error:
        raise BadInput(f"--config {path}: {(error.strerror or str(error)).lower()}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"--config {path} is not valid YAML: {error}.") from error
    if not isinstance(read, dict):
        raise BadInput(f"--config {path} needs lines such as `epochs: 50`; got {type(read).__name__}.")
    return read


def config_paths(words: list[str]) -> list[str]:
    """Return the files that ``--config`` names."""
    apart = [after for word, after in pairwise(words) if word == "--config"]
    return apart + [word.partition("=")[2] for word in words if word.startswith("--config=")]


class _Help(argparse.HelpFormatter):
    """Options spelt with dashes, each on its own line with its default; text of several lines stays so."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, max_help_position=28, **kwargs)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

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


def add_store(parser: Options) -> None:
    parser.add_argument("store", nargs="?", type=str, help="table that vergence embed wrote")


def add_store_and_column(parser: Options) -> None:
    add_store(parser)
    parser.add_argument("--column", type=str, default="vector", help="which vectors to compare")
