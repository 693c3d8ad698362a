import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vergence
from vergence.core import BadInput
from vergence.data.columns import (
    coded,
    codes,
    columns_of_numbers,
    numbers,
    plain,
    read_parquet,
    stacked,
    text,
)


def test_codes_count_from_the_most_frequent_word_and_0_is_missing():
    code, words = codes(pa.chunked_array([["b", "a", None], ["a"]]), "kind", "x.csv")
    assert words == ("a", "b") and code.tolist() == [2, 1, 0, 1]
    assert codes(pa.chunked_array([[5.0, None, 5.0]]), "kind", "x.csv")[1] == ("5",)


def test_numbers_that_are_not_finite_are_missing():
    values, centre = numbers(pa.chunked_array([[1.0, np.inf, None]]), "x", "t")
    assert np.isnan(values).tolist() == [False, True, True] and centre == 0
    with pytest.raises(BadInput, match="Column x of t is of type .*, not numeric"):
        numbers(pa.chunked_array([[[1]]]), "x", "t")


@pytest.mark.parametrize(
    "values",
    [
        1_700_000_000_000 + 1000 * np.arange(80),  # milliseconds
        1_700_000_000_000_000_000 + np.arange(80),  # nanoseconds, which no float64 tells apart
        5_400_000_000.0 + 0.5 * np.arange(80),
        np.append(1_700_000_000_000 + np.arange(79), 0),  # with a 0 for unknown
    ],
)
def test_numbers_that_are_large_for_their_spread_stay_apart_in_float32(values):
    near, centre = numbers(pa.chunked_array([values]), "x", "t")
    assert near.dtype == np.float32 and len(np.unique(near)) == 80
    same = values[:79].astype(object) - (int(centre) if values.dtype.kind == "i" else centre)
    assert near[:79].tolist() == same.tolist()


@pytest.mark.parametrize("values", [np.arange(2000, 2030), np.full(30, 7e12), np.linspace(-1, 1, 30)])
def test_other_numbers_stand_as_they_are(values):
    near, centre = numbers(pa.chunked_array([values]), "x", "t")
    assert centre == 0 and near.tolist() == values.astype(np.float32).tolist()


@pytest.mark.parametrize("rows", [1, 2, 3, 40, 25_000])
def test_many_columns_together_are_what_each_is_alone(rows):
    rng = np.random.default_rng(0)
    columns = {
        "plain": rng.normal(size=rows),
        "far": 1e9 + rng.normal(size=rows),
        "times": 1_700_000_000_000 + np.arange(rows),
        "same": np.full(rows, 7e6),
        "rare": np.where(np.arange(rows) == 0, 5e6 + 1, 5e6),
        "half": pa.array(rng.normal(size=rows).astype(np.float32)),
        "small": pa.array(np.arange(rows) % 100, pa.int8()),
        "missing": pa.array([None, *rng.normal(size=rows - 1)], pa.float64()),
        "exact": 2**60 + np.arange(rows),
        "words": pa.array([f"{i},5" for i in range(rows)]),
        "odd": np.where(np.arange(rows) == 0, np.inf, 1.5),
    }
    table = pa.table(columns)
    for names in (table.column_names, table.column_names[:7]):
        together, centres = columns_of_numbers(table, names, "t", ",")
        for place, name in enumerate(names):
            alone, centre = numbers(table[name], name, "t", ",")
            np.testing.assert_array_equal(together[:, place], alone, err_msg=name)
            assert centres[place] == centre, name


def test_words_that_are_numbers_are_numbers():
    assert numbers(pa.chunked_array([["1,50", "?"]]), "x", "t")[0].tolist()[0] == 1.5
    with pytest.raises(BadInput, match="not numeric"):
        numbers(pa.chunked_array([["red"]]), "x", "t")


def test_a_column_of_words_in_one_file_is_of_words_in_all():
    parts = [pa.table({"zip": ["01067"], "v": [1]}), pa.table({"zip": [80331], "v": [1.5]})]
    assert stacked(parts, "t").to_pydict() == {"zip": ["01067", "80331"], "v": [1, 1.5]}
    with pytest.raises(BadInput, match="t and the others differ in their columns"):
        stacked([pa.table({"v": [1]}), pa.table({"v": [[1]]})], "t")


