"""The flags that say how a source is read; they become part of its uri, as ``?name=value``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from vergence.cli.options import Options
from vergence.core.errors import BadInput
from vergence.core.modality import Modality, known_modalities
from vergence.data.paths import split_query


def source_flags() -> dict[str, str]:
    """Return the flags of all modalities, each with whose they are and its help."""
    nouns: dict[str, list[str]] = {}
    helps: dict[str, str] = {}
    for modality in known_modalities():
        for name, text in modality.flags.items():
            nouns.setdefault(name, []).append(modality.noun)
            helps.setdefault(name, text)
    return {name: f"{', '.join(nouns[name])}: {text}" for name, text in helps.items()}


def add_source_flags(parser: Options) -> None:
    """Add ``--id``, ``--time`` and their kind."""
    for name, text in source_flags().items():
        parser.add_argument(f"--{name}", type=str, help=text)


def source_of(args: Any, source: str, known: str = "") -> str:
    """Return the uri of ``source`` as the flags, or else a source that is known, say to read it.

    Args:
        args: The parsed options.
        source: As it was typed.
        known: Uri of data with the same columns, such as that which a run learned from, or nothing.

    Raises:
        BadInput: If a flag is not for data of this kind.
    """
    given = {name: args.get(name) for name in source_flags() if args.get(name) is not None}
    reader = _reader(source) or (_reader(known) if ":" not in source else None)
    if reader is None and given and ":" not in source:
        fitting = [m for m in known_modalities() if given.keys() <= m.flags.keys()]
        named = [m for m in fitting if source.lower().endswith(m.suffixes)]
        reader = next(iter([*named, *fitting]), None)
    wrong = next((name for name in given if reader is None or name not in reader.flags), None)
    if wrong is not None:
        read = f"is read as {reader.noun}" if reader else "takes none"
        raise BadInput(f"--{wrong} says how data of another kind is read; {source} {read}.")
    if reader is None:
        return source
    path, query = split_query(source.removeprefix(f"{reader.schemes[0]}:"))
    if _reader(source) is None and _reader(known) is reader:
        query = split_query(known.removeprefix(f"{reader.schemes[0]}:"))[1]
    parts = {part: part for part in query.split("&") if part and part.partition("=")[0] not in given}
    said = [f"{name}={quote(value, safe='/,')}" for name, value in given.items()]
    whole = "&".join([*parts, *said])
    return f"{reader.schemes[0]}:{path}" + (f"?{whole}" if whole else "")


def _reader(uri: str) -> Modality | None:
    """Return the modality whose flags become part of a uri with this scheme."""
    scheme, colon, _ = uri.partition(":")
    return next((m for m in known_modalities() if m.flags and colon and scheme == m.schemes[0]), None)
