"""One field to find by, own vectors in one command, and a map by two columns."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from vergence.cli import main
from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.finding import LONGEST, find
from vergence.studio.own import open_or_import
from vergence.studio.projection import NOWHERE, ColumnMap
from vergence.studio.session import Session

NAMES = ["cat/1.png", "cat/2.png", "dog.png", "year", "50% _off", "' OR 1=1 --", "<b>bold</b>", "(a+)+$"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("finding") / "s.lance"
    metadata = {
        "year": [2010, 2011, 2012, 2013, 2014, 2015, None, 2017],
        "caption": ["a Grey cat", None, "a dog", "Übergang", "x", "y", "z", "w"],
        "camera": pa.array(["north", "south"] * 4).dictionary_encode(),
        "same": [1.0] * 8,
        "day": pa.array(range(8), pa.date32()),
    }
    return Store.create(path, None, np.eye(8, dtype=np.float32), ids=NAMES, metadata=metadata).path


@pytest.fixture
def store(made, tmp_path):
    return Store.open(shutil.copytree(made, tmp_path / "s.lance"))


@pytest.mark.parametrize(
    ("query", "kind", "rows"),
    [
        ("cat/2.png", "id", [1]),
        (" dog.png ", "id", [2]),
        ("year", "id", [3]),  # an id, though a column is called so
        ("' OR 1=1 --", "id", [5]),
        ("year > 2013", "condition", [4, 5, 7]),
        ("caption = 'a dog' OR id = 'year'", "condition", [2, 3]),
        ("camera", "text", None),
        ("cat", "text", [0, 1]),
        ("GREY", "text", [0]),
        ("übergang", "text", [3]),
        ("%", "text", [4]),  # no pattern of SQL
        ("_off", "text", [4]),
        ("(a+)+", "text", [7]),  # none of regular expressions
        ("<b>", "text", [6]),
        ("SOUTH", "text", [1, 3, 5, 7]),
        ("year > 3000", "condition", []),
    ],
)
def test_a_query_is_an_id_a_condition_or_text(store, query, kind, rows):
    if rows is None:
        with pytest.raises(BadInput, match="contains 'camera'"):
            find(store, query)
        return
    result = find(store, query)
    assert result.kind == kind and result.rows.tolist() == rows


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("", "Give an id"),
        ("x" * (LONGEST + 1), "Give an id"),
        ("yaer > 2010", "did you mean|no column|Unknown column"),
        ("1=1; DROP TABLE x", "understood|Cannot|condition"),
        ("id = 'a' UNION SELECT 1", "understood|Cannot|condition"),
        ("nothing of this", "contains"),
        ("length(repeat('x', 2000000000)) > 5", "repeat"),
        ("\x00", "contains|understood|condition"),
        ("../../etc/passwd", "contains|understood|condition"),
    ],
)
def test_what_finds_nothing_is_one_line_and_changes_nothing(store, query, line):
    with pytest.raises(BadInput, match=line) as error:
        find(store, query)
    assert "\n" not in str(error.value) and Store.open(store.path).version == store.version


def test_a_find_comes_as_a_mask(store):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from vergence.studio.app import serving

    session = Session(store)
    session.start = lambda patience: None
    with TestClient(serving(session), base_url="http://127.0.0.1:7860") as client:
        raw = client.post("/studio/find", json={"query": "year > 2013"}).content
        size = int.from_bytes(raw[:4], "little")
        assert json.loads(raw[4 : 4 + size]) == {"kind": "condition", "count": 3, "row": 4}
        mask = np.unpackbits(np.frombuffer(raw[4 + size :], np.uint8), bitorder="little")
        assert np.flatnonzero(mask).tolist() == [4, 5, 7]
        answer = client.post("/studio/find", json={"query": "id = 'a' UNION SELECT 1"})
        assert answer.status_code == 400 and "\n" not in answer.json()["error"]


def test_a_map_by_two_columns_shows_their_values(store):
    places, how, stage = ColumnMap(store, "year", "day").now
    assert how == "year to the right, day upwards" and stage == 0
    assert places[[0, 7]].tolist() == [[0, 0], [NOWHERE - 1, NOWHERE - 1]]
    assert (places[6] == NOWHERE).all()  # it has no year
    assert (np.diff(places[:6, 0].astype(int)) > 0).all()
    flat = ColumnMap(store, "same", "year").now[0]
    assert flat[0, 0] == round((NOWHERE - 1) / 2)
    for wrong in ("caption", "id", "vector", "x' OR 1=1"):
        with pytest.raises(BadInput, match="column of numbers or times"):
            ColumnMap(store, wrong, "year")
    session = Session(store, axes=("year", "day"))
    assert session.projection.final and session.state()["how"] == how


def test_own_vectors_become_a_store_beside_the_file_and_are_opened_again(tmp_path):
    file = tmp_path / "v.npy"
    x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    np.save(file, x)
    store = open_or_import(file)
    assert store.path == tmp_path / "v.npy.lance" and (store.vectors() == x).all()
    store.set_column("tag", ["a"] * 12)
    assert open_or_import(str(file)).read(["tag"])["tag"].to_pylist() == ["a"] * 12
    np.save(file, x[:5])
    with pytest.raises(BadInput, match="is not what"):
        open_or_import(file)
    assert len(open_or_import(store.path)) == 12


def test_what_lies_where_the_store_belongs_stays_as_it_is(tmp_path):
    file = tmp_path / "v.npy"
    np.save(file, np.eye(4, dtype=np.float32))
    other = Store.create(tmp_path / "v.npy.lance", None, np.ones((2, 2), np.float32), ids=["a", "b"])
    with pytest.raises(BadInput, match="is not what"):
        open_or_import(file)
    assert Store.open(other.path).names == ["a", "b"]


def test_mistakes_of_the_command_are_one_line(store, tmp_path, capsys):
    (tmp_path / "no.npy").write_text("no vectors")
    for words, line in (
        ([str(store.path), "--x", "year"], "--x and --y go together"),
        ([str(store.path), "--x", "yaer", "--y", "day"], "did you mean 'year'"),
        ([str(tmp_path / "no.npy")], "no.npy"),
        ([str(tmp_path / "none.npy")], "none.npy"),
    ):
        assert main(["studio", *words, "--no-browser", "--json"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and line in said
    assert not (tmp_path / "no.npy.lance").exists()
