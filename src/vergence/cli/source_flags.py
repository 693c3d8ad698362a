"""The flags that say how an event log or a table is read; they become part of the source's uri."""

from __future__ import annotations

from typing import Any

from vergence.cli.options import Options
from vergence.core.errors import BadInput

FLAGS = ("id", "time", "categorical", "numeric", "label", "labels")


def add_event_flags(parser: Options) -> None:
    """Add ``--id``, ``--time`` and their kind."""
    parser.add_argument(
        "--id", type=str, help="event logs: column that says whose event it is [else guessed]"
    )
    parser.add_argument("--time", type=str, help="event logs: column that says when [else guessed]")
    parser.add_argument(
        "--categorical", type=str, help="event logs, tables: columns of categories, as a,b [else guessed]"
    )
    parser.add_argument(
        "--numeric", type=str, help="event logs, tables: columns of quantities, as a,b [else guessed]"
    )
    parser.add_argument(
        "--label", type=str, help="event logs, tables: column of what is known about an entity or row"
    )
    parser.add_argument("--labels", type=str, help="event logs: file with --id and --label [else the log]")


def source_of(args: Any, source: str, known: str = "") -> str:
    """Return the uri of ``source`` as the flags, or else an event log that is known, say to read it.

    Args:
        args: The parsed options.
        source: As it was typed.
        known: Uri of a log with the same columns, such as the one a run learned from, or nothing.
    """
    said = {name: args.get(name) for name in FLAGS if args.get(name) is not None}
    if source.startswith("table:") or (known.startswith("table:") and ":" not in source):
        return _table(source, known, said)
    if not said:
        from vergence.data.events.source import like

        return like(source, known)
    from vergence.data.events import EventSchema

    path, schema = EventSchema.from_uri(source)
    if not source.startswith("events:") and known.startswith("events:"):
        schema = EventSchema.from_uri(known)[1]
    split = {
        k: tuple(filter(None, v.split(","))) if k in ("categorical", "numeric") else v
        for k, v in said.items()
    }
    return EventSchema(**{**vars(schema), **split}).uri(path)


def _table(source: str, known: str, said: dict[str, str]) -> str:
    from vergence.data.tables import TableSchema

    for name in ("id", "time", "labels"):
        if name in said:
            raise BadInput(f"--{name} is of event logs; {source} is read as a table.")
    path, schema = TableSchema.from_uri(source)
    if not source.startswith("table:"):
        schema = TableSchema.from_uri(known)[1]
    split = {k: tuple(filter(None, v.split(","))) if k != "label" else v for k, v in said.items()}
    return TableSchema(**{**vars(schema), **split}).uri(path)
