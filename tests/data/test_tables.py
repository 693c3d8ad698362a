"""Tables: what is read, guessed, refused and laid out."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.tables import TableSchema, from_frame, from_vectors
from vergence.methods.tables.encoders import build, for_source


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def path(tmp_path):
    return write(
        tmp_path / "people.parquet",
        age=[30, 41, None, 25],
        town=["Rome", "Oslo", "Oslo", None],
        paid=[1.5, float("nan"), float("inf"), 2.0],
        sick=["no", "yes", None, "no"],
        born=pa.array([0, 1, 2, 3], pa.timestamp("s")),
    )


def test_words_are_categories_numbers_are_numbers_and_what_is_missing_is_kept_apart(path):
    source = vergence.open(f"table:{path}?label=sick")
    assert source.modality == "tables" and len(source) == 4
    assert source.columns.numeric == ("age", "paid") and source.columns.categorical == ("town",)
    assert source.columns.words == (("Oslo", "Rome"),)  # the most frequent first
    assert source.categorical[:, 0].tolist() == [2, 1, 1, 0]
    assert np.isnan(source.numeric).tolist() == [[False, False], [False, True], [True, True], [False, False]]
    assert source.labels.tolist() == [0, 1, -1, 0] and source.classes == ["no", "yes"]
    assert source.sample(3) == {"age": 25.0, "paid": 2.0, "town": None}
    assert (
        source.reading == "label sick; numeric age, paid; categorical town (2 values); left out born (a time)"
    )
    assert source.reading in repr(source)


def test_columns_can_be_said_and_a_uri_opens_the_same_again(path):
    schema = TableSchema(label="sick", categorical=("age", "town"), groups=(("all", ("paid",)),))
    source = vergence.open(schema.uri(str(path)))
    assert source.columns.categorical == ("age", "town")
    assert source.columns.words[0] == ("25", "30", "41")  # whole numbers stay whole beside a missing one
    assert source.columns.groups == (("all", ("paid",)),)
    assert TableSchema.from_uri(source.uri) == (str(path), schema)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("label=sik", "sick"),
        ("labl=sick", "label"),
        ("numeric=town", "town"),
        ("label=sick&numeric=sick", "label"),
        ("group=a:age&group=b:age", "one group"),
        ("group=age", "group=NAME"),
        ("numeric=age&categorical=age", "choose one"),
    ],
)
def test_a_mistake_is_one_clear_line(path, query, says):
    with pytest.raises(BadInput, match=says) as caught:
        vergence.open(f"table:{path}?{query}")
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_no_event_log_is_a_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("height,colour\n1.5,red\n,blue\n2.5,\n")
    source = vergence.open(path)
    assert source.modality == "tables" and source.uri == f"table:{path}"
    assert source.sample(1) == {"height": None, "colour": "blue"} and source.sample(2)["colour"] is None


def test_the_reading_says_how_numbers_were_written_and_what_names_a_row(tmp_path):
    n, path = 40, tmp_path / "t.csv"
    lines = [f"{i};{1.5 + i / 100:.2f};{'?' if i % 9 == 0 else i};{i}%;{i:05d}" for i in range(n)]
    path.write_text('"";"height, in m";"weight";"rate";"zip"\n' + "\n".join(lines).replace(".", ","))
    source = vergence.open(f"table:{path}")
    assert source.columns.numeric == ("height, in m", "weight", "rate") and not source.columns.categorical
    assert (
        source.numeric[10].tolist() == [np.float32(1.6), 10, 10] and np.isnan(source.numeric[:, 1]).sum() == 5
    )
    assert source.reading == (
        "numeric 'height, in m', weight ('?' is missing in 5 rows), rate (0% is 0); "
        "left out '' (an index), zip (every row differs)"
    )
    assert len(source) == n and source.notes == []


def test_a_column_that_is_not_named_is_said_to_be_left_out(path):
    source = vergence.open(f"table:{path}?label=sick&numeric=age")
    assert "paid (not named under numeric)" in source.reading


def test_lines_that_are_left_out_are_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{i}\n" for i in range(9)) + "1,2,3\n")
    source = vergence.open(f"table:{path}")
    assert len(source) == 9 and source.notes[0].startswith("1 lines have more or fewer cells")
    with pytest.raises(BadInput, match="1 lines have more or fewer cells"):
        vergence.open(f"table:{path}", limit=0.05)


def test_large_numbers_are_shown_as_they_stand_and_read_alike_in_another_table():
    first = from_frame(pa.table({"ms": 1_700_000_000_000 + np.arange(80)}))
    second = from_frame(pa.table({"ms": 1_700_000_000_000 + np.arange(40, 90)}))
    assert first.sample(79) == {"ms": 1_700_000_000_079.0} and first.columns.offsets != second.columns.offsets
    encoder = for_source(first, "raw")
    vectors = encoder(first.batch(np.arange(80)))
    assert len(vectors.unique()) == 80 and vectors.std().item() == pytest.approx(1, abs=0.02)
    assert torch.allclose(encoder(second.batch(np.arange(40))), vectors[40:], atol=1e-6)
    assert build(**encoder.spec).offsets == encoder.offsets == {"ms": first.columns.offsets[0]}


@pytest.mark.parametrize("start", [1_700_000_000_000, 1_700_000_000_000.0, 1.7e18])
def test_large_numbers_of_an_array_stay_apart(start):
    rows = np.stack([start + 1024 * np.arange(80), np.arange(80)], axis=1)
    source = vergence.open(rows)
    assert [len(np.unique(column)) for column in source.numeric.T] == [80, 80]
    assert source.sample(79) == {"0": rows[79, 0], "1": 79}


def test_names_that_look_like_patterns_and_queries_are_names(tmp_path):
    for name, rows in (("log[1].csv", 8), ("log1.csv", 4), ("what?.csv", 5)):
        (tmp_path / name).write_text("a,b\n" + "1,2\n" * rows)
    for uri, rows in (("log[1].csv", 8), ("what?.csv", 5), ("what?.csv?label=a", 5)):
        assert len(vergence.open(f"table:{tmp_path}/{uri}")) == rows
    assert (
        len(vergence.open(tmp_path / "log[1].csv")) == 8 and len(vergence.open(tmp_path / "what?.csv")) == 5
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("uri", ["{}/x.csv", "table:{}/x.csv", "events:{}/x.csv", "table:{}/x.parquet"])
def test_a_pipe_is_refused_and_hangs_nobody(tmp_path, uri):
    for name in ("x.csv", "x.parquet"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match="regular file|is not a file"):
        vergence.open(uri.format(tmp_path))


def test_batches_follow_subsets_and_orders(path):
    source = vergence.open(f"table:{path}?label=sick")
    part = source.subset(np.array([2, 0]))
    assert part.names == [source.names[2], source.names[0]]
    batch = part.batch(np.array([1, 0, 1]))
    assert batch.index.tolist() == [1, 0, 1] and batch.label.tolist() == [0, -1, 0]
    assert batch.categorical[:, 0].tolist() == [2, 1, 2]
    first, second = ([b.index.tolist() for b in source.loader(3, shuffle=True, seed=1)] for _ in range(2))
    assert first == second


def test_a_frame_may_hold_an_index_views_of_words_and_numbers_as_words():
    n = 40
    words = pa.array(["r", "g"] * (n // 2)).cast(pa.string_view())
    frame = pa.table({"w": words, "rate": [f"{i}%" for i in range(n)], "__index_level_0__": np.arange(n)})
    source = from_frame(frame)
    assert source.columns.categorical == ("w",) and source.columns.numeric == ("rate",)
    with pytest.raises(BadInput, match="two columns called 'a'"):
        from_frame(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]))


def test_a_frame_and_vectors_are_tables_too():
    frame = pa.table({"a": [1, 2], "b": ["x", "y"]})
    assert from_frame(frame).columns.categorical == ("b",)
    with pytest.raises(BadInput, match="speaks Arrow"):
        from_frame([1, 2])
    vectors = from_vectors(np.eye(3), np.array([0, 1, -1]))
    assert vectors.columns.one_unit and torch.equal(vectors.batch(np.arange(3)).numeric, torch.eye(3))
    with pytest.raises(BadInput):
        from_vectors(np.eye(3), np.array([0]))


@pytest.mark.parametrize(
    ("name", "shape", "groups"),
    [("breast_cancer", (569, 30), 10), ("wine", (178, 13), 0), ("digits", (1797, 64), 0)],
)
def test_scikit_learns_tables_open_by_name(name, shape, groups):
    source = vergence.open(f"sklearn:{name}")
    assert source.numeric.shape == shape and len(source.columns.groups) == groups
    for group, columns in source.columns.groups:
        assert len(columns) == 3 and all(group in column for column in columns)
    with pytest.raises(BadInput, match="wine"):
        vergence.open("sklearn:whine")
