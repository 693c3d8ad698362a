"""Normalised scores against loops and what they must and must not change."""

import torch
from torch.nn.functional import normalize

from vergence.use.score_normalisation import Whitening, away_from_background, background_level, smoothed


def test_the_level_is_the_mean_cosine_to_the_nearest():
    torch.manual_seed(0)
    q, ground = torch.randn(5, 6), torch.randn(20, 6)
    cosines = normalize(q, dim=1) @ normalize(ground, dim=1).T
    expected = cosines.sort(1, descending=True).values[:, :4].mean(1)
    torch.testing.assert_close(background_level(q, ground, neighbours=4), expected)


def test_a_query_that_is_like_everything_sinks_below_one_that_is_like_its_copy_only():
    ground = torch.eye(4)[:3] + 0.1
    common, apart = torch.tensor([1.0, 1, 1, 0]), torch.tensor([0.0, 0, 0, 1])
    level = background_level(torch.stack([common, apart]), ground, neighbours=3)
    assert level[0] > 0.6 > 0.2 > level[1]


def test_vectors_move_away_from_their_nearest_background():
    torch.manual_seed(0)
    x, ground = torch.randn(3, 5), torch.randn(9, 5)
    unit, u = normalize(x, dim=1), normalize(ground, dim=1)
    for i in range(3):
        near = (u @ unit[i]).argsort(descending=True)[:2]
        expected = normalize(unit[i] - 0.35 * u[near].mean(0), dim=0)
        torch.testing.assert_close(away_from_background(x, ground, neighbours=2)[i], expected)
    torch.testing.assert_close(away_from_background(x, ground, share=0.0), unit)


def test_smoothing_weights_neighbours_by_the_cube_of_their_cosine():
    ground = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    expected = ground[0] + 0.6**3 * ground[1]  # the third is behind: no weight
    torch.testing.assert_close(smoothed(ground, neighbours=3)[0], normalize(expected, dim=0))
    torch.testing.assert_close(smoothed(ground, neighbours=1), ground)


def test_whitening_makes_the_covariance_of_the_background_the_identity():
    torch.manual_seed(0)
    ground = torch.randn(400, 5) @ torch.randn(5, 5) + 3
    white = Whitening.fit(ground)
    spread = (ground - white.mean) @ white.matrix
    torch.testing.assert_close(spread.T @ spread / 400, torch.eye(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(white(ground), normalize(spread, dim=1))
    ridged = Whitening.fit(ground, ridge=0.5)
    variance = torch.linalg.eigvalsh(torch.cov(ground.double().T, correction=0))
    lengths = ridged.matrix.double().square().sum(0).sort(descending=True).values
    torch.testing.assert_close(lengths, 1 / (variance + 0.5 * variance.mean()), rtol=1e-4, atol=0)
    few = Whitening.fit(ground, 2)
    torch.testing.assert_close(few.matrix, white.matrix[:, :2])
    main = (ground - ground.mean(0)).svd().V[:, 0]
    assert abs(normalize(few.matrix[:, 0], dim=0) @ main) > 0.999, "the widest direction comes first"
    flat = torch.cat([ground, torch.ones(400, 1)], 1)
    assert Whitening.fit(flat).matrix.shape == (6, 5) and white(ground).isfinite().all()
