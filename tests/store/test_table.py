"""The store: what goes in comes out, changes are whole, mistakes are one line."""

import io
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from vergence.core.errors import BadInput, VergenceError
from vergence.data import open as open_source
from vergence.data.image.decode import thumbnail
from vergence.data.source import Skipped
from vergence.store.rows import uris
from vergence.store.table import Store


class Photos:
    """Five 8x6 photos, three of them labelled, of a folder that need not exist."""

    uri, modality, label_name, root = "photos", "image", "class", ""
    classes = ["cat", "dog"]
    labels = np.array([0, 1, -1, 1, -1])
    names = [f"{c}.png" for c in "abcde"]
    skipped = Skipped(0.5)

    def __len__(self):
        return 5

    def store_columns(self, index):
        return {}

    def small_sample(self, i):
        return self.sample(i)

    def sample(self, i):
        if i == 3:
            raise BadInput("broken")
        return np.full((6, 8, 3), 50 * i, np.uint8)


VECTORS = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    return Store.create(
        tmp_path / "s.lance", Photos(), VECTORS, metadata={"shot": [5, 1, 4, 2, 3]}, model="run/1"
    )


MADE_BY = {
    "weights": "abc",
    "preprocessing": {"crop": 224, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5]},
}


def embedded(encoder, index=range(5)):
    return SimpleNamespace(vectors=VECTORS[list(index)], index=np.array(index), encoder=encoder)


def test_a_store_keeps_what_made_its_vectors_and_takes_no_others(tmp_path):
    store = Store.create(tmp_path / "s.lance", Photos(), embedded(MADE_BY, [0, 1, 2]), model="timm:x")
    assert store.encoders == {"vector": MADE_BY}
    store.set_info(colour="red")
    store.append(Photos(), embedded(MADE_BY, [3]))
    store.append(None, VECTORS[4:], ids=["from elsewhere"])
    cut = {**MADE_BY, "preprocessing": {**MADE_BY["preprocessing"], "crop": 192}}
    for other, line in (
        (cut, "filled by another encoder than this one: its crop is 192 and was 224"),
        ({**MADE_BY, "weights": "abd"}, "its weights are others. Use the one that filled it"),
    ):
        with pytest.raises(BadInput, match=line):
            store.append(Photos(), embedded(other, [4]))
    store.add_vectors("second", VECTORS[:, :2], encoder=cut, model="timm:y")
    again = Store.open(store.path)
    assert again.encoders == {"vector": MADE_BY, "second": cut} and len(again) == 5


def test_what_goes_in_comes_out_after_opening_again(store):
    again = Store.open(store.path)
    np.testing.assert_array_equal(again.vectors(), VECTORS)
    assert again.names == Photos.names and len(again) == 5
    assert again.labels.tolist() == [0, 1, -1, 1, -1] and again.classes == ["cat", "dog"]
    assert again.read(["class"])["class"].to_pylist() == ["cat", "dog", None, "dog", None]
    assert again.about["models"] == {"vector": "run/1"} and again.about["source"] == "photos"
    pictures = again.read(["thumbnail"])["thumbnail"].to_pylist()
    assert np.asarray(Image.open(io.BytesIO(pictures[2]))).tolist() == [[[100] * 3] * 8] * 6
    assert pictures[3] is None, "a sample that cannot be read has no picture but keeps its row"


def test_embeddings_of_some_samples_take_their_names_and_labels(tmp_path):
    result = SimpleNamespace(vectors=VECTORS[:2], index=np.array([1, 4]))
    store = Store.create(tmp_path / "s.lance", Photos(), result)
    assert store.names == ["b.png", "e.png"] and store.labels.tolist() == [1, -1]


def test_without_labels_the_store_says_none(tmp_path):
    assert Store.create(tmp_path / "s.lance", None, VECTORS, ids=list("abcde")).labels is None


def test_sql_chooses_rows_and_ids_are_found(store):
    assert store.where("class = 'dog' AND shot < 2").tolist() == [1]
    assert store.find("d.png") == 3
    assert store.take([4, 0], ["id"])["id"].to_pylist() == ["e.png", "a.png"]


def test_rows_stay_right_after_deleting(store):
    assert store.delete(["b.png", "none"]) == 1
    assert store.names == ["a.png", "c.png", "d.png", "e.png"]
    np.testing.assert_array_equal(store.vectors(), VECTORS[[0, 2, 3, 4]])
    assert store.find("e.png") == 3 and store.where("shot >= 4").tolist() == [0, 1]
    assert store.take([3], ["id"])["id"].to_pylist() == ["e.png"]
    assert len(Store.open(store.path, version=1)) == 5


