"""Columns put into a table: one commit each, and nothing but the column is another."""

import numpy as np
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store

IDS = [f"n{i}" for i in range(6)]


@pytest.fixture
def store(tmp_path):
    """Six rows in two fragments, one of them deleted, with columns that lie in each other."""
    vectors = np.arange(24, dtype=np.float32).reshape(6, 4)
    store = Store.create(
        tmp_path / "s.lance",
        None,
        vectors[:4],
        ids=IDS[:4],
        metadata={
            "shot": [1, 2, 3, 4],
            "size": [{"w": 1}, {"w": 2}, {"w": 3}, {"w": 4}],
            "tags": [["a"], [], ["b"], None],
        },
    )
    store.append(None, vectors[4:], ids=IDS[4:], metadata={"shot": [5, 6]})
    store.delete([IDS[1]])
    return store


@pytest.mark.parametrize(
    "values",
    [["a", "b", "c", "d", None], [[1], [2, 3], [], None, [4]], [{"x": 1}] * 5, np.arange(5), [None] * 5],
)
def test_each_setting_of_a_column_is_one_version(store, values):
    others = [name for name in store.table.schema.names if name != "tags"]
    before, rows, version = store.read(others).to_pydict(), store.find("n4"), store.version
    for step, column in enumerate([values, values[::-1], list(range(5)), values]):
        store.set_column("tags", column)
        assert store.version == version + step + 1
        again = Store.open(store.path)
        assert again.read(["tags"])["tags"].to_pylist() == list(column)
        assert again.read(others).to_pydict() == before and again.find("n4") == rows
    again.table.validate()
    store.append(None, np.ones((1, 4), np.float32), ids=["new"])
    assert Store.open(store.path).read(["tags"])["tags"].to_pylist() == [*values, None]
    assert Store.open(store.path, version=version).read(["tags"])["tags"].to_pylist() == [
        ["a"],
        ["b"],
        None,
        None,
        None,
    ]


def test_vectors_and_the_name_of_their_model_are_one_version(store):
    version = store.version
    store.add_vectors("other", np.eye(2, dtype=np.float32), ids=["n0", "n5"], model="runs/b")
    assert store.version == version + 1
    again = Store.open(store.path)
    assert again.about["models"] == {"vector": "", "other": "runs/b"}
    assert again.present("other").tolist() == [0, 4]
    again.set_info(x=1)
    again.set_column("shot", list("abcde"))
    assert Store.open(store.path).about["models"]["other"] == "runs/b"
    with pytest.raises(BadInput, match="'other' cannot name new vectors: .* has such"):
        store.add_vectors("other", np.eye(2), ids=["n0", "n5"])


def test_a_column_and_what_is_known_of_it_are_one_version(store):
    store.set_info(kept="é", told={"a": 1})
    version = store.version
    for step, name in enumerate(["new", "tags", "new"], 1):
        store.set_column(name, list("abcde"), info={"told": {"step": step}})
        again = Store.open(store.path)
        assert store.version == again.version == version + step
        assert again.about["info"] == {"kept": "é", "told": {"step": step}}
        assert again.read([name])[name].to_pylist() == list("abcde")
    assert again.table.schema.names.count("new") == 1 and again.find("n4") == 3


def test_values_of_several_kinds_are_told(store):
    version = store.version
    with pytest.raises(BadInput, match="values of shot are not of one kind"):
        store.set_column("shot", [1, "a", 2, 3, 4])
    assert Store.open(store.path).version == version


def test_an_index_outlives_another_column(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    store = Store.create(tmp_path / "s.lance", None, vectors, ids=[str(i) for i in range(300)])
    store.index(kind="pq")
    store.set_column("cluster", list(range(300)))
    store.set_column("cluster", list(map(str, range(300))))
    assert store.has_index() and store.nearest(vectors[:1], 1)[1].tolist() == [[0]]
