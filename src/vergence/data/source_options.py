"""The options that say how a source is read: on the command line flags, in a uri ``?name=value``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from vergence.core.errors import BadInput, unknown
from vergence.core.modality import Modality, find_modality, known_modalities
from vergence.data.paths import expanded, split_query


def source_options() -> dict[str, str]:
    """Return the options of all modalities, each with whose they are and its help."""
    nouns: dict[str, list[str]] = {}
    helps: dict[str, str] = {}
    for modality in known_modalities():
        for name, text in modality.flags.items():
            nouns.setdefault(name, []).append(modality.noun)
            helps.setdefault(name, text)
    return {name: f"{', '.join(nouns[name])}: {text}" for name, text in helps.items()}


def with_options(source: str, given: Mapping[str, Any], known: str = "") -> str:
    """Return the uri of ``source`` as options, or else a source that is known, say to read it.

    Args:
        source: As it was typed.
        given: Options by name: a word or number, or several words, such as names of columns. ``modality`` has
            it read as one, where what lies there could be of several.
        known: Uri of data with the same columns, such as that which a run learned from, or nothing.

    Raises:
        BadInput: If there is no such option, or it is not for data of this kind.

    >>> with_options("edges.csv", {"features": "nodes.csv", "labels": "field"})
    'edges:edges.csv?features=nodes.csv&labels=field'
    """
    given = dict(given)
    if (modality := given.pop("modality", None)) is not None:
        source = _as_modality(source, modality)
    for name, value in given.items():
        if name not in source_options():
            raise unknown("option of open", name, source_options())
        names = value if isinstance(value, list | tuple) else [value]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not all(isinstance(part, str | os.PathLike) for part in names):
            raise BadInput(f"{name} of {source} is a name, or several; got {type(value).__name__}.")
    reader = _reader(source) or (_reader(known) if ":" not in source else None)
    if reader is None and given and ":" not in source:
        reader = _fitting(source, given)
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
    said = [f"{name}={_quoted(value)}" for name, value in given.items()]
    whole = "&".join([*parts, *said])
    return f"{reader.schemes[0]}:{path}" + (f"?{whole}" if whole else "")


def _as_modality(source: str, name: Any) -> str:
    """Return a uri that is opened as one modality, also where another would read what lies there."""
    modality = find_modality(str(name))
    named = any(source in known.names for known in known_modalities())
    if named or not modality.flags or source.startswith(tuple(f"{s}:" for s in modality.schemes)):
        return source
    return f"{modality.schemes[0]}:{source}"


def _quoted(value: str | float | Sequence[str]) -> str:
    if isinstance(value, list | tuple):
        return ",".join(quote(str(part), safe="/") for part in value)
    return quote(str(value), safe="/,")


def _fitting(source: str, given: Mapping[str, Any]) -> Modality | None:
    """Return the modality that has all these options and reads such a file, None where there is none."""
    if any(source in modality.names for modality in known_modalities()):
        return None
    fitting = [m for m in known_modalities() if given.keys() <= m.flags.keys()]
    named = [m for m in fitting if source.lower().endswith(m.suffixes)] or fitting
    if len(named) > 1 and (paths := expanded(source)):
        probes = ((m, m.load("looks_like")) for m in named)
        named = [m for m, looks in probes if looks is None or looks(paths)] or named
    return next(iter(named), None)


def _reader(uri: str) -> Modality | None:
    """Return the modality whose options become part of a uri with this scheme."""
    scheme, colon, _ = uri.partition(":")
    return next((m for m in known_modalities() if m.flags and colon and scheme == m.schemes[0]), None)
