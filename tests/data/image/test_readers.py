"""Image readers: which pictures of a folder, tar or parquet file or list are samples, and what of the others.

The law: samples, skipped ones and those that a note counts are all pictures that the data holds.
"""

import io
import os
import re
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vergence.core.errors import BadInput
from vergence.data import open as open_source
from vergence.data.image.formats import begins_like_picture, pictures_among

HEIC = b"\0\0\0\x18ftypheic" + bytes(200)
KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")


def png(value=0, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(file, kind)
    return file.getvalue()


def put(folder, files):
    for name, raw in files.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(raw)
    return folder


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def counted(source):
    """Return how many pictures were read, were skipped, and stand in notes."""
    read = sum(len(batch) for batch in source.loader(8))
    noted = sum(int(re.search(r"[\d,]+", note)[0].replace(",", "")) for note in source.notes)
    return read, len(source.skipped.reasons), noted


def values(source):
    return {source.names[i]: int(source.sample(i)[0, 0, 0]) for i in range(len(source))}


@pytest.fixture
def without_heic(monkeypatch):
    monkeypatch.setattr("vergence.data.image.decode._heic_opener", lambda: False)


def test_all_pictures_of_a_folder_are_read_skipped_or_noted(tmp_path, without_heic):
    files = {f"p{i}.png": png(i) for i in range(10)}
    files |= {f"IMG_{i}.HEIC": HEIC for i in range(4)}
    files |= {f"{i:032x}": png(i, KINDS[i % len(KINDS)]) for i in range(7)}  # without a suffix
    files |= {"a.jpg_large": png(), "b.jpg?size=2": png(), "c.png.1": png()}
    files |= {"raw.CR2": b"II*\0", "other.cr2": b"II*\0", "drawing.svg": b"<svg/>"}
    files |= {"README": b"read me", "BM.data": b"BMX bikes", "labels.csv": b"a,b", "p.json": b"{}"}
    source = open_source(put(tmp_path, files), limit=1.0)
    assert len(source) == 10 + 4 + 7 + 3
    assert counted(source) == (20, 4, 3)
    assert list(source.notes) == [
        "2 x .cr2 left out: a format that is not read",
        "1 x .svg left out: a format that is not read",
    ]
    assert set(source.skipped.reasons.values()) == {
        "HEIC, which needs a decoder: pip install pi-heif, or pillow-heif"
    }


def test_a_folder_of_mostly_heic_says_so_instead_of_learning_from_the_rest(tmp_path, without_heic):
    put(tmp_path, {f"p{i}.png": png(i) for i in range(6)} | {f"IMG_{i}.HEIC": HEIC for i in range(20)})
    with pytest.raises(
        BadInput, match="of 26 samples of .* cannot be read, for instance IMG_.*: HEIC, which"
    ):
        list(open_source(tmp_path).loader(8))


def test_what_lies_beside_pictures_is_counted(tmp_path):
    put(tmp_path, {"a.png": png(), "b.png": png(), "more.zip": b"PK", "1.tar": b"", "2.tar": b""})
    assert list(open_source(tmp_path).notes) == [
        "2 x .tar beside the pictures not looked into: open it by its path",
        "1 x .zip beside the pictures not looked into: open it by its path",
    ]


def test_pictures_outside_the_annotated_folder_are_counted(tmp_path):
    files = {f"photos/{i}.png": png(i) for i in range(3)} | {f"masks/{i}.png": png(i) for i in range(3)}
    source = open_source(put(tmp_path, files | {"extra/a.png": png(), "b.png": png(), "photos/c": png()}))
    assert source.names == ["0.png", "1.png", "2.png", "c"]
    assert "2 pictures outside photos/ left out, such as b.png" in source.notes


def test_of_a_large_unknown_kind_a_few_files_are_looked_at():
    names, looked = [f"{i}.strange" for i in range(1000)], []
    assert pictures_among(names, lambda name: looked.append(name) or b"text") == []
    assert 32 <= len(looked) < 70
    assert pictures_among(names, lambda name: png()[:64]) == names


@pytest.mark.parametrize("kind", KINDS)
def test_first_bytes_tell_the_format(kind):
    assert begins_like_picture(png(0, kind)[:64])


@pytest.mark.parametrize("head", [b"", b"BM", b"BMX bikes", b"RIFF....WAVE", b"\0\0\0\x18ftypisom", b"text"])
def test_first_bytes_of_other_files_do_not(head):
    assert not begins_like_picture(head)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_that_is_called_like_a_picture_is_none(tmp_path):
    put(tmp_path, {f"p{i}.png": png(i) for i in range(5)})
    os.mkfifo(tmp_path / "x.png")
    source = open_source(tmp_path)
    assert len(source) == 5
    (tmp_path / "p3.png").unlink()
    os.mkfifo(tmp_path / "p3.png")  # between the listing and the reading
    assert counted(source) == (4, 1, 0)
    assert source.skipped.reasons == {"p3.png": "a pipe, a folder or a device, not a file"}


def test_a_link_to_nowhere_is_skipped_with_its_reason(tmp_path):
    put(tmp_path, {f"p{i}.png": png(i) for i in range(5)})
    (tmp_path / "gone.png").symlink_to("/nonexistent")
    source = open_source(tmp_path)
    assert counted(source) == (5, 1, 0)
    assert "No such file" in source.skipped.reasons["gone.png"]


def test_names_that_are_not_utf8_are_escaped_and_their_pictures_read(tmp_path):
    put(
        tmp_path, {b"caf\xe9.png": png(7), b"p1.png": png(1), b"\xc4\xd6/p2.png": png(2), b"x/p3.png": png(3)}
    )
    source = open_source(tmp_path)
    assert values(source) == {r"caf\xe9.png": 7, "p1.png": 1, r"\xc4\xd6/p2.png": 2, "x/p3.png": 3}
    assert source.classes == [r"\xc4\xd6", "x"]
    shard = tar(tmp_path / "s.tar", {"caf\udce9.png": png(9)})
    assert values(open_source(shard)) == {r"s.tar/caf\xe9.png": 9}


def test_dots_in_the_names_of_a_tar_file_make_no_samples_of_one(tmp_path):
    files = {f"a/IMG.2024.{i:02}.png": png(i) for i in range(20)}
    files |= {f"a/IMG.2024.{i:02}.cls": b"%d" % (i % 3) for i in range(20)}
    source = open_source(tar(tmp_path / "s.tar", files))
    assert values(source) == {f"s.tar/a/IMG.2024.{i:02}.png": i for i in range(20)}
    assert source.labels.tolist() == [i % 3 for i in range(20)]
    assert counted(source) == (20, 0, 0)


def test_all_pictures_of_a_tar_file_are_read_skipped_or_noted(tmp_path, without_heic):
    files = {"1.png": png(1), "1.cls": b"dog", "1.seg.png": png(99), "1.json": b"{}"}
    files |= {"2.seg.png": png(98), "2.PNG": png(2), "2.CLS": b"cat"}
    files |= {"3.left.png": png(3), "3.right.png": png(4), "3.cls": b"dog"}
    files |= {
        "4.jpg": png(5),
        "4.png": png(97),
        "5": png(6),
        "6.heic": HEIC,
        "7.nef": b"MM\0*",
        "8.txt": b"x",
    }
    files |= {"._1.png": b"not a picture but what a Mac knows of it"}
    source = open_source(tar(tmp_path / "s.tar", files), limit=1.0)
    assert [name.removeprefix("s.tar/") for name in source.names] == [
        "1.png", "2.PNG", "3.left.png", "3.right.png", "4.jpg", "5", "6.heic",
    ]  # fmt: skip
    labels = [source.classes[label] if label >= 0 else None for label in source.labels]
    assert labels == ["dog", "cat", "dog", "dog", None, None, None]
    assert list(source.notes) == [
        "1 files in formats that are not read left out, such as s.tar/7.nef",
        "3 second pictures of a sample left out, such as s.tar/1.seg.png",
    ]
    assert counted(source) == (6, 1, 4)


def test_links_and_replaced_files_of_a_tar_file_are_counted(tmp_path):
    path = tar(tmp_path / "s.tar", {"1.png": png(1), "2.png": png(2)})
    with tarfile.open(path, "a") as archive:
        for name, kind, target in (("3.png", tarfile.LNKTYPE, "1.png"), ("4.png", tarfile.SYMTYPE, "2.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        again = tarfile.TarInfo("2.png")
        again.size = len(png(22))
        archive.addfile(again, io.BytesIO(png(22)))
    source = open_source(path)
    assert values(source) == {"s.tar/1.png": 1, "s.tar/2.png": 22, "s.tar/3.png": 1}
    assert list(source.notes) == [
        "1 links left out, such as s.tar/4.png",
        "1 older files of the same name left out, such as s.tar/2.png",
    ]


def test_a_tar_file_that_is_cut_or_followed_by_another_says_what_is_not_read(tmp_path):
    whole = tar(tmp_path / "a.tar", {f"{i}.png": png(i) for i in range(4)}).read_bytes()
    assert open_source(tmp_path / "a.tar").notes == []
    (tmp_path / "two.tar").write_bytes(whole + whole)
    (note,) = open_source(tmp_path / "two.tar").notes
    assert re.fullmatch(r"two.tar is broken, or several archives in one: [\d,]+ bytes are not read", note)
    header = 2 * (512 + 512 * -(-len(png()) // 512))  # of the third member
    (tmp_path / "bad.tar").write_bytes(whole[:header] + b"x" * 512 + whole[header + 512 :])
    source = open_source(tmp_path / "bad.tar")
    assert len(source) == 2
    assert source.notes[0].startswith("bad.tar is broken, or several archives in one: ")
    (tmp_path / "cut.tar").write_bytes(whole[: header + 512 + 10])
    source = open_source(tmp_path / "cut.tar")
    assert list(source.notes) == ["cut.tar is broken: what follows its first 3 files is not read"]
    assert counted(open_source(tmp_path / "cut.tar"))[:2] == (2, 1)


def parquet(path, labels, **columns):
    images = pa.array([{"bytes": png(i), "path": None} for i in range(4)])
    table = pa.table({"image": images, "label": labels, **columns})
    pq.write_table(table, path)
    return open_source(path)


@pytest.mark.parametrize(
    ("column", "labels", "classes"),
    [
        (pa.array([1.0, 0.0, None, 2.0]), [1, 0, -1, 2], None),
        (pa.array([1.0, float("nan"), 3.0, 2.0], pa.float32()), [1, -1, 3, 2], None),
        (pa.array([True, False, None, True]), [1, 0, -1, 1], ["false", "true"]),
        (pa.array([True, True, True, True]), [1, 1, 1, 1], ["false", "true"]),
        (pa.array(["dog", "cat", None, "dog"]).dictionary_encode(), [1, 0, -1, 1], ["cat", "dog"]),
        (pa.array([7, 5, 7, None]).dictionary_encode(), [7, 5, 7, -1], None),
        (pa.array(["b", "a", "b", "a"], pa.large_string()), [1, 0, 1, 0], ["a", "b"]),
        (pa.array(["b", "a", "b", "a"], pa.string_view()), [1, 0, 1, 0], ["a", "b"]),
        (pa.array([3, 1, 2, 0], pa.uint8()), [3, 1, 2, 0], None),
        (pa.array([b"b", b"a", b"b", b"a"]), [1, 0, 1, 0], ["a", "b"]),
    ],
)
def test_labels_of_parquet_files_are_read_whatever_their_type(tmp_path, column, labels, classes):
    source = parquet(tmp_path / "x.parquet", column)
    assert source.labels.tolist() == labels
    assert source.classes == classes
    assert source.notes == []


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([0.5, 1.5, 2.0, 1.0]), "it holds numbers that are not whole, and labels are classes"),
        (
            pa.array([[1], [2], [1], []]),
            "it is of type list<item: int64>, and labels are whole numbers or words",
        ),
    ],
)
def test_what_cannot_be_labels_is_left_out_with_a_note(tmp_path, column, why):
    source = parquet(tmp_path / "x.parquet", column)
    assert source.labels is None
    assert [re.sub("element", "item", note) for note in source.notes] == [f"column 'label' left out: {why}"]


def test_a_second_column_of_pictures_is_counted(tmp_path):
    masks = pa.array([{"bytes": png(9), "path": None}] * 4)
    source = parquet(tmp_path / "x.parquet", pa.array([0, 1, 0, 1]), mask=masks)
    assert list(source.notes) == ["column 'image' is read; 4 pictures of mask left out"]
    assert counted(source)[:2] == (4, 0)
    assert values(source) == {f"x.parquet#{i}": i for i in range(4)}


def test_empty_cells_are_skipped_and_joined_sources_keep_their_notes(tmp_path):
    images = pa.array(
        [{"bytes": png(1), "path": None}, None, {"bytes": None, "path": "x"}, {"bytes": png(2)}]
    )
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet")
    path = tar(tmp_path / "s.tar", {"1.png": png(1), "1.seg.png": png(2)})
    source = open_source([str(tmp_path / "x.parquet"), str(path)])
    assert counted(source)[:2] == (3, 2)
    assert list(source.notes) == [f"{path}: 1 second pictures of a sample left out, such as s.tar/1.seg.png"]


def test_all_pictures_of_a_list_are_read_or_skipped():
    images = [Image.new("RGB", (8, 8), (i, i, i)) for i in range(5)]
    images.append(Image.fromarray(np.full((8, 8), 300.0, np.float32)))
    source = open_source(images)
    assert counted(source) == (5, 1, 0)
    assert "float grey is read in [0, 1]" in source.skipped.reasons["memory#5"]
