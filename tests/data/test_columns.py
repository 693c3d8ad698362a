import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vergence.core import BadInput
from vergence.data.columns import codes, numbers, plain, read_csv, read_parquet, text


def test_codes_count_from_the_most_frequent_word_and_0_is_missing():
    code, words = codes(pa.chunked_array([["b", "a", None], ["a"]]))
    assert words == ("a", "b") and code.tolist() == [2, 1, 0, 1]
    assert codes(pa.chunked_array([[5.0, None, 5.0]]))[1] == ("5",)


def test_numbers_that_are_not_finite_are_missing():
    assert np.isnan(numbers(pa.chunked_array([[1.0, np.inf, None]]), "x", "t")).tolist() == [
        False,
        True,
        True,
    ]
    with pytest.raises(BadInput, match="Column x of t is of type .*, not numeric"):
        numbers(pa.chunked_array([[[1]]]), "x", "t")


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


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "log.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(BadInput, match="two columns called a"):
        read_csv(tmp_path / "log.csv")


def test_names_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"a,\xb3b\n1,2\n")
    with pytest.raises(BadInput, match="cannot be read as csv"):
        read_csv(tmp_path / "log.csv")


def test_bytes_are_read_as_words_in_utf_8():
    assert text(pa.chunked_array([[b"a"]]), "x", "t").to_pylist() == ["a"]
    assert text(pa.chunked_array([[1]]), "x", "t").to_pylist() == [1]
    with pytest.raises(BadInput, match="Column x of t is not text in UTF-8"):
        text(pa.chunked_array([[b"\xff"]]), "x", "t")
