import pytest

from vergence.core import BadInput
from vergence.data.paths import expanded, split_query, table_files


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    for name in ("log[1].csv", "log1.csv", "a{1,2}.csv"):
        (tmp_path / name).touch()
    assert expanded(f"{tmp_path}/log[1].csv") == [tmp_path / "log[1].csv"]
    assert expanded(f"{tmp_path}/a{{1,2}}.csv") == [tmp_path / "a{1,2}.csv"]
    assert expanded(f"{tmp_path}/log[12].csv") == [tmp_path / "log1.csv"]


def test_a_question_mark_in_the_name_of_a_file_belongs_to_it(tmp_path):
    for name in ("what?.csv", "a?b=c.csv", "plain.csv"):
        (tmp_path / name).touch()
    assert split_query(f"{tmp_path}/what?.csv") == (f"{tmp_path}/what?.csv", "")
    assert split_query(f"{tmp_path}/what?.csv?label=x") == (f"{tmp_path}/what?.csv", "label=x")
    assert split_query(f"{tmp_path}/a?b=c.csv?label=x") == (f"{tmp_path}/a?b=c.csv", "label=x")
    assert split_query(f"{tmp_path}/plain.csv?label=x?&id=y") == (f"{tmp_path}/plain.csv", "label=x?&id=y")
    assert split_query("none.csv?label=x") == ("none.csv", "label=x")


def test_the_tables_of_a_folder_are_of_one_kind(tmp_path):
    for name in ("b.CSV", "a.csv.gz", ".hidden.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in table_files(tmp_path)] == ["a.csv.gz", "b.CSV"]
    (tmp_path / "c.parquet").touch()
    with pytest.raises(BadInput, match="holds 1 parquet and 2 csv files; choose"):
        table_files(tmp_path)