def test_an_id_with_a_quote_is_a_name_and_nothing_more(tmp_path):
    store = Store.create(tmp_path / "s.lance", None, VECTORS[:2], ids=["it's", "x' OR '1'='1"])
    assert store.find("it's") == 0
    assert store.delete(["x' OR '1'='1"]) == 1 and store.names == ["it's"]


def test_append_adds_and_renews_only_when_asked(store):
    store.append(None, VECTORS[:1] + 1, ids=["new"])
    assert store.names[-1] == "new" and len(store) == 6
    assert store.read(["shot"])["shot"].to_pylist()[-1] is None
    with pytest.raises(BadInput, match=r"1 ids are in .*a\.png.*replace=True"):
        store.append(None, VECTORS[:1], ids=["a.png"])
    store.append(None, np.ones((2, 4), np.float32), ids=["a.png", "last"], replace=True)
    assert len(store) == 7
    np.testing.assert_array_equal(store.vectors()[store.find("a.png")], np.ones(4))


def test_update_renews_values_by_id_and_nothing_else(store):
    before = store.version
    store.update(["d.png", "a.png"], {"label": [0, -1], "shot": [20, 50]})
    rows = {row.pop("id"): row for row in store.read(["id", "label", "class", "shot", "vector"]).to_pylist()}
    assert (rows["d.png"]["label"], rows["d.png"]["class"], rows["d.png"]["shot"]) == (0, "cat", 20)
    assert (rows["a.png"]["label"], rows["a.png"]["class"], rows["a.png"]["shot"]) == (None, None, 50)
    assert (rows["b.png"]["label"], rows["b.png"]["shot"]) == (1, 1)
    np.testing.assert_array_equal([rows[name]["vector"] for name in Photos.names], VECTORS)
    assert store.labels[store.find("d.png")] == 0 and store.version > before
    store.update(["b.png"], {"vector": np.ones((1, 4))})
    np.testing.assert_array_equal(store.vectors()[store.find("b.png")], np.ones(4))
    assert Store.open(store.path, version=before).labels.tolist() == [0, 1, -1, 1, -1]


