"""The samples that a run learns from: written down when it begins, found again when it is gone on with."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vergence.core.errors import BadInput
from vergence.core.run_config import RunConfig
from vergence.data.source import Source
from vergence.engine.files import first_line, write_whole

NAME = "samples.parquet"


def write_samples(out: Path, source: Source) -> None:
    """Write down the names of a source's samples, in their order."""
    table = pa.table({"name": pa.array(list(source.names), pa.string())})
    write_whole(out / NAME, lambda aside: pq.write_table(table, aside, compression="zstd"))


def read_samples(out: Path) -> list[str] | None:
    """Return the names that ``write_samples`` wrote; None of a run that has none, as older ones.

    Raises:
        BadInput: If the file is broken.
    """
    path = out / NAME
    try:
        return pq.read_table(path, columns=["name"]).column("name").to_pylist()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None


def learned_from(out: Path, config: RunConfig, source: Source) -> Source:
    """Return exactly those samples of a source that a run learned from, in their order.

    What was added since is left out where names tell which samples are new, as those of files do; where they
    do not, because they count, or because samples hang together as in a graph, there must be as many as then.

    Args:
        out: The run's folder.
        config: Of the run.
        source: Where it is to go on.

    Raises:
        BadInput: If they are not there, or cannot be told from others.
    """
    names = list(source.names)
    learned = read_samples(out)
    if learned == names:
        return source
    if learned is None:
        if not (changed := config.differs(len(source), names)):
            return source
    else:
        rows, changed = _rows(learned, names)
        if not changed and not source.stable_names and config.out_of != (source.out_of or len(source)):
            holds = source.out_of or len(source)
            changed = (
                f"it held {config.out_of:,} samples and holds {holds:,}, whose names do not tell the new"
            )
        if not changed:
            return source.subset(rows)
    raise BadInput(
        f"{source.uri} is not what {out} began with: {changed}. "
        "Put it back, or pass the data: resume(run, source=...)."
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
