"""Imports: what pandas, polars, DuckDB, NumPy and FiftyOne write is cast, or one line names the row."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store

IDS = ["a", "b", "c"]
VECTORS = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]


@pytest.fixture
def imported(tmp_path):
    def read(**columns):
        parquet.write_table(pa.table({"id": IDS, "vector": VECTORS, **columns}), tmp_path / "t.parquet")
        return Store.read_file(tmp_path / "t.parquet", tmp_path / "t.lance", overwrite=True)

    return read


@pytest.fixture
def of_arrays(tmp_path):
    def read(**arrays):
        np.savez(tmp_path / "t.npz", **{"ids": np.array(IDS), "vector": np.array(VECTORS), **arrays})
        return Store.read_file(tmp_path / "t.npz", tmp_path / "t.lance", overwrite=True)

    return read


def labels_and_classes(store):
    columns = store.read(["label", "class"]).to_pydict()
    return columns["label"], columns["class"], store.classes


def test_views_are_strings_bytes_and_lists(imported):
    store = imported(
        id=pa.array(IDS, pa.string_view()),
        uri=pa.array(["/1", None, "/3"], pa.string_view()),
        thumbnail=pa.array([b"\x89PNG", None, None], pa.binary_view()),
        shop=pa.array(["x", "y", None], pa.string_view()),
        tags=pa.array([["u"], [], None], pa.list_(pa.string_view())),
    )
    assert store.names == IDS and store.where("shop = 'y'").tolist() == [1]
    assert store.read(["uri"])["uri"].to_pylist() == ["/1", "b", "/3"]
    assert store.read(["thumbnail"])["thumbnail"].to_pylist()[0] == b"\x89PNG"
    assert store.where("array_has(tags, 'u')").tolist() == [0]


@pytest.mark.parametrize(
    ("columns", "labels", "names", "classes"),
    [
        ({"label": ["dog", "cat", None]}, [1, 0, None], ["dog", "cat", None], ["cat", "dog"]),
        (
            {"label": pa.array(["dog", "cat", "dog"]).dictionary_encode()},
            [1, 0, 1],
            ["dog", "cat", "dog"],
            ["cat", "dog"],
        ),
        ({"label": [1.0, float("nan"), 0.0]}, [1, None, 0], [None] * 3, None),
        (
            {"label": [-1, 2, -1], "class": ["?", "y", "?"]},
            [None, 2, None],
            [None, "y", None],
            ["0", "1", "y"],
        ),
        ({"label": [10**12, 5, 5], "class": ["x", "y", "y"]}, [10**12, 5, 5], ["x", "y", "y"], None),
        ({"class": [7, 8, 7]}, [0, 1, 0], ["7", "8", "7"], ["7", "8"]),
        ({"label": pa.nulls(3)}, [None] * 3, [None] * 3, None),
    ],
)
def test_labels_are_numbers_or_words_and_negative_ones_are_missing(imported, columns, labels, names, classes):
    assert labels_and_classes(imported(**columns)) == (labels, names, classes)


def test_arrays_may_have_words_as_labels_and_numbers_as_ids(of_arrays):
    assert labels_and_classes(of_arrays(labels=np.array(["y", "x", "y"])))[2] == ["x", "y"]
    assert of_arrays(labels=np.array([-1, 1, 0])).labels.tolist() == [-1, 1, 0]
    assert of_arrays(ids=np.arange(3)).names == ["0", "1", "2"]


def test_a_column_is_called_so_that_the_table_can_hold_it_and_that_is_noted(imported):
    store = imported(**{"meta.width": [8, 9, 10], "_distance": [1, 2, 3]})
    assert store.where("meta_width > 8").tolist() == [1, 2]
    assert store.about["info"]["renamed"] == {"meta.width": "meta_width", "_distance": "_distance_"}
    with pytest.raises(BadInput, match="two columns that a store calls meta_width"):
        imported(**{"meta.width": [8, 9, 10], "meta_width": [1, 2, 3]})


def test_whole_numbers_stay_whole_and_short_lists_stay_lists(imported):
    store = imported(
        big=[2**60 + 1, 0, 1],
        box=[[1.5, 2.0], [3.0], []],
        second=[[1.0], [float("nan")], None],
        empty=pa.nulls(3),
    )
    assert store.read(["big"])["big"].to_pylist()[0] == 2**60 + 1
    assert store.read(["box"])["box"].to_pylist() == [[1.5, 2.0], [3.0], []]
    assert store.vector_columns == {"vector": 2, "second": 1}
    assert store.present("second").tolist() == [0]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"vector": [VECTORS[0], None, VECTORS[2]]}, "vector of row 1 .*'b', is missing"),
        ({"vector": [VECTORS[0], [1.0, None], VECTORS[2]]}, "vector of row 1 .*'b', is not finite"),
        ({"vector": [VECTORS[0], [1.0, float("inf")], VECTORS[2]]}, "vector of row 1 .* not finite"),
        ({"vector": [VECTORS[0], [1.0], VECTORS[2]]}, "vector of row 1 .* has 1 values, where 2 are needed"),
        ({"vector": [["x"], ["y"], ["z"]]}, "needs a list of numbers a row; it is list<"),
        ({"vector": [1.0, 2.0, 3.0]}, "needs a list of numbers a row; it is double"),
        ({"vector": pa.nulls(3)}, "needs a list of numbers a row; it is null"),
        ({"id": ["a", None, "c"]}, "Row 1 of .* has no id"),
        ({"id": ["a", "b", "a"]}, "'a' of .* more than once"),
        ({"id": ["a", "two\nlines", "two\nlines"]}, r"'two\\nlines' of .* more than once"),
        ({"label": [1.0, 0.5, 2.0]}, "label of row 1, id 'b', of .* is 0.5"),
        ({"label": [1.0, None, 1e30]}, r"label of row 2, id 'c', of .* is 1e\+30"),
        ({"label": [1.0, float("nan"), -float("inf")]}, "label of row 2, id 'c', of .* is -inf"),
        ({"label": [[1], [2], [3]]}, "Labels are whole numbers or words"),
        ({"thumbnail": [1, 2, 3]}, "thumbnail of .* cannot be read as binary"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_nothing_is_left(imported, tmp_path, columns, line):
    with pytest.raises(BadInput, match=line) as error:
        imported(**columns)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"vector": np.ones((2, 2))}, "3 ids but 2 values of vector"),
        ({"more": np.ones((4, 2))}, "3 ids but 4 values of more"),
        ({"vector": np.ones((3, 2), complex)}, r"vector of .* complex128 of shape \(3, 2\)"),
        ({"vector": np.array([["a", "b"]] * 3)}, "vector of .* <U1"),
        ({"vector": np.ones((3, 2, 2))}, r"shape \(3, 2, 2\)"),
        ({"vector": np.full((3, 2), 1e300)}, "vector of row 0 .* not finite"),
        ({"labels": np.array([0, 1.5, np.inf], np.float16)}, "label of row 1, id 'b', of .* is 1.5"),
        ({"labels": np.array([0, np.nan, np.inf], np.float16)}, "label of row 2, id 'c', of .* is inf"),
    ],
)
def test_arrays_that_do_not_fit_are_named(of_arrays, arrays, line):
    with pytest.raises(BadInput, match=line):
        of_arrays(**arrays)


def test_json_with_mixed_kinds_names_the_column(tmp_path):
    samples = [{"id": name, "vector": [1], "odd": value} for name, value in (("a", 1), ("b", "x"))]
    (tmp_path / "t.json").write_text(json.dumps({"samples": samples}))
    with pytest.raises(BadInput, match=r"odd of .*t\.json mixes kinds of values"):
        Store.read_file(tmp_path / "t.json", tmp_path / "t.lance")
