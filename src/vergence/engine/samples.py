"""The samples that a run learns from: written down when it begins, found again when it is gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vergence.core.errors import BadInput
from vergence.core.run_config import RunConfig
from vergence.data.source import Source
from vergence.engine.files import first_line, write_whole

NAME = "samples.parquet"
_LOOKED = 256  # samples, evenly spaced, whose content is looked at


def write_samples(out: Path, source: Source) -> None:
    """Write down the names of a source's samples, in their order, and of some a digest of what they hold."""
    n = len(source)
    digests: list[bytes | None] = [None] * n
    for row in np.unique(np.linspace(0, n - 1, min(n, _LOOKED)).astype(int)).tolist():
        digests[row] = _digest(source, row)
    columns = {"name": pa.array(list(source.names), pa.string()), "digest": pa.array(digests, pa.binary())}
    table = pa.table(columns)
    write_whole(out / NAME, lambda aside: pq.write_table(table, aside, compression="zstd"))


def _digest(source: Source, row: int) -> bytes | None:
    content = source.content(row)
    return hashlib.blake2b(content, digest_size=8).digest() if content else None


def read_samples(out: Path) -> tuple[list[str], list[bytes | None]] | None:
    """Return the names and digests that ``write_samples`` wrote; None of a run that has none, as older ones.

    Raises:
        BadInput: If the file is broken.
    """
    path = out / NAME
    try:
        table = pq.read_table(path)
        names = table["name"].to_pylist()
        return names, table["digest"].to_pylist() if "digest" in table.column_names else [None] * len(names)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None


def learned_from(out: Path, config: RunConfig, source: Source) -> Source:
    """Return exactly those samples of a source that a run learned from, in their order.

    What was added since is left out where names tell which samples are new, as those of files do; where they
    do not, because they count, or because samples hang together as in a graph, there must be as many as then.

    What 256 of them hold is compared with what it was, so that data made anew under the same names are
    noticed.

    Args:
        out: The run's folder.
        config: Of the run.
        source: Where it is to go on.

    Raises:
        BadInput: If they are not there, cannot be told from others, or hold something else.
    """
    names = list(source.names)
    written = read_samples(out)
    if written is None:
        changed = config.differs(len(source), names)
    elif names != (learned := written[0]):
        rows, changed = _rows(learned, names)
        if not changed and not source.stable_names and config.out_of != (source.out_of or len(source)):
            holds = source.out_of or len(source)
            changed = (
                f"it held {config.out_of:,} samples and holds {holds:,}, whose names do not tell the new"
            )
        source = source if changed else source.subset(rows)
    else:
        changed = ""
    if written is not None and not changed:
        changed = _other_content(source, written[1])
    if not changed:
        return source
    raise BadInput(
        f"{source.uri} is not what {out} began with: {changed}. "
        "Put it back, or pass the data: resume(run, source=...)."
    )


def _other_content(source: Source, digests: list[bytes | None]) -> str:
    """Say which samples are no more what they were, "" if those that were looked at are."""
    looked = [row for row, digest in enumerate(digests) if digest is not None]
    other = [row for row in looked if _digest(source, row) != digests[row]]
    if not other:
        return ""
    return (
        f"{len(other):,} of the {len(looked):,} samples whose content was noted have another one now, "
        f"such as {source.names[other[0]]}"
    )


def _rows(learned: list[str], names: list[str]) -> tuple[list[int], str]:
    """Return where the learned names stand among others, and why they cannot be told, "" if they can."""
    place = {name: row for row, name in enumerate(names)}
    if len(place) < len(names):
        return [], "some of its samples share a name"
    if missing := [name for name in learned if name not in place]:
        lacks = f"{len(missing):,} of the {len(learned):,} samples that were learned from are not there"
        return [], f"{lacks}, such as {missing[0]}"
    return [place[name] for name in learned], ""
