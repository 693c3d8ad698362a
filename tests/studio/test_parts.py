"""What the studio works out on the server, without a browser."""

from __future__ import annotations

import csv
import io

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import fisher_exact

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio import cache, contrast
from vergence.studio.colours import NONE, OTHER, STEPS, codes, columns, kinds, scale
from vergence.studio.groups import Groups
from vergence.studio.projection import NOWHERE, Projection
from vergence.studio.review import Review
from vergence.studio.session import Session


def plain_store(path, vectors, **more):
    return Store.create(
        path, None, vectors.astype(np.float32), ids=[f"r{i}" for i in range(len(vectors))], **more
    )


@pytest.fixture
def blobs(tmp_path):
    """Three directions of 40, 30 and 20 rows; row 1 is nearly row 0, row 41 and 42 nearly row 40."""
    random = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], [40, 30, 20])
    x = np.eye(8)[of] + 0.15 * random.standard_normal((90, 8))
    x[1], x[41], x[42] = x[0] + 1e-4, x[40] + 1e-4, x[40] - 1e-4
    return plain_store(
        tmp_path / "b.lance", x, metadata={"half": (of > 0).tolist(), "size": x[:, 0].tolist()}
    )


def test_a_fingerprint_changes_with_names_and_vectors_only(blobs, tmp_path):
    mark = cache.fingerprint(blobs, "vector")
    blobs.set_info(anything=1)
    assert cache.fingerprint(Store.open(blobs.path), "vector") == mark
    moved = blobs.vectors().copy()
    moved[3, 3] += 1e-3
    assert cache.fingerprint(plain_store(tmp_path / "c.lance", moved), "vector") != mark


def test_what_is_kept_aside_is_read_again_and_broken_files_are_not(blobs):
    cache.save_array(blobs, "a", np.arange(3))
    assert cache.load_array(blobs, "a").tolist() == [0, 1, 2]
    (blobs.path / "_studio" / "a.npy").write_bytes(b"\x93NUMPY rubbish")
    (blobs.path / "_studio" / "w.json").write_text("[1]")
    assert cache.load_array(blobs, "a") is None and cache.load_json(blobs, "w") == {}
    assert len(Store.open(blobs.path)) == 90  # the folder does not disturb the table


def test_the_map_is_there_at_once_then_better_and_kept(blobs, monkeypatch):
    mark = cache.fingerprint(blobs, "vector")
    first = Projection(blobs, "vector", mark)
    assert first.now[1:] == ("PCA", 0) and not first.final and first.now[0].max() == NOWHERE - 1
    first.improve()
    assert first.final and first.now[1:] == ("t-SNE", 1)
    again = Projection(blobs, "vector", mark)
    assert again.final and (again.now[0] == first.now[0]).all()
    assert not Projection(blobs, "vector", "0" * 16).final


def test_a_row_without_a_vector_lies_nowhere_and_belongs_to_no_cluster(blobs):
    blobs.add_vectors("other", blobs.vectors()[:50], ids=blobs.names[:50])
    result = Projection(blobs, "other", "x")
    groups = Groups(blobs, "other", "x")
    groups.find(2)
    assert (result.now[0][50:] == NOWHERE).all() and (result.now[0][:50] < NOWHERE).all()
    assert (groups.of[50:] == -1).all() and groups.sizes.sum() == 50


@pytest.mark.parametrize(("rows", "width"), [(1, 4), (2, 1), (5, 3)])
def test_a_very_small_store_is_shown_too(tmp_path, rows, width):
    store = plain_store(tmp_path / "t.lance", np.random.default_rng(0).standard_normal((rows, width)))
    session = Session(store)
    session.start().join()
    assert session.state()["trouble"] == session.state()["doing"] == ""
    assert session.projection.now[1] == "PCA" and session.groups.sizes.sum() == rows
    assert len(session.point(0)["near"]) == rows - 1
    assert Projection(store, "vector", session.projection.mark).now[1] == "PCA"


