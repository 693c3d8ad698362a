import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import vergence
from two_processes import few_digits
from vergence.benchmarks.records.hib import Point
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.hib import HIB, distances, divergence, drawn, match_cost, match_probability

CONTRACT = {"options": {"dim": 8, "draws": 4}, "two": {"": {"source": few_digits}}}


def make(**options):
    torch.manual_seed(0)
    return HIB(build("resnet-tiny", size=16, width=8, blocks=(1,)), **options)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(6), torch.tensor([0, 0, 1, 1, 1, 2]))


def test_the_loss_is_the_papers_over_all_pairs_of_the_batch_written_as_loops(batch):
    method = make(dim=2, draws=3, beta=0.1).eval()
    with torch.no_grad():
        method.encoder.log_slope.fill_(math.log(0.7))
        method.encoder.shift.fill_(0.3)
    views = method.views(batch)
    mean, deviation = method.encoder.clouds(views[0])
    noise, cost, parts = views[2], {True: [], False: []}, []
    for one in range(6):
        for other in range(one + 1, 6):
            total = 0.0
            for k in range(3):
                for m in range(3):
                    z = mean[one] + deviation[one] * noise[one, k]
                    w = mean[other] + deviation[other] * noise[other, m]
                    total += torch.sigmoid(0.3 - 0.7 * (z - w).norm()).item()
            match = bool(batch.label[one] == batch.label[other])
            cost[match].append(-math.log(total / 9 if match else 1 - total / 9))
            normal, prior = torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
            each = torch.distributions.kl_divergence(normal, prior).sum(1)
            parts.append(each[one].item() + each[other].item())
    terms = method.loss(views)
    wanted = sum(sum(kind) / len(kind) for kind in cost.values()) / 2
    assert terms["match"].item() == pytest.approx(wanted, rel=1e-5)
    assert terms["divergence"].item() == pytest.approx(0.1 * sum(parts) / len(parts), rel=1e-5)


def test_the_chance_to_match_itself_is_the_integral_over_two_independent_points():
    deviation, slope, shift = 0.8, 1.5, 0.4
    spread = deviation * math.sqrt(2)  # of the difference of two points

    def integrand(d):
        half = 2 / (spread * math.sqrt(2 * math.pi)) * math.exp(-(d**2) / (2 * spread**2))
        return half / (1 + math.exp(slope * d - shift))

    wanted = quad(integrand, 0, 20)[0]
    noise = torch.randn(200, 2, 100, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (drawn(torch.zeros(200, 1), torch.full((200, 1), deviation), noise[:, i]) for i in (0, 1))
    p = match_probability(first, second, torch.tensor(slope), torch.tensor(shift))
    assert p.mean().item() == pytest.approx(wanted, abs=0.01)


def test_uncertainty_grows_with_the_cloud_from_what_the_shift_says_of_a_point(batch):
    encoder = make(dim=2).encoder.eval()
    with torch.no_grad():
        encoder.spread.weight.zero_()
    seen = []
    for bias in (-30.0, -2.0, 0.0, 2.0):
        with torch.no_grad():
            encoder.spread.bias.fill_(bias)
        seen.append(encoder.uncertainty(batch, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen[0], torch.full((6,), torch.sigmoid(-encoder.shift).item()))
    assert all((more > less).all() for less, more in zip(seen, seen[1:], strict=False))


def test_the_rival_of_points_has_none_but_those_it_learns_with(batch):
    torch.manual_seed(0)
    encoder = Point(build("resnet-tiny", size=16, width=8, blocks=(1,)), dim=2).encoder.eval()
    of_a_point = torch.sigmoid(-encoder.shift.detach()).expand(6)
    torch.testing.assert_close(encoder.uncertainty(batch), of_a_point)
    assert not any(p.requires_grad for p in encoder.spread.parameters())
    points = encoder.points(batch, 4)
    torch.testing.assert_close(points, encoder(batch)[:, None].expand(-1, 4, -1), atol=1e-6, rtol=0)


def test_the_two_draws_of_an_uncertainty_are_independent(batch):
    encoder = make(dim=2).encoder.eval()
    of_a_point = torch.sigmoid(-encoder.shift).item()  # what one draw, compared with itself, would give
    assert (encoder.uncertainty(batch, draws=1) > of_a_point + 1e-3).all()


def test_probabilities_are_averaged_before_the_logarithm():
    first, second = torch.zeros(1, 2, 1), torch.tensor([[[0.0], [1000.0]]])  # one point near, one far
    p = match_probability(first, second, torch.ones(()), torch.full((), 10.0))
    assert match_cost(p, torch.tensor([True])).item() == pytest.approx(math.log(2) / 2, abs=1e-3)


def test_a_kind_of_pair_that_is_rare_weighs_as_much_as_the_other():
    p = torch.tensor([0.9, *[0.2] * 9])
    match = torch.tensor([True, *[False] * 9])
    wanted = -(math.log(0.9) + math.log(0.8)) / 2
    assert match_cost(p, match).item() == pytest.approx(wanted)
    assert match_cost(p[1:], match[1:]).item() == pytest.approx(-math.log(0.8) / 2)  # none that match


def test_points_that_meet_and_clouds_without_width_leave_gradients_finite():
    points = torch.zeros(1, 2, 3, requires_grad=True)
    distances(points, points.detach()).sum().backward()
    assert torch.equal(points.grad, torch.zeros(1, 2, 3))
    deviation = torch.zeros(1, 3, requires_grad=True)
    cost = divergence(torch.zeros(1, 3), deviation)
    cost.sum().backward()
    assert torch.isfinite(cost).all()
    assert torch.isfinite(deviation.grad).all()
    assert divergence(torch.zeros(1, 3), torch.ones(1, 3)).item() == 0


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="draws of 1 or more and beta >= 0; got 3, 0 and 0.0001"):
        make(draws=0)
    with pytest.raises(BadInput, match="no two of .* are of one class"):
        make().setup(vergence.open("digits").subset(np.arange(10)))  # 0 to 9
