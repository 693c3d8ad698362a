"""Event logs: what is read, guessed, refused, and laid out."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.events import EventLog, EventSchema
from vergence.data.events.batch import stretches
from vergence.methods.events.encoders import for_source


def write(path, **columns):
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        import pyarrow.csv

        pyarrow.csv.write_csv(table, path)
    return path


@pytest.fixture
def log(tmp_path):
    return write(
        tmp_path / "log.parquet",
        user=["b", "a", "b", "a", "c", None, "a"],
        ts=[30.0, 5.0, 10.0, 5.0, 1.0, 2.0, 1.0],
        shop=["x", "y", "x", None, "z", "x", "y"],
        amount=[3.0, 1.0, None, 2.0, 9.0, 0.0, 7.0],
        kind=["odd", None, "odd", "even", None, "odd", "even"],
    )


def test_events_are_sorted_by_entity_then_time_and_ties_keep_the_order_of_the_file(log):
    source = vergence.open(f"events:{log}?id=user&time=ts&label=kind")
    assert list(source.names) == ["a", "b", "c"]
    batch = next(source.loader(8))
    assert batch.offsets.tolist() == [0, 3, 5, 6]
    assert batch.time.tolist() == [1, 5, 5, 10, 30, 1]
    assert batch.gap.tolist() == [0, 4, 0, 0, 20, 0]
    assert batch.numeric[:, 0].nan_to_num(-1).tolist() == [7, 1, 2, -1, 3, 9]
    words = batch.fields.words[0]
    assert [words[c - 1] if c else None for c in batch.categorical[:, 0]] == ["y", "y", None, "x", "x", "z"]
    assert words[0] == "x"  # the most frequent
    assert source.classes == ["even", "odd"] and source.labels.tolist() == [0, 1, -1]
    assert "1 rows without user or ts left out" in repr(source)


def test_a_subset_reads_the_same_histories_and_its_own_rows(log):
    source = vergence.open(f"events:{log}?id=user&time=ts")
    part = source.subset([2, 0])
    batch = next(part.loader(8))
    assert part.names[0] == "c" and batch.index.tolist() == [0, 1] and batch.offsets.tolist() == [0, 1, 4]
    assert part.sample(1)["shop"].to_pylist() == ["y", "y", None]


def test_the_schema_is_guessed_from_names_and_types(tmp_path):
    n = 3000
    path = write(
        tmp_path / "log.csv",
        customer_id=np.arange(n) % 7,
        when=pa.array(np.arange(n), pa.timestamp("s")),
        code=np.arange(n) % 12,
        units=np.arange(n) % 1000,
        price=np.linspace(0, 1, n),
        note=[f"note {i}" for i in range(n)],
    )
    log = vergence.open(path).log
    assert (log.schema.id, log.schema.time) == ("customer_id", "when")
    assert log.schema.categorical == ("code",) and log.schema.numeric == ("units", "price")
    assert "note left out (nearly every row differs)" in log.words()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2024-01-01T00:00:00", "1970-01-01T00:00:10"], [10.0, 1704067200.0]),
        (
            ["2024-01-01T01:00:00+02:00", "2024-01-01T00:30:00+01:00"],
            [1704063600.0, 1704065400.0 - 2 * 3600 + 5400],
        ),
        (pa.array([1, 0], pa.date32()), [0.0, 86400.0]),
        (pa.array([7, 3], pa.int64()), [3.0, 7.0]),
        (pa.array([1000, 2], pa.timestamp("ms", "Europe/Paris")), [0.002, 1.0]),
    ],
)
def test_times_become_seconds_in_utc_and_numbers_stay(tmp_path, times, expected):
    path = write(tmp_path / "log.parquet", id=[1, 1], ts=times, kind=["a", "b"])
    result = vergence.open(f"events:{path}?id=id&time=ts").log.time
    if isinstance(times, list) and "+" in times[0]:
        expected = [1704063600.0, 1704065400.0]  # 23:00 and 23:30 UTC
    np.testing.assert_allclose(result, expected)


def test_one_event_an_entity_and_whole_floats_are_fine(tmp_path):
    path = write(tmp_path / "log.parquet", id=[1.0, 2.0, None], ts=[1, 2, 3], kind=[5.0, 6.0, None])
    source = vergence.open(f"events:{path}?id=id&time=ts&categorical=kind")
    assert list(source.names) == ["1", "2"] and source.log.fields.words[0] == ("5", "6")


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.int64()])
def test_nanoseconds_keep_their_order_and_gaps(tmp_path, kind):
    order = np.random.default_rng(0).permutation(60)
    ticks = 1_700_000_000 * 10**9 + 100 * order
    path = write(tmp_path / "log.parquet", user=["u"] * 60, ts=pa.array(ticks, kind), place=order * 1.0)
    log = vergence.open(path).log
    assert log.numeric[:, 0].tolist() == list(range(60))
    assert set(log.gap[1:].tolist()) == {np.float32(1e-7 if kind == pa.timestamp("ns") else 100)}


def test_words_around_a_time_and_a_time_of_day_beside_a_date_are_no_obstacle(tmp_path):
    at = [f" 2024-01-01 00:00:{i:02d} UTC" for i in range(10)]
    log = vergence.open(write(tmp_path / "log.parquet", user=["u"] * 10, ts=at, kind=["a", "b"] * 5)).log
    assert log.time.tolist() == [1704067200.0 + i for i in range(10)]
    days = {"time": pa.array(range(10), pa.time32("s")), "date": pa.array(range(10), pa.date32())}
    log = vergence.open(write(tmp_path / "two.parquet", user=["u"] * 10, **days, kind=["a", "b"] * 5)).log
    assert log.schema.time == "date" and "time left out (a second time)" in log.notes
    spans = pa.array([0, 1500], pa.duration("ms"))
    path = write(tmp_path / "span.parquet", user=["u"] * 2, ts=spans, kind=["a", "b"])
    assert vergence.open(f"events:{path}?id=user&time=ts").log.time.tolist() == [0, 1.5]


def test_rows_with_one_event_a_person_are_not_taken_for_a_log(tmp_path):
    text = "name,id,date,paid\n" + "".join(f"n{i},{i},2024-01-{i % 28 + 1:02d},{i % 7}\n" for i in range(60))
    (tmp_path / "people.csv").write_text(text)
    table = vergence.open(tmp_path / "people.csv")
    assert table.modality == "tables" and len(table) == 60
    assert "left out name (every row differs), id (an id), date (a time)" in table.reading
    assert any("an event log needs events:FILE?id=COLUMN&time=COLUMN" in note for note in table.notes)
    path = write(tmp_path / "people.parquet", user=np.arange(60), ts=np.arange(60), paid=np.arange(60) % 7)
    with pytest.raises(BadInput, match="60 of 60 values of user occur once .* table:FILE.*events:FILE"):
        vergence.open(path)
    assert len(vergence.open(f"events:{path}")) == 60


def test_columns_that_name_the_row_are_no_fields(tmp_path):
    n = 60
    columns = {"user": np.arange(n) % 6, "ts": np.arange(n), "amount": np.linspace(0, 1, n)}
    log = vergence.open(write(tmp_path / "a.parquet", **columns, __index_level_0__=np.arange(n)[::-1])).log
    assert log.schema.categorical == () and log.schema.numeric == ("amount",)
    assert "__index_level_0__ left out (an index)" in log.notes
    rows = [f'{i},{i % 6:05d},{i},"{i * 1000:,.2f}"' for i in range(n)]
    (tmp_path / "a.csv").write_text(",user,ts,amount\n" + "\n".join(rows))
    source = vergence.open(tmp_path / "a.csv")
    assert source.log.schema.numeric == ("amount",) and source.log.schema.categorical == ()
    assert list(source.names)[:2] == ["00000", "00001"] and source.log.numeric[1, 0] == 6000
    assert "'' left out (an index)" in source.notes and source.reading in repr(source)


def test_every_row_is_an_event_or_noted(tmp_path):
    lines = [f"u{i % 5},{i}" if i % 10 else f"u,{i},9" for i in range(100)]
    lines[1::20] = [f",{i}" for i in range(5)]
    (tmp_path / "log.csv").write_text("user,ts\n" + "\n".join(lines))
    source = vergence.open(tmp_path / "log.csv")
    assert len(source.log.time) == 85
    assert any(note.startswith("10 lines have more") for note in source.notes)
    assert "5 rows without user or ts left out" in source.notes


def test_large_numbers_stay_apart_and_are_read_alike_in_another_log(tmp_path):
    def log(first, name):
        ms = 1_700_000_000_000 + np.arange(first, first + 300)
        return vergence.open(write(tmp_path / name, user=np.arange(300) % 3, ts=np.arange(300), at_ms=ms))

    one, two = log(0, "one.parquet"), log(100, "two.parquet")
    assert one.sample(0)["at_ms"].to_pylist()[:2] == [1_700_000_000_000, 1_700_000_000_003]
    assert two.log.fields.offsets != one.log.fields.offsets != ()
    encoder = for_source(one)
    first, second = (
        encoder.values(source.batch(np.arange(3)))[0][:, 0].sort().values for source in (one, two)
    )
    assert len(first.unique()) == 300 and torch.allclose(first[100:], second[:200], atol=1e-6)
    again = vergence.open(one.log.save(tmp_path / "saved"))
    assert again.log.fields.offsets == one.log.fields.offsets


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("id=usr", "did you mean 'user'"),
        ("id=user&time=ts&categorical=shp", "did you mean 'shop'"),
        ("id=user&tine=ts", "did you mean 'time'"),
        ("id=user&time=shop", "no ISO 8601 time"),
        ("id=user&time=ts&numeric=shop", "name it under categorical"),
        ("id=user&time=ts&labels=x.csv", "label=NAME"),
    ],
)
def test_mistakes_are_said_in_one_line(log, query, said):
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(f"events:{log}?{query}")
    assert "\n" not in str(error.value)


def test_labels_come_from_a_second_file(log, tmp_path):
    write(tmp_path / "users.csv", user=["c", "a", "q"], plan=["free", "paid", "free"])
    source = vergence.open(f"events:{log}?id=user&time=ts&label=plan&labels={tmp_path / 'users.csv'}")
    assert source.labels.tolist() == [1, -1, 0] and source.classes == ["free", "paid"]
    assert vergence.open(source.uri).labels.tolist() == [1, -1, 0]


def test_a_saved_log_is_mapped_and_the_same(log, tmp_path):
    source = vergence.open(f"events:{log}?id=user&time=ts&label=kind")
    again = vergence.open(source.log.save(tmp_path / "saved"))
    assert isinstance(EventLog.load(tmp_path / "saved").time, np.memmap)
    first, second = next(source.loader(3)), next(again.loader(3))
    for name in ("categorical", "gap", "time", "offsets", "label"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert list(again.names) == list(source.names) and again.classes == source.classes


def test_a_uri_keeps_odd_names():
    schema = EventSchema(id="a b", time="t&s", categorical=("x,y", "z=1"), numeric=())
    assert EventSchema.from_uri(schema.uri("log.csv")) == ("log.csv", schema)


def test_stretches_equal_a_loop():
    starts, lengths = torch.tensor([4, 0, 9]), torch.tensor([1, 3, 2])
    rows, offsets = stretches(starts, lengths)
    assert rows.tolist() == [r for s, n in zip(starts, lengths, strict=True) for r in range(s, s + n)]
    assert offsets.tolist() == [0, 1, 4, 6]


def test_movielens_has_its_known_counts(data_root):
    if not (data_root / "movielens-100k").is_dir():
        pytest.skip("no MovieLens-100k")
    source = vergence.open(f"movielens:{data_root / 'movielens-100k'}")
    assert len(source) == 943 and len(source.log.time) == 100_000
    assert np.bincount(source.labels).tolist() == [670, 273]
    assert (source.log.gap >= 0).all()
    drama = source.log.numeric[:, source.log.fields.numeric.index("Drama")]
    assert drama.sum() == 39_895


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("categorical", lambda a: a + 9),  # codes without a word
        ("categorical", lambda a: a - 9),
        ("offsets", lambda a: a[::-1].copy()),
        ("gap", lambda a: a[:-1]),
        ("numeric", lambda a: a.astype(np.float64)),
    ],
)
def test_a_saved_log_whose_arrays_do_not_fit_is_refused(log, tmp_path, name, damage):
    folder = vergence.open(f"events:{log}?id=user&time=ts").log.save(tmp_path / "saved")
    np.save(folder / f"{name}.npy", damage(np.load(folder / f"{name}.npy")))
    with pytest.raises(BadInput, match="is not an event log that EventLog.save wrote"):
        vergence.open(f"events:{folder}")
    (folder / f"{name}.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': (((")
    with pytest.raises(BadInput, match="is not an event log"):
        vergence.open(f"events:{folder}")


@pytest.mark.parametrize("kind", [pa.string(), pa.timestamp("us"), pa.float64(), pa.null()])
def test_a_log_without_rows_is_one_line(tmp_path, kind):
    path = write(tmp_path / "log.parquet", user=pa.array([], pa.string()), ts=pa.array([], kind))
    with pytest.raises(BadInput, match="log.parquet holds no events."):
        vergence.open(f"events:{path}?id=user&time=ts")


def test_dates_that_show_their_order_are_times_across_files_and_others_are_refused(tmp_path):
    def days(name, *days):
        (tmp_path / name).write_text(
            "user,bought,paid\n" + "".join(f"u{i % 2},{d},{i + 0.5}\n" for i, d in enumerate(days))
        )

    days("b.csv", "13/02/2024 10:30", "02/03/2024 10:30")  # without it, the months of a.csv could be days
    days("a.csv", "01/02/2024 10:30", "02/02/2024 10:30")
    log = vergence.open(f"events:{tmp_path}?id=user").log
    assert log.schema.time == "bought" and log.fields.numeric == ("paid",)
    days_of_u0 = np.diff(log.time[:2]) / 86400
    assert days_of_u0.tolist() == [12.0] and log.time[0] % 86400 == 37800
    (tmp_path / "b.csv").unlink()
    with pytest.raises(
        BadInput, match="no value tells whether the day or the month comes first. Write them as 2024-"
    ):
        vergence.open(f"events:{tmp_path}?id=user")


def test_a_column_of_pairs_is_no_id(tmp_path):
    pairs = pa.array([[("k", 1)]] * 6, pa.map_(pa.string(), pa.int64()))
    pq.write_table(pa.table({"user": pairs, "time": list(range(6)), "x": [1.0] * 6}), tmp_path / "a.parquet")
    with pytest.raises(BadInput) as error:
        vergence.open(tmp_path / "a.parquet")
    assert "\n" not in str(error.value)
