"""The flags that say how a source is read: the options of ``vergence.open``."""

from __future__ import annotations

from typing import Any

from vergence.cli.options import Options
from vergence.data.source_options import source_options, with_options


def add_source_flags(parser: Options) -> None:
    """Add ``--id``, ``--time`` and their kind."""
    parser.add_argument(
        "--modality", type=str, help="what data are read as, where a folder holds several kinds"
    )
    for name, text in source_options().items():
        parser.add_argument(f"--{name}", type=str, help=text)


def source_of(args: Any, source: str, known: str = "") -> str:
    """Return the uri of ``source`` as the flags, or else a source that is known, say to read it.

    Args:
        args: The parsed options.
        source: As it was typed.
        known: See ``data.source_options.with_options``, also for what is raised.
    """
    names = ("modality", *source_options())
    given = {name: args.get(name) for name in names if args.get(name) is not None}
    return with_options(source, given, known)
