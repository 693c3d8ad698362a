"""Modalities: what the library knows of each, said once, and which there are. Imports nothing heavy."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from vergence.core.errors import BadInput, unknown

GROUP = "vergence.modalities"  # of entry points; also the package of the library's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """One kind of data: how it is opened, which encoders and views it has, how it is judged and shown.

    A *place* is text, "module" or "module:attribute"; it is imported when it is first used. Empty places
    and tuples mean that the modality has nothing of the kind.

    Args:
        name: What ``Source.modality`` says; of the library's own, the folder in ``methods/`` and ``data/``.
        noun: What samples come in, as a person says it: "images".
        accepts: What ``open`` understands, for help and errors.
        example: A source as it is typed after ``vergence learn METHOD``.
        method: Key of the method that help recommends to begin with.
        encoders: Module with ``names()``, ``build(**spec)`` and ``for_source(source, name, *, size,
            **options)``; it may have ``small(source)``, settings of ``learn`` for a first look,
            ``choice(source)``, the size of views that the data suggest, in words, ``adapt(make, source, *,
            size)``, which makes an encoder of a network of the user's own, ``make(in_dim)``, that takes
            tensors instead of batches, and ``SCHEMES`` of names that are other libraries', such as "timm".
        views: Module with ``KINDS``, factories ``(**input_spec, **options)`` by name, "pair" at least, and
            ``OPTIONS``, names of options that all take; it may have ``MILD``, those of a fine-tuning.
        example_source: Place of ``(kind="")`` -> a small labelled ``Source`` in which something can be
            learned in seconds. The contract test asks for it, and for the kinds that a method's test names.
        names: Data that come with the library, such as "digits".
        schemes: What stands before the colon of a uri. The first takes ``flags`` as ``?name=value``.
        suffixes: Ends of files that may be of this modality, in lower case.
        precedence: Of several modalities that may read a file, folder or object, the lowest looks first.
        open: Place of ``(uri, *, limit)`` -> ``Source``, for names and schemes.
        open_files: Place of ``(paths, root, uri, *, limit)`` -> ``Source``, for existing files that all have
            one of ``suffixes``; ``root`` is the folder they share. None, or ``WrongModality`` with the
            reason, leaves them to others.
        looks_like: Place of ``(paths)`` -> whether existing files are of this modality, by their first lines.
            Asked where several read them with the same options.
        open_folder: Place of ``(root, names, uri, *, limit)``; ``names`` are its files. As above.
        open_object: Place of ``(data, *, limit, ...)``, for what is in memory, with the options of ``open``
            that it understands, each None by default. As above.
        accepts_objects: What that understands, for errors.
        join: Place of ``(sources)`` -> one ``Source`` with the samples of all, targets kept.
        flags: Name of a command-line option that says how a source is read -> its help.
        raw: Place of ``(source, encoder)`` -> modules by name that show the input unlearned: baselines.
        protocols: Of ``evaluate`` that are usual; none takes those of most modalities.
        splits: Place of ``(encoder, source, protocols, *, seed)`` -> scores on splits that come with the
            data, which a source names in ``protocols``.
        thumbnail: Place of ``(sample, side)`` -> a small picture as a file, or None. A store keeps it.
        subject: Place of ``(store, parts, source, encoder)`` -> the ``Subject`` of a report.
    """

    name: str
    noun: str
    accepts: str
    example: str
    encoders: str
    views: str
    example_source: str
    method: str = "simclr"
    names: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    precedence: int = 100
    open: str = ""
    open_files: str = ""
    looks_like: str = ""
    open_folder: str = ""
    open_object: str = ""
    accepts_objects: str = ""
    join: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    raw: str = ""
    protocols: tuple[str, ...] = ()
    splits: str = ""
    thumbnail: str = ""
    subject: str = ""

    def load(self, what: str) -> Any:
        """Import what one of the places names; None where it is empty.

        >>> find_modality("image").load("encoders").__name__
        'vergence.methods.image.encoders'
        """
        module, _, attribute = getattr(self, what).partition(":")
        if not module:
            return None
        loaded = importlib.import_module(module)
        return getattr(loaded, attribute) if attribute else loaded


registered: dict[str, Modality] = {}  # those that `register` added, by name


def register(modality: Modality) -> None:
    """Add a modality of your own. A package may do it by an entry point of the group ``vergence.modalities``.

    Raises:
        BadInput: If another one has its name, or opens one of its names or schemes.
    """
    for other in (*_own().values(), *registered.values()):
        if other == modality:
            return
        taken = [f"the {what[:-1]} '{word}'" for what in ("names", "schemes")
                 for word in getattr(modality, what) if word in getattr(other, what)]  # fmt: skip
        if other.name == modality.name or taken:
            raise BadInput(
                f"The modality '{modality.name}' cannot be added: '{other.name}' has "
                f"{taken[0] if taken else 'its name'} already."
            )
    registered[modality.name] = modality


def find_modality(name: str) -> Modality:
    """Return the modality of that name.

    Raises:
        BadInput: If nobody has registered it.
    """
    for known in (_own, lambda: registered, _installed):
        if name in (those := known()):
            return those[name]
    raise unknown("modality", name, [m.name for m in known_modalities()])


def known_modalities() -> list[Modality]:
    """Return all modalities: the library's, the registered and the installed ones, by precedence."""
    every = {**_installed(), **registered, **_own()}
    return sorted(every.values(), key=lambda m: (m.precedence, m.name))


def nouns(modalities: Iterable[Modality]) -> str:
    """List what samples come in, as a person says it.

    >>> nouns([find_modality("image"), find_modality("graph"), find_modality("tables")])
    'images, graphs or tables'
    """
    *others, last = (modality.noun for modality in modalities)
    return f"{', '.join(others)} or {last}" if others else last


@cache
def _own() -> dict[str, Modality]:
    folder = importlib.import_module(GROUP).__path__
    modalities = [importlib.import_module(f"{GROUP}.{m.name}").MODALITY for m in pkgutil.iter_modules(folder)]
    return {modality.name: modality for modality in modalities}


@cache
def _installed() -> dict[str, Modality]:
    return {m.name: m for m in (entry.load() for entry in entry_points(group=GROUP))}
