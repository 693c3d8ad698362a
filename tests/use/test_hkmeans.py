"""Curation by hierarchical k-means: even shares, levels, and rings of unequal density."""

import numpy as np
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.hkmeans import Hierarchy, curate, default_counts, draw, hierarchy, ranks, shares
from vergence.use.kmeans import KMeans

RANDOM = np.random.default_rng(0)


def brute_cap(sizes, part):
    return max(c for c in range(max(sizes) + 1) if sum(min(c, s) for s in sizes) <= part)


def test_a_part_is_divided_by_the_largest_cap_that_fits():
    """Sizes 1, 5, 9 and a part of 10: the cap is 4 (1 + 4 + 4 = 9), one more for a random large one."""
    for seed in range(5):
        given = shares(np.zeros(3, int), np.array([1, 5, 9]), np.array([10]), np.random.default_rng(seed))
        assert sorted(given.tolist()) == [1, 4, 5] and given[0] == 1


def test_shares_of_many_parents_are_those_of_each_alone():
    parent = RANDOM.integers(0, 6, 60)
    sizes = RANDOM.integers(0, 30, 60)
    parts = np.array([RANDOM.integers(0, sizes[parent == p].sum() + 1) for p in range(6)])
    given = shares(parent, sizes, parts, np.random.default_rng(0))
    for p in range(6):
        own, got = sizes[parent == p], given[parent == p]
        cap = brute_cap(own, parts[p])
        assert got.sum() == parts[p]
        assert ((got == np.minimum(cap, own)) | ((got == cap + 1) & (own > cap))).all()


def test_caps_count_rows_not_child_clusters():
    """One coarse cluster of three finest ones with a row each, another of one with nine rows."""
    finest = KMeans(np.r_[0, 1, 2, [3] * 9], np.zeros((4, 1)), np.arange(12.0), True)
    coarse = KMeans(np.array([0, 0, 0, 1]), np.zeros((2, 1)), np.zeros(4), True)
    rows = draw(Hierarchy((finest, coarse)), 8, nearest=True)
    assert rows.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # all of the small, the five nearest of the large
    assert Hierarchy((finest, coarse)).sizes().tolist() == [3, 9]


@pytest.mark.parametrize("size", [1, 57, 299, 300])
def test_as_many_rows_as_asked_and_none_twice(size):
    x = RANDOM.standard_normal((300, 4)).astype(np.float32)
    rows = draw(hierarchy(x, (40, 8), resampling=2), size)
    assert len(rows) == len(set(rows)) == size and (np.diff(rows) > 0).all()


