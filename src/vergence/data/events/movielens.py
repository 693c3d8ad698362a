"""MovieLens-100k: a user's ratings as events, with what the film is as their fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from vergence.core.errors import BadInput, unknown
from vergence.data.events.batch import Fields
from vergence.data.events.log import EventLog, Names
from vergence.data.events.schema import EventSchema
from vergence.data.events.source import EventSource

LABELS = ("gender", "age")
AGES = (25, 35, 45)  # first year of every age group but the first
USER = ("user", "age", "gender", "occupation", "zip")
ITEM = (
    "item", "title", "releaseDate", "videoReleaseDate", "imdbURL", "unknown", "Action", "Adventure",
    "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror",
    "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
GENRES = ITEM[6:]


def movielens(uri: str, *, limit: float = 0.5) -> EventSource:
    """Open ``movielens:DIR`` or ``movielens:DIR?label=age``.

    A rating is an event: the stars are a category, the film's genres are 18 flags, its year of
    release a number. Film and user themselves are no fields. Ratings of the same second, which are
    most, keep the order of the file. Labels are the gender, or the age group: under 25, 25 to 34,
    35 to 44, 45 and above.

    Raises:
        BadInput: If ``u.data``, ``u.user`` and ``u.item`` are not in the folder.
    """
    where, _, query = uri.removeprefix("movielens:").partition("?")
    label = query.removeprefix("label=") or "gender"
    if label not in LABELS:
        raise unknown("label of MovieLens", label, LABELS)
    folder = Path(where).expanduser()
    ratings = read_file(folder / "u.data", ("user", "item", "rating", "timestamp"))
    users, films = read_file(folder / "u.user", USER), read_file(folder / "u.item", ITEM)
    user, time = ratings["user"].to_numpy(), ratings["timestamp"].to_numpy().astype(np.float64)
    order = np.lexsort((time, user))
    ids, entity = np.unique(user[order], return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(entity))]).astype(np.int64)
    time = time[order]
    gap = np.diff(time, prepend=time[:1]).astype(np.float32)
    gap[offsets[:-1]] = 0

    film = _rows(ratings["item"], films["item"], folder / "u.item")[order]
    dated = pc.extract_regex(films["releaseDate"].cast(pa.string()), r"(?P<year>\d{4})$")
    year = pc.struct_field(dated, "year").cast(pa.float64())  # null where the film has no date
    columns = [year.to_numpy(), *(films[genre].to_numpy() for genre in GENRES)]
    numeric = np.stack(columns, axis=1).astype(np.float32)[film]
    stars, codes = np.unique(-ratings["rating"].to_numpy()[order], return_inverse=True)
    row = _rows(pa.chunked_array([ids]), users["user"], folder / "u.user")
    if label == "gender":
        labels = (users["gender"].to_numpy(zero_copy_only=False)[row] == "F").astype(np.int64)
        classes = ["M", "F"]
    else:
        labels = np.searchsorted(AGES, users["age"].to_numpy()[row], side="right").astype(np.int64)
        classes = ["under 25", "25 to 34", "35 to 44", "45 and above"]
    numbers = ("year", *GENRES)
    log = EventLog(
        schema=EventSchema("user", "timestamp", ("rating",), numbers, label),
        fields=Fields(("rating",), numbers, (tuple(str(-s) for s in stars),)),
        ids=Names(pa.array(ids).cast(pa.string())),
        offsets=offsets,
        time=time,
        gap=gap,
        categorical=(codes[:, None] + 1).astype(np.int32),
        numeric=numeric,
        labels=labels,
        classes=classes,
    )
    return EventSource(log, uri, limit=limit)


def _rows(values: pa.ChunkedArray, known: pa.ChunkedArray, path: Path) -> np.ndarray:
    """Return where each value stands in a file; raise BadInput if one does not."""
    rows = pc.index_in(values, value_set=known.combine_chunks())
    if rows.null_count:
        missing = values.filter(pc.is_null(rows))[0]
        raise BadInput(f"{path} does not list {missing}, which u.data names; copy the files anew.")
    return rows.to_numpy()


def read_file(path: Path, names: tuple[str, ...]) -> pa.Table:
    """Read a file of MovieLens, which has no header as GroupLens wrote it, and one in some copies."""
    if not path.is_file():
        raise BadInput(
            f"{path} is missing; movielens: needs the folder of u.data, u.user and u.item (MovieLens-100k)."
        )
    text = path.read_bytes().decode("utf-8", errors="replace")
    head = text.partition("\n")[0]
    headed = head.lower().startswith(names[0])
    buffer = pa.BufferReader(text.encode())
    return pc_csv.read_csv(
        buffer,
        read_options=pc_csv.ReadOptions(column_names=list(names), skip_rows=int(headed)),
        parse_options=pc_csv.ParseOptions(delimiter="\t" if "\t" in head else "|", quote_char=False),
    )
