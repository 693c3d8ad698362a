"""Clusters and maps on blobs whose truth is known."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from vergence.core.errors import BadInput, MissingExtra
from vergence.store.table import Store
from vergence.use.clustering import clusters, partition
from vergence.use.maps import NoSpread, layout, place_among, plane


@pytest.fixture(scope="module")
def blobs():
    """Five directions in 16 dimensions, of 80, 70, 60, 50 and 40 rows, at lengths that say nothing."""
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), [80, 70, 60, 50, 40])
    centres = np.linalg.qr(random.standard_normal((16, 5)))[0].T
    x = centres[truth] + 0.08 * random.standard_normal((300, 16))
    return (x * random.uniform(0.1, 10, (300, 1))).astype(np.float32), truth


@pytest.mark.parametrize("k", [None, 5])
def test_blobs_are_found_largest_first(blobs, k):
    x, truth = blobs
    result = partition(x, k=k)
    assert len(result) == 5 and adjusted_rand_score(truth, result.of) == 1
    assert result.sizes.tolist() == [80, 70, 60, 50, 40]
    assert result.silhouette > 0.5


def test_a_multicut_finds_how_many_there_are(blobs, tmp_path):
    x, truth = blobs
    store = Store.create(tmp_path / "s.lance", None, x, ids=[str(i) for i in range(300)])
    result = clusters(store, alpha=0.3)
    assert len(result) == 5 and adjusted_rand_score(truth, result.of) == 1
    assert result.sizes.tolist() == [80, 70, 60, 50, 40] and result.closeness.min() > 0.8
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    aside = Store.create(tmp_path / "aside.lance", None, unit + 1, ids=[str(i) for i in range(300)])
    assert adjusted_rand_score(truth, clusters(aside, alpha=0.3).of) == 1, "cosines are about the mean"
    with pytest.raises(BadInput, match="not both"):
        clusters(store, k=5, alpha=0.3)


def test_typical_members_are_nearest_to_their_centre(blobs):
    x, _ = blobs
    result = partition(x, k=5)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    members = result.members(2)
    assert len(members) == 60 and (result.of[members] == 2).all()
    assert (np.diff(unit[members] @ result.centres[2]) <= 1e-6).all()
    np.testing.assert_allclose(np.linalg.norm(result.centres, axis=1), 1, rtol=1e-5)


def test_a_seed_repeats_clusters_and_map(blobs, tmp_path):
    x, _ = blobs
    store = Store.create(tmp_path / "s.lance", None, x, ids=[str(i) for i in range(300)])
    np.testing.assert_array_equal(clusters(store, k=7).of, clusters(str(store.path), k=7).of)
    one, two = layout(store, limit=100), layout(store, limit=100)
    np.testing.assert_array_equal(one.points, two.points)
    assert len(one.rows) == 100 and (np.diff(one.rows) > 0).all() and one.how == "t-SNE"


def test_the_map_keeps_neighbourhoods(blobs):
    x, truth = blobs
    points, _ = plane(x)
    assert points.min() == 0 and points.max() == 1
    distance = ((points[:, None] - points[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    assert (truth[distance.argmin(1)] == truth).mean() > 0.98


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_rows_is_no_mistake(n):
    x = np.eye(5, 4, dtype=np.float32)[:n]
    assert plane(x)[0].shape == (n, 2)
    assert partition(x).sizes.sum() == n


def test_identical_vectors_are_one_cluster():
    result = partition(np.ones((50, 3), np.float32), k=1)
    assert result.sizes.tolist() == [50] and np.isnan(result.silhouette)


def test_mistakes_are_told(blobs, monkeypatch):
    x, _ = blobs
    with pytest.raises(BadInput, match="300 rows can be divided into 1 to 300 clusters; k=301"):
        partition(x, k=301)
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MissingExtra, match=r"umap, which is not installed: .*\[maps\]"):
        plane(x, how="umap")


def test_rows_are_put_among_their_neighbours_of_a_sample(blobs):
    x, truth = blobs
    known, points = np.arange(0, 300, 3), np.zeros((100, 2), np.float32)
    corners = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.9]], np.float32)
    points[:] = corners[truth[known]]
    result = place_among(x, x[known], points)
    assert result.shape == (300, 2) and result.dtype == np.float32
    assert np.abs(result - corners[truth]).max() < 0.03
    assert (place_among(x, x[known], points) == result).all()


@pytest.mark.parametrize("n", [2, 3, 12, 40])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_vectors_that_are_all_alike_have_no_map(n, value, tmp_path):
    x = np.full((n, 64), value, np.float32)
    for how in ("tsne", "pca"):
        with pytest.raises(NoSpread, match=f"There is no map: all {n} vectors are alike"):
            plane(x, how=how)
    store = Store.create(tmp_path / "s.lance", None, x, ids=[str(i) for i in range(n)])
    with pytest.raises(NoSpread):
        layout(store)


def test_vectors_of_one_direction_have_no_map_but_a_single_other_one_gives_it():
    x = np.outer(np.linspace(0.1, 9, 40), np.arange(1, 9)).astype(np.float32)
    with pytest.raises(NoSpread):
        plane(x)
    x[7] *= [1, 1, 1, 1, 1, 1, 1, 1.1]
    points, how = plane(x)
    assert how == "t-SNE" and np.isfinite(points).all()


@pytest.mark.parametrize("k", [None, 5])
def test_vectors_that_are_all_alike_are_one_cluster_and_no_cluster_is_empty(k):
    assert partition(np.ones((30, 4), np.float32), k=k).sizes.tolist() == [30]
    two = np.repeat(np.eye(2, 4, dtype=np.float32), [20, 10], axis=0)
    assert partition(two, k=5 if k else 2).sizes.tolist() == [20, 10]