def test_a_collapsed_encoder_is_said_and_nothing_is_drawn(tmp_path):
    session = Session(plain_store(tmp_path / "t.lance", np.ones((40, 8))))
    session.start().join()
    points, how, _ = session.projection.now
    assert (points == NOWHERE).all() and how == "" and not session.projection.final
    assert "There is no map: all 40 vectors are alike" in session.state()["trouble"]
    assert session.groups.sizes.tolist() == [40] and len(session.point(0)["near"]) > 0


def test_kinds_are_the_most_frequent_in_their_own_order():
    words = ["b"] * 3 + ["a"] * 2 + [None] + [f"x{i:02d}" for i in range(70)]
    of, legend = kinds("c", pa.array(words))
    assert legend.names[:2] == ["a", "b"] and legend.counts[:2] == [2, 3]
    assert len(legend.names) == 60 and legend.other == 12 and legend.none == 1
    assert of[:6].tolist() == [1, 1, 1, 0, 0, NONE] and (of == OTHER).sum() == 12


def test_a_scale_runs_from_end_to_end_and_knows_no_nan():
    of, legend = scale("c", np.array([0.0, 5.0, 10.0, np.nan]))
    assert of.tolist() == [0, 127, STEPS - 1, NONE] and legend.none == 1


def test_any_column_colours_the_map(tmp_path):
    n = 40
    metadata = {
        "flag": [i % 2 == 0 for i in range(n)],
        "day": pa.array(range(n), pa.date32()),
        "many": list(range(n)),
        "few": [i % 4 for i in range(n)],
        "word": pa.array(["a", "b"] * 20).dictionary_encode(),
        "listed": [[1.0]] * n,
    }
    store = plain_store(
        tmp_path / "m.lance", np.random.default_rng(0).random((n, 3)), metadata=pa.table(metadata)
    )
    assert columns(store) == ["flag", "day", "many", "few", "word"]
    result = {name: codes(store, name)[1] for name in columns(store)}
    assert [result[name].scale for name in result] == [False, True, True, False, False]
    assert result["day"].low == "1970-01-01" and result["day"].high == "1970-02-09"
    assert result["flag"].names == ["False", "True"] and result["few"].counts == [10] * 4
    with pytest.raises(BadInput, match="did you mean 'few'"):
        codes(store, "fwe")


def test_labels_that_are_folders_are_called_so(store, blobs):
    session = Session(store)
    assert session.state()["label"] == "folder" and session.columns()[0] == "class"
    assert session.shown("class") == "folder" and session.shown("camera") == "camera"
    assert Session(blobs).state()["label"] == "class"


def test_names_of_clusters_survive_in_the_store(blobs):
    mark = cache.fingerprint(blobs, "vector")
    groups = Groups(blobs, "vector", mark)
    groups.find(3)
    assert groups.sizes.tolist() == [40, 30, 20]
    assert "cluster" not in blobs.table.schema.names  # nothing is written before a name is given
    version = blobs.version
    groups.rename(1, "  dark   shoes ")
    assert (
        Store.open(blobs.path).version == version + 1
    )  # a kill leaves no column whose clusters nobody knows
    again = Groups(Store.open(blobs.path), "vector", "another mark")
    assert again.names == {1: "dark shoes"} and (again.of == groups.of).all()
    assert Store.open(blobs.path).where("cluster = 1").tolist() == np.flatnonzero(groups.of == 1).tolist()
    assert Store.open(blobs.path).names == blobs.names
    again.rename(1, "")
    assert Groups(Store.open(blobs.path), "vector", mark).names == {}


def test_clusters_that_are_found_again_take_the_place_of_the_named_ones(blobs):
    mark = cache.fingerprint(blobs, "vector")
    groups = Groups(blobs, "vector", mark)
    groups.find(3)
    groups.rename(0, "hats")
    groups.find(2)
    assert "cluster" not in Session(Store.open(blobs.path)).columns()[1:]
    again = Groups(Store.open(blobs.path), "vector", mark)
    assert len(again) == 2 and again.names == {}
    again.rename(1, "shoes")
    assert [name for name in Store.open(blobs.path).table.schema.names if "cluster" in name] == ["cluster"]
    assert Groups(Store.open(blobs.path), "vector", mark).names == {1: "shoes"}


