import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock
from vergence.losses.decorrelate import cross_correlation_gap
from vergence.methods.image.all4one import All4One, both_ways, ranks_as_waves

CONTRACT = {
    "options": {"dim": 32, "hidden": 64, "predictor_hidden": 64, "queue": 256, "momentum": 0.9, "heads": 4},
    "learn": {"epochs": 6},
    "two": {"": {"options": {"dropout": 0.0}}},  # which each process draws for itself
    "exempt": {"labels": "80 steps are few for a queue and a slow teacher; its run of record measures"},
}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 2}, 10

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 10)

    def forward(self, x):
        return self.layer(x)


def make(**options):
    torch.manual_seed(0)
    small = {"dim": 8, "hidden": 12, "predictor_hidden": 12, "queue": 20, "heads": 2, "depth": 1}
    return All4One(Flat(), **{**small, **options})


def views(count=6):
    torch.manual_seed(1)
    return [torch.randn(count, 12) for _ in range(2)]


def unit(*shape):
    return normalize(torch.randn(*shape), dim=-1)


def test_neighbours_are_the_rows_of_the_queue_with_the_largest_cosine():
    method, keys = make(), unit(4, 8)
    (rows,) = method.queue.rows
    for key, near in zip(keys, method.nearest(keys), strict=True):
        order = sorted(range(20), key=lambda i: -float(rows[i] @ key))
        torch.testing.assert_close(near, rows[order[:5]])


def test_the_shift_puts_a_vector_before_its_neighbours_and_drops_the_last():
    method, vector, rows = make(), torch.randn(3, 8), torch.randn(3, 5, 8)
    moved = method.shift(vector, rows)
    assert moved.shape == rows.shape
    assert torch.equal(moved[:, 0], vector)
    assert torch.equal(moved[:, 1:], rows[:, :4])


def test_a_centroid_sees_every_neighbour_and_their_order():
    method, rows = make().eval(), unit(2, 5, 8)
    centroid = method.centroid(rows)
    assert centroid.shape == (2, 8)
    other = rows.clone()
    other[:, 4] = -other[:, 4]
    assert not torch.allclose(method.centroid(other), centroid, atol=1e-4)
    assert not torch.allclose(method.centroid(rows[:, [0, 2, 1, 3, 4]]), centroid, atol=1e-4)


def test_the_three_terms_are_the_formulas_written_as_loops():
    method = make(neighbour=0.3, centroid=0.2, feature=0.1, dropout=0.0).train()
    x = views()
    z = [method.projector(method.encoder(view)) for view in x]
    m = [normalize(method.teacher(view), dim=1) for view in x]
    (rows,) = method.queue.rows
    near = [torch.stack([rows[(rows @ key).topk(5).indices] for key in keys]) for keys in m]

    def cost(queries, keys, temperature):
        total = 0.0
        for i in range(6):
            scores = [torch.cosine_similarity(queries[i], key, dim=0).item() / temperature for key in keys]
            total += math.log(sum(math.exp(s) for s in scores)) - scores[i]
        return total / 6

    p = [method.predictor(v) for v in z]
    nearest = (cost(near[0][:, 0], p[1], 0.2) + cost(near[1][:, 0], p[0], 0.2)) / 2
    c = [method.centroid(n) for n in near]
    s = [method.centroid(torch.cat([method.shift_predictor(v)[:, None], n], 1)[:, :5])
         for v, n in zip(z, near, strict=True)]  # fmt: skip
    middle = (cost(c[0], s[1], 0.1) + cost(c[1], s[0], 0.1)) / 2
    equal, apart = [], []
    for target, vector in ((m[0], z[1]), (m[1], z[0])):
        for i in range(8):
            for j in range(8):
                value = torch.cosine_similarity(target[:, i], vector[:, j], dim=0).item()
                (equal if i == j else apart).append((value - (i == j)) ** 2)
    feature = 5 * (math.sqrt(sum(equal) / len(equal)) + math.sqrt(sum(apart) / len(apart)))
    terms = {name: float(term.detach()) for name, term in method.loss(x).items()}
    assert terms["neighbour"] == pytest.approx(0.3 * nearest, rel=1e-4)
    assert terms["centroid"] == pytest.approx(0.2 * middle, rel=1e-4)
    assert terms["feature"] == pytest.approx(0.1 * feature, rel=1e-4)


def test_features_that_are_the_teachers_and_orthogonal_have_no_gap():
    x = torch.linalg.qr(torch.randn(8, 4, dtype=torch.float64))[0]
    assert cross_correlation_gap(x, x, 3 * x, 3 * x) < 1e-5
    mixed = cross_correlation_gap(x, x, x.roll(1, 1), x.roll(1, 1))
    assert mixed == pytest.approx((1 + math.sqrt(4 / 12)) / 2)
    with pytest.raises(ValueError, match="2 features or more; got 1"):
        cross_correlation_gap(*[x[:, :1]] * 4)


def test_matching_views_cost_less_than_strangers():
    rows = [unit(8, 5) for _ in range(2)]
    assert both_ways(rows, [rows[1], rows[0]], 0.1) < both_ways(rows, [unit(8, 5), unit(8, 5)], 0.1)


def test_ranks_are_sines_and_cosines_along_the_features():
    waves = ranks_as_waves(5, 7)
    for rank, (wave, power) in enumerate(
        [(math.sin, 0), (math.cos, 0), (math.sin, 2), (math.cos, 2), (math.sin, 4)]
    ):
        expected = [wave(d / 10_000 ** (power / 6)) for d in range(7)]
        torch.testing.assert_close(waves[rank], torch.tensor(expected))


def test_the_teachers_first_view_enters_the_queue_after_the_step():
    method, x = make(), views()
    before = method.queue.rows[0].clone()
    key = method.keys(x[0])
    method.loss(x)
    assert torch.equal(method.queue.rows[0], before)
    method.step_end(Clock(1, 10, 1))
    torch.testing.assert_close(method.queue.rows[0][:6], key)
    assert torch.equal(method.queue.rows[0][6:], before[6:])


class Photos:
    uri = "photos"

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def test_the_queue_holds_no_more_than_there_are_photos():
    for count, held in ((50, 20), (8, 8)):
        method = make()
        method.setup(Photos(count))
        assert method.queue.rows[0].shape == (held, 8)
        assert method.nearest(unit(3, 8)).shape == (3, 5, 8)
    with pytest.raises(BadInput, match="photos has 4 for 5"):
        make().setup(Photos(4))


def test_gradients_reach_all_that_is_trained_and_not_the_teacher():
    method = make()
    sum(method.loss(views()).values()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="a dim that its heads divide; got 0.2, 0.1, 0.99, 9 and 2"):
        make(dim=9)
    with pytest.raises(BadInput, match="2 neighbours or more, of a queue; got 5 of 4"):
        make(queue=4)