def test_a_row_belongs_to_the_cluster_of_its_cluster():
    x = RANDOM.standard_normal((200, 3)).astype(np.float32)
    tree = hierarchy(x, (30, 9, 3), resampling=3)
    for row in range(0, 200, 20):
        fine = tree.levels[0].of[row]
        assert tree.of(1)[row] == tree.levels[1].of[fine]
        assert tree.of()[row] == tree.levels[2].of[tree.levels[1].of[fine]]
    nearest = ((x[:, None] - tree.levels[0].centres) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(tree.of(0), nearest)


def rings(n):
    """Five rings of very unequal numbers of points, as in the paper's toy."""
    radius, angle = np.sqrt(RANDOM.uniform(0.5, 1, sum(n))), RANDOM.uniform(0, 2 * np.pi, sum(n))
    ring = np.repeat(np.arange(5), n)
    place = np.array([[-2.2, 1], [0, 1], [2.2, 1], [-1.2, -0.8], [1.2, -0.8]])
    return (place[ring] + (radius * [np.cos(angle), np.sin(angle)]).T).astype(np.float32), ring


def entropy(of):
    p = np.bincount(of) / len(of)
    return -(p[p > 0] * np.log(p[p > 0])).sum()


def test_levels_make_rings_more_even_with_and_without_resampling():
    x, ring = rings([8000, 200, 500, 300, 3000])
    result = {}
    for name, tree in {
        "one level": hierarchy(x, (200,)),
        "levels": hierarchy(x, (200, 50, 15), resampling=0),
        "resampled": hierarchy(x, (200, 50, 15)),
    }.items():
        result[name] = np.mean([entropy(ring[draw(tree, 500, seed=seed)]) for seed in range(3)])
    chance = entropy(ring[RANDOM.permutation(len(x))[:500]])
    assert chance + 0.1 < result["one level"] < result["levels"] - 0.1 < np.log(5) - 0.1
    assert result["one level"] + 0.1 < result["resampled"] <= np.log(5)


def test_resampling_gives_a_thin_cloud_more_of_the_coarse_clusters():
    """Two clouds of one size in six dimensions, a twentieth of the points in one: p^(6/8) is nearly p."""
    coarse = np.zeros(2)
    for seed in range(3):
        x = np.random.default_rng(seed).random((2100, 6)).astype(np.float32)
        x[2000:] += 5
        trees = (hierarchy(x, (210, 20), resampling=times, seed=seed) for times in (0, 10))
        coarse += [(tree.levels[1].centres[:, 0] > 3).sum() for tree in trees]
    without, resampled = coarse
    assert 6 < without < 15 < resampled <= 30, "of 60, which would be 30 each if it were even"


def test_ranks_within_groups():
    assert ranks(np.array([1, 0, 1, 1]), np.array([3.0, 9.0, 1.0, 2.0])).tolist() == [2, 0, 0, 1]
    assert ranks(np.empty(0, int), np.empty(0)).tolist() == []


def test_a_store_is_curated_by_direction_and_a_seed_repeats(tmp_path):
    x, ring = rings([900, 20, 20, 20, 40])
    x = np.c_[x, np.ones(len(x))] * RANDOM.uniform(0.1, 9, (len(x), 1))
    store = Store.create(tmp_path / "s.lance", None, x.astype(np.float32), ids=list(map(str, range(1000))))
    result = curate(store, 100)
    np.testing.assert_array_equal(result.rows, curate(str(store.path), 100).rows)
    assert result.before.sum() == 1000 and result.after.sum() == len(result) == 100
    assert 10 < len(result.before) <= 50 and (result.after <= result.before).all()
    assert entropy(ring[result.rows]) > entropy(ring) + 0.3


@pytest.mark.parametrize("n", [1, 2, 5, 30, 1000, 10_000_000])
def test_usual_counts_fit_any_number_of_rows(n):
    counts = default_counts(n)
    assert counts[0] <= n and list(counts) == sorted(set(counts), reverse=True) and counts[-1] >= 1
    assert all(count >= 10 for count in counts[1:])
    if n <= 30:
        x = RANDOM.standard_normal((n, 3)).astype(np.float32)
        assert len(draw(hierarchy(x), n)) == n


def test_mistakes_are_told():
    x = np.eye(5, dtype=np.float32)
    with pytest.raises(BadInput, match=r"grow fewer, from at most 5 \(the rows\) on; got 3, 4"):
        hierarchy(x, (3, 4))
    with pytest.raises(BadInput, match="Of 5 rows 1 to 5 can be kept; 6"):
        draw(hierarchy(x, (3,)), 6)


def test_a_large_table_is_divided_by_centres_of_a_sample(monkeypatch):
    from vergence.use import hkmeans

    random = np.random.default_rng(0)
    x = (10 * np.arange(6)[random.integers(0, 6, 3000), None] + random.random((3000, 2))).astype(np.float32)
    monkeypatch.setattr(hkmeans, "EXACT_UP_TO", 1000)
    tree = hkmeans.hierarchy(x, (60, 6), seed=0)
    groups = (x[:, 0] // 10).astype(int)
    assert all(len(set(groups[tree.of() == c])) == 1 for c in range(6)), "no group is mixed"
    first = tree.levels[0]
    np.testing.assert_allclose(first.distance, np.square(x - first.centres[first.of]).sum(1), rtol=1e-4)
