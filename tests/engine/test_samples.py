"""The samples of a run: data made anew under the same names are noticed, whatever they are."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vergence
from vergence.core import BadInput, RunConfig
from vergence.engine.samples import learned_from, read_samples, write_samples

SETTINGS = RunConfig(method="simclr", source="here", out_of=12)


def png(value, side=16):
    file = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def folder(path, value):
    path.mkdir(exist_ok=True)
    for i in range(12):
        (path / f"{i:02}.png").write_bytes(png(value if i == 7 else i))
    return path


def tar(path, value):
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for i in range(12):
            member = tarfile.TarInfo(f"{i:02}.png")
            member.size = len(raw := png(value if i == 7 else i))
            archive.addfile(member, io.BytesIO(raw))
    return path.with_suffix(".tar")


def parquet(path, value):
    cells = [{"bytes": png(value if i == 7 else i), "path": None} for i in range(12)]
    pq.write_table(pa.table({"image": cells}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def array(path, value):
    pixels = np.zeros((12, 8, 8, 3), np.uint8)
    pixels[7, 3, 3] = value
    return pixels


def rows(path, value):
    text = "".join(f"{value if i == 7 else i / 8},{'ab'[i % 2]}\n" for i in range(12))
    path.with_suffix(".csv").write_text("width,kind\n" + text)
    return f"table:{path.with_suffix('.csv')}"


def log(path, value):
    text = "".join(f"u{i % 12:02},{i},{value if i == 31 else i / 8}\n" for i in range(48))
    path.with_suffix(".csv").write_text("user,ts,paid\n" + text)
    return f"events:{path.with_suffix('.csv')}"


def edges(path, value):
    lines = [f"{i} {(i + (value if i == 7 else 1)) % 12}\n" for i in range(12)]
    path.with_suffix(".edgelist").write_text("".join(lines))
    return path.with_suffix(".edgelist")


@pytest.mark.parametrize("make", [folder, tar, parquet, array, rows, log, edges])
def test_a_sample_that_holds_something_else_is_named_and_the_same_is_none_the_wiser(make, tmp_path):
    write_samples(tmp_path / "run", vergence.open(make(tmp_path / "data", 5)))
    same = vergence.open(make(tmp_path / "data", 5))
    assert learned_from(tmp_path / "run", SETTINGS, same) is same
    with pytest.raises(BadInput) as error:
        learned_from(tmp_path / "run", SETTINGS, vergence.open(make(tmp_path / "data", 3)))
    whole = make in (parquet, edges)  # noticed by the file, and by the graph, of them all
    first = same.names[0 if whole else 7]
    count = 12 if whole else 1
    assert f"{count} of the 12 samples whose content was noted" in str(error.value)
    assert f"such as {first}. Put it back" in str(error.value)


def test_of_many_samples_some_are_looked_at_from_the_first_to_the_last(tmp_path):
    write_samples(tmp_path, vergence.open(np.zeros((1000, 4, 4, 3), np.uint8)))
    names, digests = read_samples(tmp_path)
    looked = [row for row, digest in enumerate(digests) if digest is not None]
    assert len(names) == 1000 and len(looked) == 256 and (looked[0], looked[-1]) == (0, 999)
    assert max(np.diff(looked)) <= 4


def test_samples_of_which_nothing_was_noted_are_known_by_their_names(tmp_path):
    source = vergence.open(array(None, 5))
    write_samples(tmp_path, source)
    pq.write_table(pq.read_table(tmp_path / "samples.parquet").select(["name"]), tmp_path / "samples.parquet")
    other = vergence.open(array(None, 3))
    assert learned_from(tmp_path, SETTINGS, other) is other
