import itertools

import pytest
import torch
from torch.nn.functional import cosine_similarity

from vergence.losses import w_mse, whiten


def mixed(*shape):
    """Rows whose features are correlated and of unlike size."""
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64) @ torch.randn(shape[-1], shape[-1]).double() + 3


def test_whitened_rows_have_mean_0_and_covariance_1():
    z = whiten(mixed(2, 40, 6))
    torch.testing.assert_close(z.mean(1), torch.zeros(2, 6).double(), atol=1e-10, rtol=0)
    cov = torch.stack([group.T.cov() for group in z])
    torch.testing.assert_close(cov, torch.eye(6).double().expand(2, 6, 6), atol=1e-10, rtol=0)


def test_whitening_divides_by_the_covariance():
    x = mixed(40, 6)
    centred = x - x.mean(0)
    inverse = torch.linalg.inv(x.T.cov())  # S⁻¹ = C⁻ᵀ C⁻¹, so that products are those under S⁻¹
    torch.testing.assert_close(whiten(x) @ whiten(x).T, centred @ inverse @ centred.T)


def test_the_first_feature_is_only_centred_and_scaled():
    x = mixed(40, 6)  # by Cholesky's factor, not by the symmetric root, which turns all features
    torch.testing.assert_close(whiten(x)[:, 0], (x[:, 0] - x[:, 0].mean()) / x[:, 0].std())


def test_w_mse_is_the_mean_over_all_pairs_of_views_in_their_groups():
    views, order = mixed(3, 24, 4), torch.randperm(24)
    total, whitened = 0.0, torch.empty_like(views)
    for group in order.view(3, 8):
        for v in range(3):
            x = views[v, group]
            factor = torch.linalg.cholesky(x.T.cov())
            whitened[v, group] = (x - x.mean(0)) @ torch.linalg.inv(factor).T
    for a, b in itertools.combinations(whitened, 2):
        total += (2 - 2 * cosine_similarity(a, b)).mean() / 3
    torch.testing.assert_close(w_mse(views, size=8, order=order), total)


def test_w_mse_does_not_see_shift_scale_or_who_comes_first():
    views = mixed(32, 4) + 0.3 * torch.randn(2, 32, 4)
    cost = w_mse(views, size=32)
    turned = torch.tensor([[2.0, 0, 0, 0], [1, 3, 0, 0], [0, 1, 0.5, 0], [4, 0, 1, 1]]).double()
    torch.testing.assert_close(w_mse(5 * views - 7, size=32), cost)
    torch.testing.assert_close(w_mse(views @ turned.T, size=32), cost)  # Cholesky: lower triangular maps
    torch.testing.assert_close(w_mse(views, size=32, order=torch.randperm(32)), cost)
    assert w_mse(torch.stack([views[0], views[0]]), size=32).item() == pytest.approx(0, abs=1e-12)
    assert cost < w_mse(torch.stack([views[0], views[1].roll(1, 0)]), size=32)


def test_gradients_flow_through_the_whitening():
    views = (mixed(2, 9, 3) + torch.randn(2, 9, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: w_mse(x, size=4, eps=0.1), views)
    (grad,) = torch.autograd.grad(w_mse(views, size=9), views)
    torch.testing.assert_close(grad.sum(1), torch.zeros(2, 3).double(), atol=1e-12, rtol=0)  # of a shift
    torch.testing.assert_close(
        (grad * views).sum(), torch.zeros(()).double(), atol=1e-12, rtol=0
    )  # of a scale


def test_what_cannot_be_whitened_is_told():
    with pytest.raises(ValueError, match=r"more rows than features.*got 4 rows of 4"):
        w_mse(mixed(2, 8, 4), size=4)
    with pytest.raises(ValueError, match="singular"):
        whiten(torch.ones(8, 2))
    assert torch.isfinite(whiten(torch.ones(8, 2), eps=0.1)).all()