def test_two_models_have_clusters_of_their_own(blobs):
    blobs.add_vectors("other", blobs.vectors()[:, ::-1].copy())
    for column, k in (("vector", 3), ("other", 2)):
        groups = Groups(blobs, column, column)
        groups.find(k)
        groups.rename(1, f"{column}'s")
    again = Store.open(blobs.path)
    assert [Groups(again, column, "m").names for column in ("vector", "other")] == [
        {1: "vector's"},
        {1: "other's"},
    ]


def test_a_name_is_checked_before_anything_is_written(blobs):
    groups = Groups(blobs, "vector", "m")
    groups.find(3)
    groups.rename(0, "hats")
    version = Store.open(blobs.path).version
    for cluster, name, line in (
        (1, "hats", "another"),
        (9, "x", "no cluster 10"),
        (1, "y" * 61, "60"),
        (1, "\x1b[2J", "print"),
    ):
        with pytest.raises(BadInput, match=line):
            groups.rename(cluster, name)
    assert Store.open(blobs.path).version == version


def test_names_wait_where_somebody_else_changed_the_store(blobs):
    groups = Groups(blobs, "vector", "m")
    groups.find(3)
    Store.open(blobs.path).delete(["r0"])
    with pytest.raises(BadInput, match="changed by another program"):
        groups.rename(0, "hats")


def test_a_column_called_cluster_stays_whose_it_is(tmp_path):
    store = plain_store(
        tmp_path / "o.lance", np.random.default_rng(0).random((30, 4)), metadata={"cluster": ["mine"] * 30}
    )
    groups = Groups(store, "vector", "m")
    groups.find(2)
    groups.rename(0, "hats")
    again = Store.open(store.path)
    assert again.read(["cluster"])["cluster"].to_pylist() == ["mine"] * 30
    assert Groups(again, "vector", "m").names == {0: "hats"}


def test_rows_that_come_later_belong_to_no_cluster(blobs):
    groups = Groups(blobs, "vector", "m")
    groups.find(3)
    groups.rename(0, "hats")
    blobs.append(None, np.ones((2, 8), np.float32), ids=["new1", "new2"])
    again = Groups(Store.open(blobs.path), "vector", "m2")
    assert again.of.tolist() == [*groups.of.tolist(), -1, -1] and again.name(0) == "hats"


def test_examples_are_those_nearest_to_the_mean(blobs):
    groups = Groups(blobs, "vector", "m")
    groups.find(3)
    for cluster, rows in enumerate(groups.examples(4)):
        members = np.flatnonzero(groups.of == cluster)
        unit = blobs.directions()[members]
        expected = members[np.argsort(-(unit @ unit.mean(0)))[:4]]
        assert rows.tolist() == expected.tolist() == groups.typical(members, 4).tolist()


def test_a_review_is_kept_and_exported(blobs):
    review = Review(blobs, "vector")
    review.find(threshold=0.9999)
    assert [group.tolist() for group in review.groups] == [[40, 41, 42], [0, 1]]
    review.decide([41], "drop")
    assert review.keep_first() == 1 and review.decided == 1  # the group of 40 was looked at already
    assert review.dropped == ["r1", "r41"] and review.text() == "r1\nr41\n"
    again = Review(Store.open(blobs.path), "vector")
    assert again.dropped == ["r1", "r41"]
    again.decide([41, 1], "")
    assert Review(Store.open(blobs.path), "vector").dropped == []


def test_a_review_asks_for_what_chance_does_not_explain(store):
    review = Review(store, "vector")
    assert not review.searched
    review.find()
    together = [set(group.tolist()) for group in review.groups]
    for first, twin in ((10, 150), (20, 151), (30, 152)):
        assert any({first, twin} <= group for group in together)
    assert review.searched and review.chance <= 0.05 * review.pairs


def test_the_first_of_one_group_stays(blobs):
    review = Review(blobs, "vector")
    review.find(threshold=0.9999)
    assert review.surplus == 3 and review.keep_first(1) == 1
    assert review.verdicts == {0: "keep", 1: "drop"}
    with pytest.raises(BadInput, match="no group 3"):
        review.keep_first(2)


