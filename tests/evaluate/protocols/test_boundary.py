import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from vergence.core.errors import BadInput
from vergence.evaluate.protocols.boundary import Counts as Counted
from vergence.evaluate.protocols.boundary import (
    along,
    area,
    boundary,
    counted,
    f_measure,
    matched,
    scores,
    suppressed,
    thin,
)


def drawing(rng, shape=(40, 50), share=0.06):
    return rng.random(shape) < share


def slow_matches(prediction, drawn, reach):
    """Return how many pixels can be matched one to one, by the assignment problem over all pairs."""
    first, second = np.argwhere(prediction), np.argwhere(drawn)
    far = np.linalg.norm(first[:, None] - second[None], axis=2)
    rows, columns = linear_sum_assignment(np.where(far <= reach, -1.0, 0.0))
    return int((far[rows, columns] <= reach).sum())


@pytest.mark.parametrize("reach", [0.5, 1.0, 2.3, 4.4])
def test_as_many_pixels_are_matched_as_the_assignment_problem_allows(reach):
    rng = np.random.default_rng(0)
    for _ in range(5):
        prediction, drawn = drawing(rng), drawing(rng)
        partner = matched(np.flatnonzero(prediction), drawn, reach)
        assert partner.sum() == slow_matches(prediction, drawn, reach) > 0


def least_distance(place, drawn, reach):
    """Return how many of ``place`` can be matched at most, and the least distance in sum that this takes."""
    first, second = np.stack(np.divmod(place, drawn.shape[1]), 1), np.argwhere(drawn)
    far = np.linalg.norm(first[:, None] - second[None], axis=2)
    rows, columns = linear_sum_assignment(np.where(far <= reach, far - 1e4, 0.0))
    chosen = far[rows, columns][far[rows, columns] <= reach]
    return len(chosen), chosen.sum()


@pytest.mark.parametrize("share", [(0.2, 0.05), (0.05, 0.2), (0.1, 0.1)])
@pytest.mark.parametrize("reach", [1.0, 2.3, 4.4])
def test_those_are_matched_that_a_matching_of_least_distance_has(reach, share):
    rng = np.random.default_rng(2)
    for _ in range(3):
        place, drawn = np.flatnonzero(drawing(rng, (20, 25), share[0])), drawing(rng, (20, 25), share[1])
        taken = matched(place, drawn, reach)
        count, distance = least_distance(place[taken], drawn, reach)
        assert count == taken.sum()
        assert (count, distance) == pytest.approx(least_distance(place, drawn, reach), abs=0.05)


def test_the_nearer_of_two_rivals_is_matched():
    drawn = np.zeros((9, 9), bool)
    drawn[4, 4] = True
    place = np.array([4 * 9 + 2, 4 * 9 + 5, 3 * 9 + 3])  # 2, 1 and 1.4 pixels away
    assert matched(place, drawn, 2.0).tolist() == [False, True, False]


def test_scores_equal_the_definition_written_as_loops():
    rng = np.random.default_rng(1)
    maps = [rng.random((24, 30)) * drawing(rng, (24, 30), 0.3) for _ in range(4)]
    drawn = [[drawing(rng, (24, 30))] for _ in maps]
    levels, reach = np.arange(1, 10) / 10, 0.05 * np.hypot(24, 30)
    met = np.array(
        [[slow_matches(m >= t, d[0], reach) for t in levels] for m, d in zip(maps, drawn, strict=True)]
    )
    said = np.array([[(m >= t).sum() for t in levels] for m in maps])
    sizes = np.array([d[0].sum() for d in drawn])
    recall, precision = met.sum(0) / sizes.sum(), met.sum(0) / said.sum(0)
    best = 0.0
    for i in range(1, 9):
        for share in np.linspace(0, 1, 101):
            r = share * recall[i] + (1 - share) * recall[i - 1]
            p = share * precision[i] + (1 - share) * precision[i - 1]
            best = max(best, 2 * r * p / (r + p))
    own = (2 * met / (said + sizes[:, None])).argmax(1)  # F = 2 met / (predicted + drawn)
    each = np.arange(4)
    total = met[each, own].sum()
    ois = 2 * total / (said[each, own].sum() + sizes.sum())
    result = boundary(maps, drawn, thresholds=9, tolerance=0.05, thinned=False, repeats=50)
    assert result["ODS"].value == pytest.approx(best)
    assert result["OIS"].value == pytest.approx(ois)
    order = np.argsort(recall)
    at = [np.interp(r, recall[order], precision[order]) for r in np.arange(101) / 100]
    at = [
        p if recall.min() <= r <= recall.max() else 0.0 for r, p in zip(np.arange(101) / 100, at, strict=True)
    ]
    assert result["AP"].value == pytest.approx(sum(at) / 100)
    for score in result.values():
        assert score.low <= score.value <= score.high and score.n == 4


