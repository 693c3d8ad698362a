"""Small files that ask for much, and pickles made to do harm."""

from __future__ import annotations

import functools
import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vergence.benchmarks.stress.hostile import (
    DEED,
    GRAPHS,
    IMAGES,
    Kind,
    Refused,
    checkpoints,
    picture,
    read_checkpoint,
    read_metrics,
    read_planetoid,
    read_settings,
    read_source,
    read_weights,
)
from vergence.data import open as open_source


class _Deed:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def hostile_pickles() -> dict[str, bytes]:
    """Return pickles that run code, nest deeply or ask for much."""
    touch = f"touch {DEED}"
    deep = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    made: dict[str, bytes] = {
        "os.system": pickle.dumps(_Deed(os.system, touch)),
        "eval": pickle.dumps(_Deed(eval, f"__import__('os').system({touch!r})")),
        "exec": pickle.dumps(_Deed(exec, f"open({str(DEED)!r}, 'w')")),
        "getattr": b"cbuiltins\ngetattr\n(cos\nS'system'\ntR.",
        "through numpy": b"cnumpy.f2py.capi_maps\ngetinit\n.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__class__.\x93.",
        "posix": f"cposix\nsystem\n(S'{touch}'\ntR.".encode(),
        "codec": b"c_codecs\nencode\n(S'x'\nS'../../os'\ntR.",
        "deep": deep,
        "huge integer": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\xff" * 16 + b".",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "huge memo": b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b".",
        "huge array": b"cnumpy\nndarray\n(" + b"(I99999999999\nI9999\nttR.",
    }
    return made


def bombs(folder: Path) -> list[bytes]:
    """Return a suffix and a small file that asks for much, each."""
    return [suffix.encode() + b"\0" + raw for suffix, raw in made_bombs()]


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        *([(b"zTXt", b"a\0\0" + extra)] if extra else []),
        (b"IDAT", rows),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@functools.cache
def made_bombs() -> list[tuple[str, bytes]]:
    zeros = zlib.compressobj(1)
    nothing = b"".join(zeros.compress(bytes(2**20)) for _ in range(600)) + zeros.flush()
    jpeg = bytearray(picture("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65535, 65535)
    gif = bytearray(picture("GIF", "P"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    tiff = picture("TIFF")
    wide = tiff
    for value in (24, 32):  # ImageWidth and ImageLength, one short each
        wide = wide.replace(struct.pack("<HI", 4, 1) + struct.pack("<I", value),
                            struct.pack("<HI", 4, 1) + struct.pack("<I", 200_000))  # fmt: skip
    claimed = tarfile.TarInfo("a.png")
    claimed.size = 2**62
    pax = tarfile.TarInfo("pax")
    pax.size, pax.type = 2**50, tarfile.XHDTYPE
    packed = io.BytesIO()
    big = b"\x89PNG" + bytes(2**20)
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(60_000, np.int32)), pa.array([big], pa.binary())
    )
    pq.write_table(pa.table({"image": repeated}), packed, compression="none")
    rows = io.BytesIO()
    pq.write_table(pa.table({"image": pa.nulls(500_000_000, pa.binary())}), rows)
    page = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([bytes(2**30)], pa.binary())}), page, compression="zstd")
    zipped = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(checkpoints(Path())[0])) as saved,
        zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for part in saved.infolist():
            large = part.filename.endswith("data/0")
            archive.writestr(part.filename, bytes(2**30) if large else saved.read(part))
    header = b'{"weight":{"dtype":"F32","shape":[99999999,99999],"data_offsets":[0,39999999600000]}}'
    alias = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    pickles = [(f"pickle {name}", raw) for name, raw in hostile_pickles().items()]
    return [
        (".png", png(50_000, 50_000, nothing[:4096])),
        (".png", png(2**31 - 1, 1, b"")),
        (".png", png(13_000, 13_000, nothing)),
        (".png", png(13_000, 13_000, nothing, 16, 0)),
        (".png", png(8, 8, zlib.compress(bytes(200)), extra=nothing)),
        (".jpg", bytes(jpeg)),
        (".gif", bytes(gif)),
        (".tiff", wide),
        (".tar", claimed.tobuf(tarfile.GNU_FORMAT) + bytes(10240)),
        (".tar", pax.tobuf(tarfile.GNU_FORMAT) + bytes(10240)),
        (".tar.gz", _gzipped_zeros()),
        (".tar", _gzipped_zeros()),
        (".parquet", packed.getvalue()),
        (".parquet", rows.getvalue()),
        (".parquet", page.getvalue()),
        (".pt", zipped.getvalue()),
        (".pt", pickle.dumps(_Deed(os.system, f"touch {DEED}"))),
        (".safetensors", struct.pack("<Q", 2**62) + header),
        (".safetensors", struct.pack("<Q", len(header)) + header),
        (".yaml", alias.encode()),
        (".yaml", b"[" * 100_000),
        (".yaml", b"a: !!python/object/apply:os.system ['touch " + bytes(DEED) + b"']"),
        (".csv", b"step,loss\n1," + b"9" * 10_000_000),
        (".csv", b"step,loss\n" + b"9" * 5000 + b",1\n"),
        *pickles,
    ]


@functools.cache
def _gzipped_zeros() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(500)) + packer.flush()


def read_bomb(folder: Path, raw: bytes) -> None:
    head, _, content = raw.partition(b"\0")
    suffix = head.decode()
    DEED.unlink(missing_ok=True)
    readers = {
        ".pt": read_checkpoint,
        ".safetensors": read_weights,
        ".yaml": read_settings,
        ".csv": read_metrics,
    }
    try:
        if suffix.startswith("pickle"):
            read_planetoid(folder, b"ind.toy.allx\0" + content)
        elif suffix in readers:
            readers[suffix](folder, content)
        elif suffix in (".png", ".jpg", ".gif", ".tiff"):
            decoded = folder / "decoded"
            shutil.rmtree(decoded, ignore_errors=True)
            decoded.mkdir()
            (decoded / f"bomb{suffix}").write_bytes(content)
            for i in range(3):
                (decoded / f"good{i}.png").write_bytes(picture("PNG"))
            source = open_source(decoded)
            kept = sum(len(batch) for batch in source.loader(4, spec={"size": 16}, workers=2))
            assert kept + len(source.skipped.reasons) == 4, "a picture is neither read nor counted"
            if source.skipped.reasons:
                raise Refused
        else:
            read_source(suffix)(folder, content)
    finally:
        assert not DEED.exists(), "the file ran code"


BOMBS = Kind("bombs", bombs, read_bomb, imports=(*IMAGES, *GRAPHS), whole=True)
