import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet
from scipy.ndimage import label
from scipy.spatial.distance import squareform

from vergence.core import BadInput
from vergence.nets.regions import boundaries, merge, orientation, region_tree, watershed


@pytest.fixture
def random():
    return np.random.default_rng(0)


def rooms(height=0.0):
    """Return a map of three rooms, 20 x 30: a wall of 0.8 in the middle, one of 0.3 in the right half."""
    contours = np.full((20, 30), height)
    contours[:, 15] = 0.8
    contours[10, 16:] = 0.3
    return contours


def test_rooms_merge_over_their_weakest_wall_first():
    tree = region_tree(rooms(), smooth=0)
    left, above, below = (tree.regions[place] for place in ((5, 5), (5, 25), (15, 25)))
    assert tree.merges.shape == (2, 4)
    assert set(tree.merges[0, :2]) == {above, below}
    np.testing.assert_allclose(tree.merges[:, 2], [0.3, 0.8], rtol=0.1)
    far = tree.between(np.array([left, left, above]), np.array([above, below, below]))
    assert far[0] == far[1] > far[2] > 0


@pytest.mark.parametrize(("level", "count"), [(0.0, 3), (0.25, 3), (0.5, 2), (0.9, 1)])
def test_a_level_leaves_the_regions_that_have_not_merged(level, count):
    tree = region_tree(rooms(), smooth=0)
    assert len(np.unique(tree.at(level))) == count


def test_the_contour_map_of_a_tree_has_its_walls_and_cutting_it_gives_its_levels(random):
    tree = region_tree(random.random((24, 30)), smooth=1.0)
    assert len(tree.merges) > 10
    for level in np.quantile(tree.merges[:, 2], [0.2, 0.5, 0.8]):
        left = tree.at(level)
        right, below = left[:, :-1] != left[:, 1:], left[:-1] != left[1:]
        wall = tree.contours() > level
        expected = np.pad(right, ((0, 0), (0, 1))) | np.pad(below, ((0, 1), (0, 0)))
        np.testing.assert_array_equal(wall, expected)


def test_distances_are_an_ultrametric_and_heights_never_fall(random):
    tree = region_tree(random.random((30, 30)), smooth=1.0)
    every = np.arange(len(tree.merges) + 1)
    d = tree.between(*np.broadcast_arrays(every[:, None], every))
    np.testing.assert_allclose(d, squareform(cophenet(tree.merges)), rtol=1e-6)
    for level in (0.0, float(np.median(tree.merges[:, 2])), 1.0):
        np.testing.assert_array_equal(tree.at(level), (d <= level).argmax(1)[tree.regions])
    assert (np.diff(tree.merges[:, 2]) >= 0).all()
    assert (d.diagonal() == 0).all()
    np.testing.assert_array_equal(d, d.T)
    assert (d[:, :, None] <= np.maximum(d[:, None], d[None]) + 1e-7).all()  # d(i, k) <= max(d(i, j), d(j, k))


def test_every_region_is_in_one_piece_and_numbered_without_gaps(random):
    regions = watershed(random.random((25, 25)), 1.0)
    assert np.array_equal(np.unique(regions), np.arange(regions.max() + 1))
    assert all(label(regions == i)[1] == 1 for i in range(regions.max() + 1))


def test_merging_takes_the_mean_by_length_as_slow_merging_does(random):
    count = 9
    one, other = np.triu_indices(count, 1)
    strength, length = random.random(len(one)), random.integers(1, 9, len(one)).astype(float)
    clusters = [{i} for i in range(count)]
    heights, highest = [], 0.0
    while len(clusters) > 1:
        best = (np.inf, 0, 0)
        for a in range(len(clusters)):
            for b in range(a):
                walls = [i for i in range(len(one)) if (one[i] in clusters[a] and other[i] in clusters[b])
                         or (one[i] in clusters[b] and other[i] in clusters[a])]  # fmt: skip
                best = min(best, (np.average(strength[walls], weights=length[walls]), a, b))
        highest = max(highest, best[0])
        heights.append(highest)
        clusters[best[2]] |= clusters.pop(best[1])
    merges = merge(count, one, other, strength, length)
    np.testing.assert_allclose(merges[:, 2], heights)
    assert merges[-1, 3] == count


@pytest.mark.parametrize("degrees", [0, 30, 75, 90, 120, 160])
def test_a_line_has_its_own_direction(degrees):
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[-15:16, -15:16]
    line = np.exp(-((x * np.sin(angle) - y * np.cos(angle)) ** 2) / 2)
    seen = orientation(line)[15, 15]
    assert abs(np.sin(seen - angle)) < 0.05


def test_a_wall_counts_less_where_the_map_runs_across_it():
    regions = np.zeros((20, 20), int)
    regions[:, 10:] = 1
    along, across = np.zeros((2, 20, 20))
    along[:, 10] = 1.0
    across[10] = 1.0  # a line that crosses the wall at one place
    whole = boundaries(along, regions)
    assert (whole[0], whole[1], whole[3]) == (0, 1, 20)
    assert whole[2] == pytest.approx(1.0, abs=0.01)
    assert boundaries(across, regions)[2] < 0.01  # a mean of 1/20 if directions did not count


def test_one_region_is_a_tree_without_merges():
    tree = region_tree(np.zeros((5, 6)))
    assert tree.merges.shape == (0, 4)
    assert (tree.at(0.0) == 0).all()
    assert (tree.contours() == 0).all()
    with pytest.raises(BadInput, match=r"a finite contour map \(H, W\); got \(4,\)"):
        region_tree(np.zeros(4))
