"""k-means against scikit-learn's and against its own definition."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Reference

from vergence.core.errors import BadInput
from vergence.use import kmeans as module
from vergence.use.kmeans import assign, closest, coarse_centres, distances_to_centres, kmeans


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return (5 * random.standard_normal((6, 8))[np.arange(300) % 6] + random.standard_normal((300, 8))).astype(
        np.float32
    )


def test_it_is_lloyd_s_algorithm(rows, monkeypatch):
    start = rows[:6]
    monkeypatch.setattr(module, "plus_plus", lambda x, squares, k, random: x[:k])
    monkeypatch.setitem(module.BLOCK, "cpu", 400)  # several blocks
    ours, theirs = kmeans(rows, 6), Reference(6, init=start, n_init=1, algorithm="lloyd", tol=0).fit(rows)
    np.testing.assert_array_equal(ours.of, theirs.labels_)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, atol=1e-4)
    assert ours.distance.sum() == pytest.approx(theirs.inertia_, rel=1e-4)
    assert ours.settled and ours.sizes.sum() == 300


def test_distances_and_nearest_centres_are_those_of_all_pairs(rows):
    centres = np.random.default_rng(1).standard_normal((17, 8)).astype(np.float32)
    result, all_pairs = assign(rows, centres), ((rows[:, None] - centres[None]) ** 2).sum(2)
    np.testing.assert_array_equal(result.of, all_pairs.argmin(1))
    np.testing.assert_allclose(result.distance, all_pairs.min(1), rtol=1e-4)


def test_starting_points_are_drawn_by_squared_distance():
    """Three points on a line: after the first, 0, the odds of 1 and 3 are 1 to 9."""
    x = np.float32([[0], [1], [3]])
    tensor, squares = module.as_tensor(x), module.as_tensor(x[:, 0] ** 2)

    class FirstIsZero:
        def __init__(self, seed):
            self.inner = np.random.default_rng(seed)
            self.integers = lambda n: 0
            self.random, self.choice = self.inner.random, self.inner.choice

    drawn = [float(module.plus_plus(tensor, squares, 2, FirstIsZero(seed))[1]) for seed in range(1000)]
    assert np.mean(np.equal(drawn, 3)) == pytest.approx(0.9, abs=0.03) and set(drawn) == {1, 3}


def test_blocks_of_starting_points_draw_as_single_ones_do(monkeypatch):
    """Rows in 40 far groups: k-means++ hits nearly all of them, and as many drawn in blocks as singly."""
    random = np.random.default_rng(0)
    x = (30 * random.standard_normal((40, 4)))[np.repeat(np.arange(40), 5)] + random.standard_normal((200, 4))
    group = {tuple(row): i // 5 for i, row in enumerate(x.astype(np.float32))}

    def hit(most):
        monkeypatch.setattr(module, "DRAWN", most)
        return np.mean([len({group[tuple(c)] for c in module.plus_plus(*pair(x), 40, rng(s)).numpy()})
                        for s in range(40)])  # fmt: skip

    def pair(x):
        tensor = module.as_tensor(x.astype(np.float32))
        return tensor, (tensor**2).sum(1)

    rng = np.random.default_rng
    single, blocks = hit(1), hit(256)
    assert blocks == pytest.approx(single, abs=0.8) and blocks > 34


def test_no_centre_stays_empty_and_copies_are_no_mistake():
    far = np.float32([[0], [0.1], [0.2], [100], [100.1]])
    assert kmeans(far, 5).sizes.tolist() == [1] * 5
    assert kmeans(np.zeros((20, 3), np.float32), 4).sizes.sum() == 20
    sums = torch.tensor([[far.sum()], [0]], dtype=torch.float64)  # the second centre has no rows
    lost = module.updated_centres(
        module.as_tensor(far), torch.zeros(5, dtype=torch.int64), module.as_tensor(far[:, 0]), sums
    )
    assert lost[:, 0].tolist() == pytest.approx([far.mean(), 100.1])


def test_rows_far_from_the_origin_are_divided_as_those_near_it(rows):
    near, far = kmeans(rows, 6), kmeans(rows + np.float32(3e4), 6)
    np.testing.assert_array_equal(far.of, near.of)
    np.testing.assert_allclose(far.centres - 3e4, near.centres, atol=0.01)
    np.testing.assert_allclose(far.distance, near.distance, rtol=0.02, atol=0.02)
    np.testing.assert_array_equal(assign(rows + np.float32(3e4), far.centres).of, near.of)


def test_no_row_is_a_starting_point_twice():
    x = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32) + 1000
    tensor = module.as_tensor(x)
    drawn = module.plus_plus(tensor, (tensor**2).sum(1), 60, np.random.default_rng(1))
    assert len(drawn.unique(dim=0)) == 60


def test_a_seed_repeats_and_mistakes_are_told(rows):
    np.testing.assert_array_equal(kmeans(rows, 9, seed=4).of, kmeans(rows, 9, seed=4).of)
    with pytest.raises(BadInput, match="300 rows takes 1 to 300 centres; got 301"):
        kmeans(rows, 301)


def test_the_closest_centres_are_those_of_all_distances_but_for_rounding():
    random = np.random.default_rng(0)
    x, centres = random.standard_normal((500, 6), np.float32), random.standard_normal((40, 6), np.float32)
    distance = np.square(x[:, None] - centres).sum(2)
    result = closest(x, centres, 3)
    assert result.shape == (500, 3)
    true = np.sort(distance, axis=1)[:, :3]
    chosen = np.take_along_axis(distance, result.astype(np.int64), 1)
    assert np.abs(chosen - true).max() < 0.3 and np.abs(chosen - true).mean() < 0.01
    single = np.take_along_axis(distance, closest(x, centres).astype(np.int64), 1)
    assert np.abs(single - true[:, :1]).max() < 0.3
    np.testing.assert_allclose(distances_to_centres(x, centres, result[:, 0]), chosen[:, 0], rtol=1e-5)


def test_coarse_centres_lie_where_the_rows_are():
    random = np.random.default_rng(0)
    x = (10 * np.arange(5)[random.integers(0, 5, 4000), None] + random.random((4000, 2))).astype(np.float32)
    centres = coarse_centres(x, 5, sample=20, iterations=5, seed=1)
    np.testing.assert_allclose(np.sort(centres[:, 0]), 10 * np.arange(5) + 0.5, atol=0.3)


def test_greedy_starting_points_are_the_best_of_their_candidates(rows):
    """Each is the one that leaves the least, of 2 + log k rows drawn by squared distance (as a loop)."""
    x = rows[:80].astype(np.float64)
    tensor = module.as_tensor(rows[:80])
    result = module.greedy_plus_plus(tensor, (tensor**2).sum(1), 12, np.random.default_rng(3)).numpy()
    random = np.random.default_rng(3)
    chosen = [random.integers(80)]
    while len(chosen) < 12:
        away = ((x[:, None] - x[chosen]) ** 2).sum(2).min(1)
        drawn = [
            int(np.searchsorted(away.cumsum(), u * away.sum())) for u in random.random(2 + int(np.log(12)))
        ]
        left = [np.minimum(away, ((x - x[i]) ** 2).sum(1)).sum() for i in drawn]
        chosen.append(drawn[int(np.argmin(left))])
    np.testing.assert_array_equal(result, rows[chosen])


def test_greedy_starting_points_end_nearer_to_the_rows(rows):
    plain, greedy = (
        np.mean([kmeans(rows, 12, iterations=1, greedy=way, seed=s).distance.sum() for s in range(10)])
        for way in (False, True)
    )
    assert greedy < 0.95 * plain
    assert kmeans(np.zeros((20, 3), np.float32), 4, greedy=True).sizes.sum() == 20
