"""Event histories and rows of a table on the report's page."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import nn

import vergence
from vergence.data.tables import TableSchema, from_frame
from vergence.reports.subject import subject_of
from vergence.store.table import Store
from vergence.use.clustering import clusters

EVIL = "<script>"


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """40 entities: those of even number buy a and b by the hour, the others c and an evil word by the day."""
    folder, rng = tmp_path_factory.mktemp("events"), np.random.default_rng(0)
    user = np.repeat(np.arange(40), 1 + np.arange(40) % 9)
    odd = user % 2
    step = np.where(odd, 86_400, 3_600)
    columns = {
        "user": user,
        "ts": 1.7e9 + np.concatenate([np.arange(n) for n in np.bincount(user)]) * step,
        "shop": np.where(odd, rng.choice(["c", EVIL], len(user)), rng.choice(["a", "b"], len(user))),
        "paid": np.where(rng.random(len(user)) < 0.2, np.nan, rng.normal(size=len(user)) + 3 * odd),
        "kind": np.where(odd, "day", "hour"),
    }
    pq.write_table(pa.table(columns), folder / "log.parquet")
    source = vergence.open(
        f"events:{folder}/log.parquet?id=user&time=ts&categorical=shop&numeric=paid&label=kind"
    )
    return shown(folder, source, source.labels)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    frame = pa.table(
        {
            "tells": y + 0.01 * rng.normal(size=40),
            "noise": pa.array(np.where(np.arange(40) == 3, np.nan, rng.normal(size=40)), from_pandas=True),
            "word": [EVIL if i % 3 else None for i in range(40)],
            "y": y,
        }
    )
    source = from_frame(frame, TableSchema(label="y"))
    return shown(tmp_path_factory.mktemp("rows"), source, y)


def shown(folder, source, groups):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(len(source), 4)).astype(np.float32) * 0.1
    vectors[:, 0] += np.where(groups == groups[0], 1, -1)
    store = Store.create(folder / "s.lance", source, vectors)
    parts = clusters(store)
    return subject_of(store, parts, modality=source.modality, source=source, encoder=nn.Identity())


def test_a_timeline_gives_room_to_gaps_and_colours_to_words(events):
    row = 8  # nine events an hour apart
    x, y, colour = events.timeline(row)
    assert len(x) == 9 and x[0] == 0 and x[-1] == pytest.approx(1)
    assert np.diff(x) == pytest.approx(1 / 8)
    assert ((y >= 0) & (y <= 1)).all()
    words = events.log.fields.words[0]
    part = slice(events.log.offsets[row], events.log.offsets[row + 1])
    assert [words[c] for c in colour] == [words[k - 1] for k in events.log.categorical[part, 0]]
    missing = np.isnan(events.log.numeric[part, 0])
    assert (y[missing] == 0.5).all()
    alone = events.timeline(0)  # a single event
    assert alone[0].tolist() == [0] and np.isfinite(alone[1]).all()


def test_entities_are_told_in_words(events):
    assert events.facts([0, 8, 17]) == ["1 event, 0 min", "9 events, 8 h", "9 events, 8 days"]
    same, other = events.bonds(8, np.array([8, 17]))
    assert same == "100 % alike" and other == "0 % alike"


def test_timelines_of_an_entity_and_its_neighbours_stand_together(events):
    timelines, lengths = events.sections()
    assert len(timelines.panels) == 4  # two of each class
    for panel in timelines.panels:
        assert panel.svg.count('<text class="tick name"') == 6
    assert EVIL not in "".join(str(panel.svg) for panel in timelines.panels)
    assert lengths.text.startswith("190 events; events of an entity: mean 4.75, median")
    assert "entities with a single event: 5" in lengths.text
    for portrait in events.portraits([0, 8]):
        assert portrait.startswith("data:image/svg")


def test_columns_that_tell_classes_apart_come_first(rows):
    assert rows.variance_between[0] > 0.99 and rows.variance_between[1] < 0.3
    assert [rows.name(k) for k in rows.informative_columns] == ["tells", "noise", "word"]
    assert rows.cell(3, 1) == ("–", 0.0) and rows.cell(0, 2)[0] == "–"
    assert rows.ranks[:, 0].min() == pytest.approx(1 / 80) and rows.ranks[:, 0].max() == pytest.approx(
        79 / 80
    )


def test_a_zip_code_that_was_read_as_a_number_keeps_its_digits(rows, monkeypatch):
    monkeypatch.setattr(rows, "numeric", np.full_like(rows.numeric, 10_115))
    assert rows.cell(0, 1)[0] == "10115"


def test_similar_rows_stand_together_and_words_are_escaped(rows):
    (section,) = rows.sections()
    assert section.panels[-1].title == "What tells them apart"
    for panel in section.panels[:-1]:
        assert panel.svg.count('<text class="tick name"') == 3  # columns
        assert panel.svg.count("<rect") == 3 * 5
        assert EVIL not in str(panel.svg) and "&lt;script" in str(panel.svg)
    assert rows.portraits([0, 1])[0].startswith("data:image/svg")
