"""Files that would lead scipy or numpy outside of their arrays are refused in one line."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import savemat

import vergence
from vergence.core import BadInput
from vergence.data.graph.pickles import safe_unpickle
from vergence.data.graph.sparse import checked, read_sparse

BAD = {  # of a matrix 4 x 4 with three entries
    "outside": ([0, 10**9, 2], [0, 1, 2, 3, 3]),
    "below": ([0, -5, 2], [0, 1, 2, 3, 3]),
    "descends": ([0, 1, 2], [0, 3, 1, 2, 3]),
    "no entries": ([], [0, 2**20, 0, 2**20, 0]),
    "below at the end": ([0, 1, 2], [0, 1, 2, 3, -1]),
}


def raw_matrix(indices, indptr, kind=sp.csr_matrix):
    """Return a matrix whose parts nobody has checked."""
    matrix = kind((4, 4), dtype=np.float64)
    matrix.data, matrix.indices = np.ones(len(indices)), np.array(indices, np.int32)
    matrix.indptr = np.array(indptr, np.int32)
    return matrix


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize("name", BAD)
def test_a_matrix_is_checked_before_a_loop_follows_its_indices(name, kind):
    with pytest.raises(BadInput, match="^here is not a usable sparse matrix") as error:
        checked(raw_matrix(*BAD[name], kind), "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_files_with_bad_indices_are_refused(name, tmp_path):
    indices, indptr = (np.array(part, np.int32) for part in BAD[name])
    data = np.ones(len(indices))
    for kind in ("csr", "csc"):
        np.savez(tmp_path / "m.npz", format=kind, shape=(4, 4), data=data, indices=indices, indptr=indptr)
        with pytest.raises(BadInput, match="sparse matrix"):
            read_sparse(tmp_path / "m.npz")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_what_scipy_saves_is_read(kind, tmp_path):
    matrix = sp.random_array((7, 5), density=0.3, rng=0, format=kind)
    sp.save_npz(tmp_path / "m.npz", matrix)
    assert np.array_equal(read_sparse(tmp_path / "m.npz").toarray(), matrix.toarray())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "bsr"}, "'bsr'"),
        ({"shape": (4, 4, 4)}, "too many values"),
        ({"data": np.array(["a", "b", "c"])}, "not numbers|data type|dtype"),
        ({"indptr": np.array([0.5, np.nan, 1, 2, 3])}, "not whole numbers"),
        ({"shape": (2**40, 2**40)}, "index pointer"),
    ],
)
def test_npz_files_of_other_things_are_one_line(changed, said, tmp_path):
    parts = {
        "format": "csr",
        "shape": (4, 4),
        "data": np.ones(3),
        "indices": [0, 1, 2],
        "indptr": [0, 1, 2, 3, 3],
    }
    np.savez(tmp_path / "m.npz", **{**parts, **changed})
    with pytest.raises(BadInput, match=said) as error:
        read_sparse(tmp_path / "m.npz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_pickled_matrices_with_bad_indices_are_refused(name, tmp_path):
    raw = pickle.dumps(raw_matrix(*BAD[name]), 2)
    with pytest.raises(BadInput, match="sparse matrix"):
        safe_unpickle(raw, tmp_path / "ind.cora.allx")


def test_a_pickle_makes_no_objects_out_of_bytes(tmp_path):
    """``ndarray(shape, dtype("O"), b"...")`` would take the bytes for pointers."""
    direct = b"cnumpy\nndarray\n((I1\ntcnumpy\ndtype\n(S'O8'\ntRS'AAAAAAAA'\ntR."
    state = (1, (1,), np.dtype("O"), False, b"A" * 8)
    flags = pickle.dumps(np.zeros(1), 2).replace(
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"NNNK\x08K\x08K\x3ft"
    )
    for raw in (direct, pickle.dumps(Reconstructed(state), 2)):
        with pytest.raises(BadInput, match="refused"):
            safe_unpickle(raw, tmp_path)
    assert b"K\x3f" in flags
    assert safe_unpickle(flags, tmp_path).tolist() == [0.0]  # what a type says of itself is not believed


class Reconstructed:
    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return *np.zeros(0).__reduce__()[:2], self.state


@pytest.mark.parametrize(
    "state",
    [
        (1, (2**62, 2**62), np.dtype("f8"), False, b""),
        (1, (-1,), np.dtype("f8"), False, b""),
        (1, (3,), np.dtype("f8"), False, b"short"),
        (1, (1,), np.dtype([("a", "f8")]), False, b"A" * 8),
        (1, (1,), "f8", False, b"A" * 8),
        "nothing",
    ],
)
def test_the_state_of_a_pickled_array_is_checked(state, tmp_path):
    with pytest.raises(BadInput, match="refused"):
        safe_unpickle(pickle.dumps(Reconstructed(state), 2), tmp_path)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", "?", "S3", "<U2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_of_every_kind_come_out_of_a_pickle_as_they_went_in(dtype, order, protocol, tmp_path):
    array = np.asarray(np.arange(6).reshape(2, 3).astype(dtype), order=order)
    assert np.array_equal(safe_unpickle(pickle.dumps(array, protocol), tmp_path), array)


def test_a_pickle_that_numbers_beyond_its_length_is_refused_before_room_is_made(tmp_path):
    with pytest.raises(BadInput, match="remembers 4,294,967,295 things"):
        safe_unpickle(b"\x80\x02Nr\xff\xff\xff\xff.", tmp_path)


def test_a_pickle_cannot_change_what_answers_it(tmp_path):
    with pytest.raises(BadInput, match="changes what it was given"):
        safe_unpickle(b"cbuiltins\nlist\n}b.", tmp_path)


def ring(path, **changed):
    network = sp.csc_array(np.eye(4) + np.roll(np.eye(4), 1, 0))
    savemat(path, {"network": network, "group": np.eye(4)[[0, 1, 0, 1], :2], **changed})
    return path


def test_a_matlab_file_gives_the_graph_that_it_holds(tmp_path):
    source = vergence.open(ring(tmp_path / "ring.mat"))
    assert len(source) == 4 and source.labels.tolist() == [0, 1, 0, 1] and source.csr.edges == 12
    dense = vergence.open(ring(tmp_path / "dense.mat", network=np.ones((4, 4))))
    assert dense.csr.edges == 16
    assert vergence.open(ring(tmp_path / "names.mat", group=np.array([[7], [3], [7], [3]]))).classes == [
        "3",
        "7",
    ]


@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array])
def test_a_matlab_matrix_that_is_not_square_is_one_line(kind, tmp_path):
    ring(tmp_path / "wide.mat", network=kind(np.ones((4, 5))))
    with pytest.raises(BadInput, match=r"needs a square matrix called network; it is \(4, 5\)\."):
        vergence.open(tmp_path / "wide.mat")


def test_a_matlab_file_with_groups_of_no_columns_has_no_labels(tmp_path):
    ring(tmp_path / "bare.mat", group=sp.csc_array((4, 0)))
    assert vergence.open(tmp_path / "bare.mat").labels is None


def test_a_matlab_file_that_ends_its_reader_ends_nothing_else(tmp_path):
    raw = ring(tmp_path / "bad.mat").read_bytes()
    pointers = np.array([0, 2, 4, 6, 8], np.int32).tobytes()
    assert raw.count(pointers) == 1
    for bad in ([0, 2, 4, 2**30, 8], [0, 2, -7, 6, 8], [0, 8, 2, 6, 8]):
        (tmp_path / "bad.mat").write_bytes(raw.replace(pointers, np.array(bad, np.int32).tobytes()))
        with pytest.raises(BadInput, match="no usable MATLAB file"):
            vergence.open(tmp_path / "bad.mat")
    assert len(vergence.open(ring(tmp_path / "good.mat"))) == 4


def test_a_reader_that_dies_or_hangs_is_one_line_and_the_next_file_starts_another(tmp_path, monkeypatch):
    from vergence.data import matlab

    ring(tmp_path / "ring.mat")
    for ended, said in (
        ("kill(os.getpid(), 11)", r"ended the process that read it \(-11\)"),
        (None, "longer than"),
    ):
        worker = "import os, time\n" + (f"os.{ended}" if ended else "time.sleep(60)")
        (tmp_path / "matlab_worker.py").write_text(worker)
        with monkeypatch.context() as patch:
            patch.setattr(matlab, "_reader", None)
            patch.setattr(matlab, "__file__", str(tmp_path / "matlab.py"))
            patch.setattr(matlab, "SECONDS", 2.0)
            with pytest.raises(BadInput, match=said) as error:
                vergence.open(tmp_path / "ring.mat")
        assert re.match(rf"{re.escape(str(tmp_path))}/ring.mat is no usable MATLAB file", str(error.value))
    assert len(vergence.open(tmp_path / "ring.mat")) == 4