@pytest.mark.parametrize(
    ("ids", "values", "line"),
    [
        (["zz"], {"shot": [1]}, "has no row 'zz'"),
        (["a.png", "a.png"], {"shot": [1, 2]}, "a row twice"),
        (["a.png"], {"shoot": [1]}, "'shoot'; did you mean 'shot'"),
        (["a.png"], {"shot": [1, 2]}, "2 values of shot came for 1 ids"),
        (["a.png"], {"shot": ["many"]}, "shot of .* is int64"),
        (["a.png"], {"vector": np.ones((1, 3))}, "vector of .* is fixed_size_list"),
        (["a.png"], {"vector": np.full((1, 4), np.nan)}, "not finite"),
        (["a.png"], {"id": ["b"]}, "id cannot be updated"),
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(store, ids, values, line):
    version = store.version
    with pytest.raises(BadInput, match=line):
        store.update(ids, values)
    assert Store.open(store.path).version == version


def test_killed_while_appending_the_store_is_as_it_was(store, tmp_path):
    """The process dies when the second chunk of rows is being made."""
    script = tmp_path / "append.py"
    script.write_text(
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from vergence.store import rows\n"
        "from vergence.store.table import Store\n"
        "made = rows.vector_array\n"
        "def dying(part, seen=[]):\n"
        "    seen.append(part)\n"
        "    if len(seen) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return made(part)\n"
        "rows.vector_array = dying\n"
        "n = 5000\n"
        "Store.open(sys.argv[1]).append(None, np.ones((n, 4), 'f'), ids=[f'n{i}' for i in range(n)])\n"
    )
    done = subprocess.run([sys.executable, script, store.path], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    again = Store.open(store.path)
    assert again.names == Photos.names and again.version == store.version
    again.append(None, np.ones((1, 4), np.float32), ids=["next"])
    assert Store.open(store.path).names == [*Photos.names, "next"]


def test_a_second_model_lies_beside_the_first(store):
    store.add_vectors("vector_b", np.eye(2, dtype=np.float32), ids=["b.png", "d.png"], model="other")
    assert store.vector_columns == {"vector": 4, "vector_b": 2}
    second = store.vectors("vector_b")
    assert second[[1, 3]].tolist() == [[1, 0], [0, 1]] and np.isnan(second[[0, 2, 4]]).all()
    np.testing.assert_array_equal(store.vectors(), VECTORS)
    assert Store.open(store.path).about["models"]["vector_b"] == "other"


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy"])
def test_export_writes_what_the_store_holds(store, tmp_path, suffix):
    path = store.export(tmp_path / f"out{suffix}", where="label = 1")
    if suffix == ".parquet":
        assert parquet.read_table(path)["id"].to_pylist() == ["b.png", "d.png"]
    elif suffix == ".npz":
        result = np.load(path)
        assert result["ids"].tolist() == ["b.png", "d.png"] and result["labels"].tolist() == [1, 1]
        np.testing.assert_array_equal(result["vector"], VECTORS[[1, 3]])
    else:
        np.testing.assert_array_equal(np.load(path), VECTORS[[1, 3]])
    with pytest.raises(BadInput, match=r"must end in \.parquet"):
        store.export(tmp_path / "out.csv")


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".json"])
def test_what_was_exported_comes_back(store, tmp_path, suffix):
    store.add_vectors("vector_b", np.eye(2, dtype=np.float32), ids=["b.png", "d.png"])
    again = Store.read_file(store.export(tmp_path / f"out{suffix}"), tmp_path / "again.lance")
    np.testing.assert_array_equal(again.vectors(), VECTORS)
    if suffix == ".npy":
        assert again.names == ["0", "1", "2", "3", "4"]
        return
    assert again.names == Photos.names and again.labels.tolist() == [0, 1, -1, 1, -1]
    np.testing.assert_array_equal(again.vectors("vector_b"), store.vectors("vector_b"))
    if suffix == ".npz":
        return
    assert again.classes == ["cat", "dog"]
    kept = ["id", "uri", "class", "shot"] + (["thumbnail"] if suffix == ".parquet" else [])
    assert again.read(kept).to_pylist() == store.read(kept).to_pylist()


def test_fiftyone_samples_become_rows(tmp_path):
    (tmp_path / "samples.json").write_text(
        json.dumps(
            {
                "samples": [
                    {
                        "_id": {"$oid": "5f"},
                        "filepath": "/a/1.jpg",
                        "tags": ["x"],
                        "metadata": None,
                        "ground_truth": {"_cls": "Classification", "label": "dog"},
                        "vector": [1, 2.5],
                    },
                    {"filepath": "/a/2.jpg", "vector": [3, 4], "shot": 7},
                ]
            }
        )  # fmt: skip
    )
    store = Store.read_file(tmp_path / "samples.json", tmp_path / "s.lance")
    assert store.names == ["5f", "/a/2.jpg"] and store.labels.tolist() == [0, -1]
    assert store.vectors().tolist() == [[1, 2.5], [3, 4]] and store.classes == ["dog"]
    assert store.read(["uri", "shot"]).to_pylist()[1] == {"uri": "/a/2.jpg", "shot": 7}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.csv", "1,2", r"must end in \.parquet"),
        ("a.json", "{}", "is not what its name says: 'samples'"),
        ("a.json", "[", "is not what its name says: Expecting value"),
        ("a.json", '{"samples": [{"id": "a"}]}', "needs the columns id and vector; it has id"),
        (
            "a.json",
            '{"samples": [{"id": "a", "vector": [1]}, {"id": "b", "vector": [1, 2]}]}',
            "row 1 .*'b', has 2",
        ),
        ("a.json", '{"samples": [{"id": "a", "vector": [NaN]}]}', "not finite"),
        (
            "a.json",
            '{"samples": [{"id": "a", "vector": [1]}, {"id": "a", "vector": [2]}]}',
            "more than once",
        ),
        ("a.parquet", "no", "is not a parquet file that can be read"),
        ("a.npz", "no", "is not an archive as numpy saves it"),
    ],
)
def test_a_file_that_is_no_store_is_told(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=line):
        Store.read_file(tmp_path / name, tmp_path / "s.lance")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_failing_leaves_nothing_and_keeps_what_was_there(store, tmp_path, monkeypatch):
    class Breaks(Photos):
        def sample(self, i):
            raise RuntimeError("gone mad")

    with pytest.raises(RuntimeError, match="gone mad"):
        Store.create(tmp_path / "new.lance", Breaks(), VECTORS)
    with pytest.raises(RuntimeError, match="gone mad"):
        Store.create(store.path, Breaks(), VECTORS, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["s.lance"]
    assert Store.open(store.path).names == Photos.names


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    import lance

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(VergenceError, match=r"Cannot write .*s\.lance: No space left on device"):
        Store.create(tmp_path / "s.lance", Photos(), VECTORS)
    assert not list(tmp_path.iterdir())


def test_overwrite_replaces_a_store_and_nothing_else(store, tmp_path):
    Store.create(store.path, None, VECTORS[:1], ids=["only"], overwrite=True)
    assert Store.open(store.path).names == ["only"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.txt").write_text("years of work")
    with pytest.raises(BadInput, match="exists already: choose another path"):
        Store.create(tmp_path / "thesis", None, VECTORS[:1], ids=["x"], overwrite=True)
    assert (tmp_path / "thesis/chapter1.txt").exists()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda p: Store.open(p / "none"), "There is no store at .*none: make one with `vergence embed"),
        (lambda p: Store.open(p), "is not a store"),
        (lambda p: Store.create(p / "s", None, VECTORS), "pass ids="),
        (lambda p: Store.create(p / "s", None, VECTORS, ids=list("abcda")), "'a' occurs more than once"),
        (lambda p: Store.create(p / "s", None, VECTORS, ids=["a"]), "5 vectors came with 1 ids"),
        (lambda p: Store.create(p / "s", None, VECTORS / 0, ids=list("abcde")), "5 of 5 vectors.*not finite"),
        (lambda p: Store.create(p / "s", Photos(), VECTORS[:2]), "photos has 5 samples, but 2 vectors"),
        (
            lambda p: Store.create(p / "s", None, VECTORS[:1], ids=["a"], metadata={"id": ["b"]}),
            "cannot be called id",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_mistakes_are_told(tmp_path, make, line):
    with pytest.raises(BadInput, match=line):
        make(tmp_path)
    assert not list(tmp_path.iterdir())


def test_questions_that_make_no_sense_are_told(store):
    with pytest.raises(BadInput, match="Unknown column 'colour'"):
        store.read(where="colour = 'red'")
    with pytest.raises(BadInput, match="no row 'zz'; its ids look like a.png"):
        store.find("zz")
    with pytest.raises(BadInput, match="'vectr'; did you mean 'vector'"):
        store.vectors("vectr")
    with pytest.raises(BadInput, match="4 values, the new ones have 3"):
        store.append(None, VECTORS[:1, :3], ids=["n"])


def test_small_pictures_are_exact_and_large_ones_small():
    noise = np.random.default_rng(0).integers(0, 256, (32, 20, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(thumbnail(noise, 96)))) == noise).all()
    large = Image.open(io.BytesIO(thumbnail(np.zeros((400, 200, 3), np.uint8), 96)))
    assert large.size == (48, 96)
    assert thumbnail("a graph", 96) is None


def test_a_uri_leads_to_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.png").touch()
    assert uris(str(tmp_path), ["sub/a.png"]) == [str(tmp_path / "sub/a.png")]
    (tmp_path / "x.parquet").touch()
    assert uris(str(tmp_path / "x.parquet"), ["x.parquet#3"]) == [f"{tmp_path}/x.parquet#3"]
    assert uris("digits", ["7"]) == ["digits#7"]


def test_uris_lead_to_files_whatever_the_first_one_is_called(tmp_path):
    for name in (b"#cover.png", b"a.png", b"caf\xe9.png"):
        (tmp_path / os.fsdecode(name)).touch()
    for first in ("#cover.png", "gone.png", r"caf\xe9.png"):
        names = [first, "a.png"]
        assert uris(str(tmp_path), names) == [f"{tmp_path}/{name}" for name in names]
    (tmp_path / "a.png").unlink()
    assert uris(str(tmp_path), [r"caf\xe9.png"]) == [rf"{tmp_path}/caf\xe9.png"]


def test_pictures_whose_names_are_not_utf8_make_rows(tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xfcr")
    folder.mkdir()
    for i, name in enumerate((b"caf\xe9.png", b"b.png")):
        Image.new("RGB", (8, 8), (i, i, i)).save(folder / os.fsdecode(name))
    (folder / "broken.png").write_bytes(b"")
    store = Store.create(tmp_path / "t.lance", open_source(folder), np.eye(3, dtype=np.float32))
    assert store.names == ["b.png", "broken.png", r"caf\xe9.png"]
    assert store.take([2], ["uri"])["uri"].to_pylist() == [rf"{tmp_path}/f\xfcr/caf\xe9.png"]


def test_a_column_is_set_and_set_again_and_rows_stay_where_they_are(store):
    names, vectors = store.names, store.vectors().copy()
    store.set_column("cluster", [3, 1, None, 1, 0])
    store.set_column("cluster", ["a", "b", "c", "d", "e"])
    again = Store.open(store.path)
    assert again.read(["cluster"])["cluster"].to_pylist() == list("abcde")
    assert again.names == names and (again.vectors() == vectors).all()
    assert again.where("cluster = 'c'").tolist() == [2]
    for name, values in (("id", [0] * 5), ("vector", [0] * 5), ("a b", [0] * 5), ("new", [0] * 4)):
        with pytest.raises(BadInput):
            store.set_column(name, values)


def test_info_is_put_beside_what_is_known(store):
    store.set_info(clusters={"names": {"0": "x"}}, other=1)
    store.set_info(other=2)
    about = Store.open(store.path).about
    assert (
        about["info"] == {"clusters": {"names": {"0": "x"}}, "other": 2} and about["classes"] == store.classes
    )
