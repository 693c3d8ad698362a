"""Tables, event logs, image tables and vectors of any Arrow types, whatever the reader expects."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vergence.benchmarks.stress.drawn import EDGES, drawn_lines, exchanged, header, npy, saved
from vergence.benchmarks.stress.hostile import (
    IMAGES,
    LANCE,
    TABLES,
    Kind,
    log_texts,
    logs,
    parquets,
    picture,
    read_log,
    read_source,
)

_DAY = datetime.datetime(2026, 1, 1)
NUMBERS = ("int8", "int64", "uint64", "float16", "float32", "float64", "bool")
TIMES = ("s", "ms", "us", "ns")
LARGEST = 40  # rows


def column(draw: np.random.Generator, n: int) -> pa.Array:
    """Return ``n`` values of a type that was drawn, some of them null."""
    makers = (
        _numbers, _numbers, _texts, _texts, _times, _times, _decimals, _lists, _structs, _coded,
        _bytes, _pictures,
    )  # fmt: skip
    made = makers[draw.integers(len(makers))](draw, n)
    way = draw.random()
    if way < 0.05:
        return pa.nulls(n, made.type)
    if way < 0.1:
        return pa.nulls(n)
    if way < 0.3 and "view" not in str(made.type):  # of which Arrow takes none
        return made.take(pa.array([None if draw.random() < 0.3 else i for i in range(n)], pa.int64()))
    return made


def _numbers(draw: np.random.Generator, n: int) -> pa.Array:
    kind = str(draw.choice(NUMBERS))
    edges = [0.0, -0.0, 1e30, -1e30, float("nan"), float("inf"), 5e-324, 1.5] if "float" in kind else EDGES
    with np.errstate(all="ignore"):
        return pa.array(draw.choice(np.array(edges), n).astype(kind))


def _texts(draw: np.random.Generator, n: int) -> pa.Array:
    kinds = (pa.string(), pa.large_string(), pa.string_view(), pa.string())
    odd = [
        "",
        " ",
        "a",
        "b",
        "é" * 50,
        "=1+1",
        "1,5",
        "2026-01-01",
        "nan",
        "\0",
        "\n",
        "x" * 3000,
        "a/b",
        "../x",
        "7",
    ]
    return pa.array([str(odd[draw.integers(len(odd))]) for _ in range(n)]).cast(kinds[draw.integers(4)])


def _bytes(draw: np.random.Generator, n: int) -> pa.Array:
    kinds = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4))
    return pa.array([draw.bytes(4) for _ in range(n)], kinds[draw.integers(4)])


def _pictures(draw: np.random.Generator, n: int) -> pa.Array:
    raw = picture("PNG")
    kinds = (pa.binary(), pa.large_binary(), pa.binary_view())
    if draw.integers(2):
        return pa.array([raw] * n, kinds[draw.integers(3)])
    return pa.array([{"bytes": raw if draw.integers(3) else None, "path": None} for _ in range(n)])


def _times(draw: np.random.Generator, n: int) -> pa.Array:
    zones = (None, "UTC", "Europe/Paris", "+05:30", "No/Where")
    at = draw.integers(-(2**40), 2**40, n)
    kinds = (
        pa.timestamp(str(draw.choice(TIMES)), zones[draw.integers(5)]), pa.duration(str(draw.choice(TIMES))),
        pa.date64(), pa.time64("us"), pa.date32(),
    )  # fmt: skip
    kind = kinds[draw.integers(5)]
    if kind == pa.date32():
        return pa.array((at % 2**20).astype(np.int32)).cast(kind)
    if kind == pa.time64("us"):
        return pa.array(at % 86_400_000_000).cast(kind)
    if kind == pa.date64():
        return pa.array((at % 2**20) * 86_400_000).cast(kind)
    return pa.array(draw.choice(np.array(EDGES, np.int64), n) if draw.integers(4) == 0 else at).cast(kind)


def _decimals(draw: np.random.Generator, n: int) -> pa.Array:
    kind = (pa.decimal128(12, 3), pa.decimal256(40, 3))[draw.integers(2)]
    return pa.array([decimal.Decimal(int(value)) for value in draw.integers(-999, 999, n)], kind)


def _lists(draw: np.random.Generator, n: int) -> pa.Array:
    kinds = (
        pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 4), pa.list_(pa.string()),
        pa.list_(pa.list_(pa.int8())), pa.list_(pa.float16(), 4), pa.list_(pa.float32()),
        pa.list_(pa.bool_()),
    )  # fmt: skip
    kind = kinds[draw.integers(len(kinds))]
    inside: Any = 1 if kind.value_type != pa.string() else "x"
    if pa.types.is_list(kind.value_type):
        inside = [1, 2]
    if pa.types.is_boolean(kind.value_type):
        inside = True
    long = 4 if pa.types.is_fixed_size_list(kind) or draw.random() < 0.6 else int(draw.integers(0, 5))
    odd = None if draw.random() < 0.3 else inside
    rows = [[inside] * long for _ in range(n)]
    if rows and long and draw.random() < 0.5:
        rows[draw.integers(n)][-1] = odd
    return pa.array(rows, kind)


def _structs(draw: np.random.Generator, n: int) -> pa.Array:
    if draw.integers(2):
        return pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64()))
    return pa.array([{"a": 1, "b": {"c": "x"}}] * n)


def _coded(draw: np.random.Generator, n: int) -> pa.Array:
    inside: pa.Array = (_texts, _numbers, _times)[draw.integers(3)](draw, 5).unique()
    return pa.DictionaryArray.from_arrays(pa.array(draw.integers(0, len(inside), n), pa.int8()), inside)


def parquet_of(names: tuple[str, ...]) -> Callable[[np.random.Generator], bytes]:
    """Return what draws a parquet file: columns that a reader looks for, of any types, and others."""

    def drawn(draw: np.random.Generator) -> bytes:
        n = int(draw.choice([0, 1, 2, 5, 12, LARGEST]))
        odd = (
            "",
            "meta.width",
            "_rowid",
            "a b",
            "é",
            "x" * 300,
            "__index_level_0__",
            "vector_b",
            "Label",
            names[0],
        )
        known = [name for name in names if draw.random() < 0.9]
        chosen = [*known, *(odd[draw.integers(len(odd))] for _ in range(draw.integers(0, 3)))]
        columns, kept = [], []
        for name in chosen:
            made = usual(name, n) if draw.random() < 0.5 else column(draw, n)
            kept.append(name)
            columns.append(made if made is not None else column(draw, n))
        file = io.BytesIO()
        try:
            pq.write_table(
                pa.Table.from_arrays(columns, names=kept), file, row_group_size=int(draw.choice([3, 99]))
            )
        except (pa.ArrowException, NotImplementedError, ValueError):
            file = io.BytesIO()
            pq.write_table(pa.table({names[0]: [1, 2]}), file)
        return file.getvalue()

    return drawn


def usual(name: str, n: int) -> pa.Array | None:
    """Return a column as a reader expects it, None where it expects nothing of that name."""
    made = {
        "user": [f"u{i % 5}" for i in range(n)],
        "ts": [_DAY + datetime.timedelta(hours=i) for i in range(n)],
        "shop": [("a", "b", None)[i % 3] for i in range(n)],
        "paid": [i * 0.5 for i in range(n)],
        "card": [i % 3 for i in range(n)],
        "image": [{"bytes": picture("PNG"), "path": None}] * n,
        "label": [i % 3 for i in range(n)],
        "id": [f"r{i}" for i in range(n)],
        "vector": [[float(i), 1.0, 2.0] for i in range(n)],
        "class": [("cat", "dog")[i % 2] for i in range(n)],
        "uri": [f"/d/{i}.png" for i in range(n)],
        "thumbnail": [None] * n,
    }
    return pa.array(made[name]) if name in made else None


def stores(suffix: str) -> Callable[[Path], list[bytes]]:
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    samples = [
        {"filepath": f"/d/{i}.jpg", "vector": x[i].tolist(), "ground_truth": {"label": "cat"}, "n": i}
        for i in range(6)
    ]
    table = io.BytesIO()
    pq.write_table(
        pa.table({name: usual(name, 6) for name in ("id", "vector", "label", "class", "uri")}), table
    )
    made = {
        ".npy": npy(x),
        ".npz": saved({"ids": np.array(list("abcdef")), "vector": x, "labels": np.arange(6)}, packed=True),
        ".json": json.dumps({"samples": samples}).encode(),
        ".parquet": table.getvalue(),
    }
    return lambda folder: [made[suffix]]


def read_store(suffix: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, raw: bytes) -> None:
        from vergence.store.table import Store

        path, out = folder / f"case{suffix}", folder / "out.lance"
        path.write_bytes(raw)
        shutil.rmtree(out, ignore_errors=True)
        store = Store.read_file(path, out)
        assert len(store.vectors()) == len(store) == len(store.names)
        store.labels, store.classes, store.read(["id", "class", "label"]).to_pylist()

    return read


def drawn_npz(draw: np.random.Generator) -> bytes:
    """Return arrays that belong to a store, of other types, lengths and shapes."""
    n = int(draw.choice([0, 1, 6]))
    parts: dict[str, Any] = {
        "ids": np.array([f"r{i}" for i in range(n)], "U3"), "vector": np.ones((n, 3), np.float32),
        "labels": np.arange(n),
    }  # fmt: skip
    for _ in range(draw.integers(1, 3)):
        name = str(draw.choice([*parts, "extra", "class", "vector_b", "uri", "thumbnail"]))
        kind = str(draw.choice(["f4", "f2", "i8", "U5", "S3", "c8", "M8[s]", "?", "u8", "f8"]))
        shape = [(n,), (n, 3), (n + 1,), (n, 0), (), (n, 2, 2), (max(n - 1, 0), 3)][draw.integers(7)]
        made = np.zeros(shape, kind)
        if kind in ("f4", "f8") and made.size and draw.integers(2):
            made.flat[0] = draw.choice([np.nan, np.inf, 1e30])
        parts[name] = made
    return saved(parts, packed=bool(draw.integers(2)))


def drawn_samples(draw: np.random.Generator) -> bytes:
    read = json.loads(stores(".json")(Path())[0])
    for _ in range(draw.integers(1, 3)):
        read = exchanged(read, draw)
    return json.dumps(read).encode(errors="replace")


def drawn_csv(head: str) -> Callable[[np.random.Generator], bytes]:
    """Return what draws a table of text: quotes, line ends, encodings and cells that are no values."""

    def drawn(draw: np.random.Generator) -> bytes:
        if draw.random() < 0.2:
            return drawn_lines(draw)
        odd = [
            '"',
            '"a\nb"',
            '"a,b"',
            "",
            "1,50",
            "3%",
            "?",
            "NaN",
            "\0",
            "=1+1",
            "é",
            "1" * 400,
            "2026-13-45",
            "'",
            "\r",
        ]
        comma = str(draw.choice([",", ";", "\t", "|"]))
        lines = [head.replace(",", comma)] if draw.random() < 0.9 else []
        for i in range(int(draw.integers(0, 30))):
            cells = [f"u{i % 4}", f"2026-01-{1 + i % 28:02d}", "ab"[i % 2], str(i / 4)]
            if draw.random() < 0.2:
                cells[draw.integers(4)] = odd[draw.integers(len(odd))]
            lines.append(comma.join(cells[: int(draw.choice([4, 4, 4, 4, 4, 3, 1]))]))
        text = str(draw.choice(["\n", "\r\n", "\r"])).join(lines)
        return text.encode(str(draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")

    return drawn


_EVENTS, _LOG = ("user", "ts", "shop", "paid", "card"), "events:{}?id=user&time=ts"
_IMPORT = ("id", "vector", "label", "class", "uri", "thumbnail")
FILES = [
    Kind("arrow-events", logs, read_log(_LOG, ".parquet"), parquet_of(_EVENTS), imports=TABLES),
    Kind(
        "arrow-events-found",
        logs,
        read_log("{}", ".parquet"),
        parquet_of(_EVENTS),
        imports=(*TABLES, *IMAGES),
    ),
    Kind(
        "arrow-table", logs, read_log("table:{}?label=card", ".parquet"), parquet_of(_EVENTS), imports=TABLES
    ),
    Kind("arrow-images", parquets, read_source(".parquet"), parquet_of(("image", "label")), imports=IMAGES),
    Kind("arrow-store", stores(".parquet"), read_store(".parquet"), parquet_of(_IMPORT), imports=LANCE),
    Kind("npy-store", stores(".npy"), read_store(".npy"), header, imports=LANCE),
    Kind("npz-store", stores(".npz"), read_store(".npz"), drawn_npz, imports=LANCE),
    Kind("json-store", stores(".json"), read_store(".json"), drawn_samples, imports=LANCE),
    Kind("csv-events", log_texts, read_log(_LOG, ".csv"), drawn_csv("user,ts,shop,paid"), imports=TABLES),
    Kind(
        "csv-table",
        log_texts,
        read_log("table:{}?label=shop", ".csv"),
        drawn_csv("user,ts,shop,paid"),
        imports=TABLES,
    ),
]