def test_a_review_refuses_what_it_does_not_know(blobs):
    review = Review(blobs, "vector")
    for rows, verdict in (([90], "drop"), ([-1], "keep"), ([0], "burn")):
        with pytest.raises(BadInput):
            review.decide(rows, verdict)
    with pytest.raises(BadInput, match="no group 1"):
        review.group(0)
    assert review.verdicts == {}


def test_a_spreadsheet_gets_no_formula(tmp_path):
    store = Store.create(tmp_path / "f.lance", None, np.ones((2, 3), np.float32), ids=["=cmd()", 'b,\n"c'])
    review = Review(store, "vector")
    review.decide([0, 1], "drop")
    rows = list(csv.reader(io.StringIO(review.table())))
    assert rows == [["id", "verdict", "group"], ["'=cmd()", "drop", ""], ['b,\n"c', "drop", ""]]


def test_contrast_counts_and_tests_as_by_hand():
    of = np.array([0] * 65 + [1] * 35 + [0] * 35 + [1] * 65 + [-1])
    directions = np.eye(2)[np.maximum(of, 0)]
    result = contrast.contrast(directions, of, np.arange(100), np.arange(100, 201))
    assert result.counts.tolist() == [[65, 35], [35, 65]] and result.verdicts.tolist() == [0, 1]
    assert result.cosine == pytest.approx((0.65 * 0.35 * 2) / (0.65**2 + 0.35**2))


@pytest.mark.parametrize("more", range(50, 70))
def test_a_verdict_is_fisher_s_exact_test_for_all_clusters(more):
    of = np.array([0] * more + [1] * (100 - more) + [0] * (100 - more) + [1] * more)
    result = contrast.contrast(np.eye(2)[of], of, np.arange(100), np.arange(100, 200))
    p = fisher_exact([[more, 100 - more], [100 - more, more]]).pvalue
    assert (result.verdicts[0] == 0) == (p < 0.01 / 2) == (result.verdicts[1] == 1)


def test_sides_are_values_or_halves(blobs):
    assert contrast.sides(blobs, "half") == ["False", "True"]
    first, second = contrast.rows_of(blobs, "half", "True", contrast.REST)
    assert first.tolist() == list(range(40, 90)) and second.tolist() == list(range(40))
    low, high = contrast.rows_of(blobs, "size", contrast.LOWER, contrast.UPPER)
    sizes = blobs.vectors()[:, 0]
    assert len(low) == pytest.approx(45, abs=2) and len(low) + len(high) == 90
    assert sizes[low].max() <= sizes[high].min() + 0.01
    for a, b in (("True", "True"), ("Tru", "False"), (contrast.REST, "True")):
        with pytest.raises(BadInput):
            contrast.rows_of(blobs, "half", a, b)


def test_neighbours_without_torch_are_those_of_search(blobs):
    from vergence.use.nearest import search

    blobs.add_vectors("other", np.where(np.arange(90)[:, None] == 3, 0, 3 * blobs.vectors()))
    for column, row in (("vector", 0), ("other", 41), ("other", 3)):
        near = Session(blobs, column).point(row, 5)["near"]
        hits = search(blobs, row, k=5, column=column)
        assert [card["row"] for card in near] == [hit for hit in hits.rows[0].tolist() if hit >= 0]
        assert [card["score"] for card in near] == pytest.approx(hits.scores[0][: len(near)], abs=1e-4)
    query = np.array([1.0, 2, 0, 0, 0, 0, 0, 0])
    near = Session(blobs).alike(query, 5)
    assert [card["row"] for card in near] == search(blobs, query, k=5).rows[0].tolist()


def test_the_first_map_is_principal_components(blobs):
    from sklearn.decomposition import PCA

    from vergence.studio.projection import main_plane

    x = blobs.vectors()
    points = main_plane(x, np.arange(5, 90))
    expected = PCA(2).fit_transform(blobs.directions()[5:])
    assert np.abs(np.abs((points * expected).sum(0)) / (expected**2).sum(0) - 1).max() < 1e-4
    assert main_plane(np.ones((5, 3), np.float32), np.arange(5)) is None
