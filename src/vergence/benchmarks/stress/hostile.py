"""Valid files to damage, files made to do harm, and how each kind is read."""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from vergence.data import open as open_source
from vergence.data.events.source import EventSource
from vergence.data.image.decode import DecodeError, decode, shape
from vergence.engine.files import load_checkpoint
from vergence.engine.logger import Table, read_csv
from vergence.engine.run import load_encoder, read_config

DEED = Path("/tmp/vergence-fuzz-deed")  # what code inside a file would make


class Refused(Exception):
    """The reader said no in its own way."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: Of the kind.
        seeds: Makes valid files; given a folder to work in.
        read: Reads one case in that folder.
        drawn: Makes a case at random, where bytes changed at random would not come far.
        imports: Modules to load before memory is limited.
        whole: The seeds are the cases, as they are.
    """

    name: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, bytes], object]
    drawn: Callable[[np.random.Generator], bytes] | None = None
    imports: tuple[str, ...] = ()
    whole: bool = False

    def prepare(self) -> None:
        for module in self.imports:
            importlib.import_module(module)


def picture(kind: str, mode: str = "RGB", side: int = 24, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((side, side + 8), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    image = image if mode in ("RGB", "I;16") else image.convert(mode)
    image.save(file, kind, **options)
    return file.getvalue()


def pictures(kind: str) -> Callable[[Path], list[bytes]]:
    packings = (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    several: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "JPEG": [
            ("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"exif": _turn()}),
        ],
        "PNG": [("RGB", {}), ("RGBA", {}), ("P", {}), ("I;16", {}), ("LA", {}), ("1", {})],
        "GIF": [("P", {}), ("P", {"save_all": True, "append_images": [Image.new("P", (40, 60))]})],
        "TIFF": [
            *(("RGB", {"compression": packing}) for packing in packings),
            ("I;16", {}), ("F", {}), ("CMYK", {}), ("1", {"compression": "group4"}),
        ],
        "WEBP": [("RGB", {}), ("RGBA", {"lossless": True})],
        "BMP": [("RGB", {}), ("P", {})],
        "AVIF": [("RGB", {})],
        "JPEG2000": [("RGB", {})],
    }  # fmt: skip
    return lambda folder: [picture(kind, mode, **options) for mode, options in several[kind]]


def _turn() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def read_picture(folder: Path, raw: bytes) -> None:
    """Decode as the loaders do, with and without shrinking."""
    shape(raw)
    try:
        for size in (None, 16):
            pixels = decode(raw, size=size)
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    except DecodeError as error:
        if not str(error):  # a reason is owed
            raise
        raise Refused from None


def parquets(folder: Path) -> list[bytes]:
    images = [picture("PNG"), picture("JPEG"), picture("PNG", "L")] * 4
    columns = {
        "image": pa.array([{"bytes": raw, "path": None} for raw in images]),
        "label": pa.array([i % 3 for i in range(12)], pa.int64()),
    }
    made = []
    for options in (
        {},
        {"compression": "none", "use_dictionary": False},
        {"compression": "zstd", "row_group_size": 5},
    ):
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, **options)
        made.append(file.getvalue())
    file = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": ["a", "b", None] * 4}), file)
    return [*made, file.getvalue()]


def tars(folder: Path) -> list[bytes]:
    made = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for i in range(4):
                long = "n" * 120 + "/" if form != tarfile.USTAR_FORMAT else ""
                for name, raw in ((f"{long}{i}.png", picture("PNG")), (f"{long}{i}.cls", str(i).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(raw)
                    tar.addfile(member, io.BytesIO(raw))
        made.append(file.getvalue())
    return made


def read_source(suffix: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, raw: bytes) -> None:
        path = folder / f"case{suffix}"
        path.write_bytes(raw)
        source = open_source(path, limit=1.0)
        for batch in source.loader(4, spec={"size": 8}, workers=1):
            assert len(batch)
        for i in range(min(2, len(source))):
            source.sample(i)

    return read


def checkpoints(folder: Path) -> list[bytes]:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(4, 4)).sum().backward()
    optimizer.step()
    made = []
    for state in (
        {"step": 3, "seconds": 1.5, "method": net.state_dict(), "optimizer": optimizer.state_dict()},
        {},
    ):
        file = io.BytesIO()
        torch.save(state, file)
        made.append(file.getvalue())
    return made


def read_checkpoint(folder: Path, raw: bytes) -> None:
    path = folder / "last.pt"
    path.write_bytes(raw)
    load_checkpoint(path)


def weights(folder: Path) -> list[bytes]:
    save_file(nn.Linear(4, 8).state_dict(), folder / "seed")
    return [(folder / "seed").read_bytes()]


def read_weights(folder: Path, raw: bytes) -> None:
    path = folder / "encoder.safetensors"
    path.write_bytes(raw)
    load_encoder(nn.Linear(4, 8), path)


def configs(folder: Path) -> list[bytes]:
    return [
        b"version: 2\nmethod: simclr\nsource: digits\nmodality: image\nepochs: 3\nlr: null\nencoder:\n"
        b"  name: resnet-tiny\n  size: 8\noptions: {temperature: 0.5}\nviews: {date: 2026-11-21}\n"
        b"recipe: {lr: 0.1, betas: [0.9, 0.99]}\nfound: {lists: [1, 2, [3]]}\n"
    ]


def read_settings(folder: Path, raw: bytes) -> None:
    (folder / "config.yaml").write_bytes(raw)
    read_config(folder)


def metrics(folder: Path) -> list[bytes]:
    rows = "".join(f"{i},{i // 4},{0.5 / i:.6g},,inf,a note\r\n" for i in range(1, 20))
    return [b"step,epoch,loss,lr,rate,note\r\n" + rows.encode()]


def read_metrics(folder: Path, raw: bytes) -> None:
    path = folder / "metrics.csv"
    path.write_bytes(raw)
    read_csv(path)
    table = Table(path)
    table.rewind(10)
    table.add({"step": 11, "epoch": 2, "loss": 0.1})
    assert any(row.get("step") == 11 for row in read_csv(path))


@functools.cache
def lance_files(folder: Path) -> list[bytes]:
    """Return each file of a small store, with its place in front."""
    from vergence.store.table import Store

    whole = folder / "whole.lance"
    if not whole.exists():
        vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
        Store.create(whole, None, vectors, ids=[f"id{i}" for i in range(40)], labels=np.arange(40) % 3)
    files = sorted(p for p in whole.rglob("*") if p.is_file())
    return [str(p.relative_to(whole)).encode() + b"\0" + p.read_bytes() for p in files]


def read_lance(folder: Path, raw: bytes) -> None:
    from vergence.store.table import Store

    name, _, content = raw.partition(b"\0")
    files = {seed.partition(b"\0")[0]: seed.partition(b"\0")[2] for seed in lance_files(folder)}
    if name not in files:  # the name itself was hit: damage the first file with all of it
        name, content = next(iter(files)), raw
    path = folder / "case.lance"
    shutil.rmtree(path, ignore_errors=True)
    for other, whole in files.items():
        place = path / other.decode()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if other == name else whole)
    store = Store.open(path)
    assert len(store.vectors()) == len(store)
    store.names, store.labels, store.classes, store.find("id3")


def logs(folder: Path) -> list[bytes]:
    """Return event logs in parquet: times with and without a zone, words, numbers, missing values."""
    n = 40
    days = np.datetime64("2026-01-01T00:00:00", "us") + np.arange(n).astype("timedelta64[h]")
    columns = {
        "user": pa.array([f"u{i % 7}" for i in range(n)]),
        "ts": pa.array(days),
        "shop": pa.array(["a", "b", None, "c"] * 10),
        "paid": pa.array([1.5, None, -2.0, np.nan] * 10),
        "card": pa.array([i % 3 for i in range(n)], pa.int16()),
    }
    zoned = {**columns, "ts": pa.array(days, pa.timestamp("ms", "Europe/Paris"))}
    coded = {**columns, "user": pa.array(np.arange(n) % 5), "ts": pa.array(np.arange(n) * 0.5)}
    coded["shop"] = columns["shop"].dictionary_encode()
    made = []
    for table, options in (
        (columns, {}),
        (zoned, {"compression": "none", "use_dictionary": False}),
        (coded, {"compression": "zstd", "row_group_size": 16}),
    ):
        file = io.BytesIO()
        pq.write_table(pa.table(table), file, **options)
        made.append(file.getvalue())
    return made


def log_texts(folder: Path) -> list[bytes]:
    """Return event logs in csv."""
    rows = [f"u{i % 5},2026-01-{1 + i % 28:02d}T08:00:00,{'ab'[i % 2]},{i * 0.25}\n" for i in range(40)]
    text = "user,ts,shop,paid\n" + "".join(rows)
    quoted = "user;ts;shop;paid\n" + "".join(f'"u;{i % 4}";{i};"é{i % 3}";\n' for i in range(30))
    return [text.encode(), text.replace(",", "\t").encode(), quoted.encode()]


def read_log(uri: str, suffix: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, raw: bytes) -> None:
        path = folder / f"case{suffix}"
        path.write_bytes(raw)
        source = open_source(uri.format(path), limit=1.0)
        read = sum(len(batch) for batch in source.loader(4))
        assert read + len(source.skipped.reasons) == len(source) > 0
        source.sample(0), repr(source), list(source.names[:3])

    return read


@functools.cache
def saved_logs(folder: Path) -> list[bytes]:
    """Return each file of a saved event log, with its name in front."""
    whole = folder / "whole"
    if not whole.exists():
        (folder / "log.parquet").write_bytes(logs(folder)[0])
        log = open_source(f"events:{folder / 'log.parquet'}?id=user&time=ts")
        cast(EventSource, log).log.save(whole)
    return [p.name.encode() + b"\0" + p.read_bytes() for p in sorted(whole.iterdir())]


def read_saved_log(folder: Path, raw: bytes) -> None:
    name, _, content = raw.partition(b"\0")
    files = dict(seed.split(b"\0", 1) for seed in saved_logs(folder))
    if name not in files:
        name, content = next(iter(files)), raw
    path = folder / "case"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for other, whole in files.items():
        (path / other.decode()).write_bytes(content if other == name else whole)
    source = open_source(f"events:{path}")
    assert sum(len(batch) for batch in source.loader(4)) == len(source)
    source.sample(0), repr(source), list(source.names[:3])


@functools.cache
def planetoid_parts() -> dict[str, bytes]:
    """Write a graph of nine nodes as Planetoid would."""
    import scipy.sparse as sp

    x = sp.csr_matrix(np.eye(9, 5, dtype=np.float32) + np.eye(9, 5, -5, dtype=np.float32))
    y = np.eye(3, dtype=np.int32)[np.arange(9) % 3]
    parts = {
        "x": x[:3], "y": y[:3], "allx": x[:6], "ally": y[:6], "tx": x[6:], "ty": y[6:],
        "graph": {i: [(i + 1) % 9, (i + 2) % 9] for i in range(9)},
    }  # fmt: skip
    made = {f"ind.toy.{name}": pickle.dumps(part, protocol=2) for name, part in parts.items()}
    return {**made, "ind.toy.test.index": b"7\n6\n8\n"}


def planetoids(folder: Path) -> list[bytes]:
    return [name.encode() + b"\0" + raw for name, raw in planetoid_parts().items()]


def read_planetoid(folder: Path, raw: bytes) -> None:
    name, _, content = raw.partition(b"\0")
    parts = {key.encode(): part for key, part in planetoid_parts().items()}
    if name not in parts:
        name, content = b"ind.toy.allx", raw
    for other, part in parts.items():
        (folder / other.decode()).write_bytes(content if other == name else part)
    DEED.unlink(missing_ok=True)
    try:
        open_source(f"planetoid:{folder}/toy")
    finally:
        assert not DEED.exists(), "the file ran code"


LANCE = ("vergence.store.table",)
IMAGES = (
    "vergence.data.image.source",
    "vergence.data.image.parquet",
    "vergence.data.image.tar",
    "vergence.data.image.named",
)
GRAPHS = (
    "vergence.data.graph.opening",
    "vergence.data.graph.planetoid",
    "scipy.sparse",
    "torch_geometric.data",
)
TABLES = ("vergence.data.events.source", "vergence.data.tables.source")
FILES = [
    *(
        Kind(name.lower(), pictures(name), read_picture)
        for name in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")
    ),
    *(Kind(name.lower(), pictures(name), read_picture) for name in ("AVIF", "JPEG2000")),
    Kind("parquet", parquets, read_source(".parquet"), imports=IMAGES),
    Kind("tar", tars, read_source(".tar"), imports=IMAGES),
    Kind("checkpoint", checkpoints, read_checkpoint),
    Kind("safetensors", weights, read_weights),
    Kind("config", configs, read_settings),
    Kind("metrics", metrics, read_metrics),
    Kind("planetoid", planetoids, read_planetoid, imports=GRAPHS),
    Kind("lance", lance_files, read_lance, imports=LANCE),
    Kind("events", logs, read_log("events:{}?id=user&time=ts", ".parquet"), imports=TABLES),
    Kind("events-csv", log_texts, read_log("events:{}?id=user&time=ts", ".csv"), imports=TABLES),
    Kind("events-saved", saved_logs, read_saved_log, imports=TABLES),
    Kind("table", logs, read_log("table:{}?label=card", ".parquet"), imports=TABLES),
    Kind("table-csv", log_texts, read_log("table:{}?label=shop", ".csv"), imports=TABLES),
]
