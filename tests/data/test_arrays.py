"""numpy's files: what a header claims is checked before anything is read."""

import io
import os
import zipfile

import numpy as np
import pytest

from vergence.core import BadInput
from vergence.data.arrays import read_npy, read_npz


def with_header(text, body=b"\0" * 24, version=1):
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + body


def test_arrays_are_read_as_they_were_saved(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", first=array, second=np.array(["x", "y"]), third=np.zeros((0, 4)))
    assert np.array_equal(read_npy(tmp_path / "a.npy"), array)
    assert isinstance(read_npy(tmp_path / "a.npy", mmap_mode="c"), np.memmap)
    arrays = read_npz(tmp_path / "a.npz")
    assert list(arrays) == ["first", "second", "third"] and arrays["third"].shape == (0, 4)
    assert np.array_equal(arrays["first"], array) and arrays["second"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,), }", "shorter than"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }", "shorter than"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }", "its header says"),
        (
            "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4611686018427387904, 8), }",
            "its header says",
        ),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "Python objects"),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (3,), }", "Python objects"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3L,", "."),
        ("(" * 5000, "."),
        ("nothing", "."),
    ],
)
def test_headers_that_claim_too_much_are_refused_in_one_line(text, said, tmp_path):
    (tmp_path / "a.npy").write_bytes(with_header(text))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
    for read, path in ((read_npy, tmp_path / "a.npy"), (read_npz, tmp_path / "a.npz")):
        with pytest.raises(BadInput, match=said) as error:
            read(path)
        assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("vergence.data.arrays.LARGEST_ARCHIVE", 2**20)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(2**18))
    assert os.path.getsize(tmp_path / "a.npz") < 2**13
    with pytest.raises(BadInput, match="its arrays have 2,097,"):
        read_npz(tmp_path / "a.npz")


def test_files_of_other_things_are_one_line(tmp_path):
    for content in (b"", b"words", b"PK\x03\x04" + bytes(30), io.BytesIO().getvalue()):
        for read, name in ((read_npy, "a.npy"), (read_npz, "a.npz")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(BadInput, match=f"{name} is not an a"):
                read(tmp_path / name)
    with pytest.raises(BadInput, match="No such file"):
        read_npy(tmp_path / "absent.npy")