def test_several_people_count_for_recall_and_any_of_them_for_precision():
    line = np.zeros((30, 30), bool)
    line[10, 5:25] = True
    other = np.roll(line, 12, 0)
    met, drawn, right, said = counted(line * 0.9, [line, other], np.array([0.5]))
    assert (met[0], drawn[0], right[0], said[0]) == (20, 40, 20, 20)
    assert boundary([line * 0.9], [[line, other]], thresholds=1, repeats=10)["ODS"].value == pytest.approx(
        2 / 3
    )


def test_the_drawn_line_itself_scores_one_and_a_shift_within_the_tolerance_too():
    line = np.zeros((200, 200), bool)
    line[100, 20:180] = True
    for shift, value in ((0, 1.0), (2, 1.0), (4, 0.0)):  # 0.0075 of the diagonal are 2.1 pixels
        result = boundary([np.roll(line, shift, 0) * 1.0], [[line]], thresholds=5, repeats=10)
        assert result["ODS"].value == pytest.approx(value) and result["OIS"].value == pytest.approx(value)


def test_thinning_leaves_a_line_as_it_is_and_wears_a_bar_down_to_one():
    line = np.zeros((20, 30), bool)
    line[8, 3:27] = True
    assert (thin(line) == line).all()
    bar = np.zeros((20, 30), bool)
    bar[6:11, 3:27] = True
    worn = thin(bar)
    assert (worn <= bar).all() and worn.any(0)[8:22].all() and (worn.sum(0) <= 1)[6:24].all()


def test_suppression_equals_a_loop_over_pixels_and_leaves_the_ridge_of_a_soft_line():
    rng = np.random.default_rng(3)
    edges = ndimage.gaussian_filter(rng.random((18, 22)), 1.0)
    ramp = np.concatenate([np.arange(1, 6), np.arange(4, 0, -1)]) / 25
    smooth = ndimage.convolve(edges, np.outer(ramp, ramp), mode="reflect")
    down, right = np.gradient(smooth)
    yy, xy, xx = *np.gradient(down), np.gradient(right)[1]
    expected = np.zeros_like(edges)

    def between(y, x):
        y, x = min(max(y, 0), 17), min(max(x, 0), 21)
        i, j = min(int(y), 16), min(int(x), 20)
        a, b = y - i, x - j
        top = edges[i, j] * (1 - b) + edges[i, j + 1] * b
        return top * (1 - a) + (edges[i + 1, j] * (1 - b) + edges[i + 1, j + 1] * b) * a

    for y in range(18):
        for x in range(22):
            angle = math.atan(yy[y, x] * np.sign(-xy[y, x]) / (xx[y, x] + 1e-5)) % math.pi
            beside = [between(y + s * math.sin(angle), x + s * math.cos(angle)) for s in (-2, -1, 1, 2)]
            fade = min(y / 5, (17 - y) / 5, 1) * min(x / 5, (21 - x) / 5, 1)
            expected[y, x] = edges[y, x] * fade if edges[y, x] * 1.01 >= max(beside) else 0
    np.testing.assert_allclose(suppressed(edges, reach=2), expected, atol=1e-12)
    line = np.zeros((40, 40))
    line[:, 20] = 1
    soft = ndimage.gaussian_filter(line, 2.0)
    assert set(np.nonzero(suppressed(soft)[8:-8])[1]) == {20}


def test_f_on_the_way_between_two_thresholds_may_be_above_both():
    recall, precision = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    assert f_measure(recall, precision).max() == pytest.approx(0.18)
    assert along(recall, precision)[0] == pytest.approx(0.5)
    assert area(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]))[0] == pytest.approx(1.01)  # as BSDS sums it


def test_the_interval_holds_every_picture_left_out_in_turn():
    rng = np.random.default_rng(2)
    table = [rng.integers(5, 20, (12, 7)) for _ in range(4)]
    counts = Counted(np.minimum(table[0], table[1]), table[1], np.minimum(table[2], table[3]), table[3])
    result = scores(counts, repeats=500)
    for name, score in result.items():
        for i in range(12):
            rest = Counted(
                *(
                    np.delete(part, i, 0)
                    for part in (counts.met, counts.drawn, counts.right, counts.predicted)
                )
            )
            assert score.low - 0.05 <= scores(rest, repeats=1)[name].value <= score.high + 0.05


def test_what_cannot_be_compared_is_one_line():
    blank = np.zeros((5, 6), bool)
    with pytest.raises(BadInput, match="Boundaries need a person's map with a boundary for every picture"):
        boundary([blank * 1.0], [[blank]])
    with pytest.raises(BadInput, match=r"at the same size; got maps of \(5, 6\) and \(6, 5\)"):
        boundary([blank * 1.0], [[~blank.T]])