def test_views_of_words_become_words(tmp_path):
    view = pa.array(["a", "b"]).cast(pa.string_view())
    pq.write_table(pa.table({"x": view}), tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet")["x"].type == pa.string()


def test_whole_numbers_that_came_as_floats_are_whole_again():
    assert plain(pa.chunked_array([[1.0, np.nan]])).to_pylist() == [1, None]
    assert plain(pa.chunked_array([[1.5]])).to_pylist() == [1.5]


def test_a_file_that_was_cut_short_is_refused_in_one_line(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"x": np.arange(1000)}), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="is not a parquet file that can be read") as error:
        read_parquet(path)
    assert "\n" not in str(error.value)


def test_bytes_are_read_as_words_in_utf_8():
    assert text(pa.chunked_array([[b"a"]]), "x", "t").to_pylist() == ["a"]
    assert text(pa.chunked_array([[1]]), "x", "t").to_pylist() == [1]
    with pytest.raises(BadInput, match="Column x of t is not text in UTF-8"):
        text(pa.chunked_array([[b"\xff"]]), "x", "t")


def test_two_columns_of_one_name_are_refused():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(BadInput, match="here has two columns called 'a'; rename or drop one"):
        stacked([table], "here")


def test_half_floats_become_floats(tmp_path):
    pq.write_table(pa.table({"a": np.array([0.5, 2], np.float16), "b": [1, 2]}), tmp_path / "a.parquet")
    table = read_parquet(tmp_path / "a.parquet")
    assert table.schema.types == [pa.float32(), pa.int64()] and table["a"].to_pylist() == [0.5, 2]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.date64(), pa.duration("s")]
)
def test_times_beyond_the_years_of_python_are_labels_and_categories(kind):
    late = pa.array([2**40 // 86_400_000 * 86_400_000 * 1000, None, 0]).cast(kind)
    column = pa.chunked_array([late])
    labels, classes = coded(plain(column).to_pylist())
    assert labels[1] == -1 and labels[0] != labels[2] and len(classes) == 2
    assert sorted(codes(column, "at", "t")[1]) == classes


def test_times_in_a_zone_that_nobody_knows_are_the_same_instants_in_utc(tmp_path):
    lost = pa.array([0, 3600], pa.timestamp("s", "No/Where"))
    columns = {
        "plain": lost,
        "paris": pa.array([0, 3600], pa.timestamp("s", "Europe/Paris")),
        "coded": lost.dictionary_encode(),
        "inside": pa.array([[0], [3600]], pa.list_(lost.type)),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    table = read_parquet(tmp_path / "a.parquet")
    utc = datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.UTC)
    assert table["plain"].type.tz == "UTC" and table["paris"].type.tz == "Europe/Paris"
    assert [table[name].to_pylist()[1] for name in ("plain", "coded", "inside")] == [utc, utc, [utc]]
    assert codes(table["plain"], "plain", "t")[1] == ("1970-01-01 00:00:00.000Z", "1970-01-01 01:00:00.000Z")


def test_lists_maps_and_records_are_neither_ids_nor_categories(tmp_path):
    kinds = {
        "map": pa.array([[("a", i)] for i in range(12)], pa.map_(pa.string(), pa.int64())),
        "record": pa.array([{"a": i} for i in range(12)]),
        "list": pa.array([[i] for i in range(12)]),
    }
    for kind, column in kinds.items():
        table = pa.table({"user": [str(i % 3) for i in range(12)], "time": list(range(12)), "odd": column})
        pq.write_table(table, file := tmp_path / f"{kind}.parquet")
        for uri in (
            f"events:{file}?id=odd&time=time",
            f"events:{file}?id=user&time=time&categorical=odd",
            f"table:{file}?categorical=odd",
        ):
            with pytest.raises(
                BadInput, match=r"Column odd of .* is of type .*; an id or a category is a word"
            ):
                vergence.open(uri)
