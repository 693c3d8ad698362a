import pytest
import torch
from torch import nn

from vergence.core import BadInput, Features
from vergence.nets import mlp, width_of


def kinds(network):
    return [type(layer).__name__ for layer in network]


def test_layers_are_those_of_the_papers():
    simclr = mlp(8, 8, 4)
    assert kinds(simclr) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert simclr[0].bias is None and simclr[-1].bias is not None  # the norm would remove the first bias
    mocov3 = mlp(8, 16, 16, 4, last_norm=True, last_affine=False)
    assert kinds(mocov3) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert mocov3[-1].weight is None and mocov3[-2].bias is None
    assert mlp(8, 16, 16, last_bias=False)[-1].bias is None
    grace = mlp(8, 4, 4, norm=False, act=nn.ELU)
    assert kinds(grace) == ["Linear", "ELU", "Linear"] and grace[0].bias is not None
    assert [layer.out_features for layer in mlp(8, 16, 5, 3) if isinstance(layer, nn.Linear)] == [16, 5, 3]


def test_plain_layers_compute_what_they_say():
    network, x = mlp(3, 4, 2, norm=False), torch.randn(5, 3)
    wanted = (x @ network[0].weight.T + network[0].bias).relu() @ network[2].weight.T + network[2].bias
    torch.testing.assert_close(network(x), wanted)


def test_last_norm_centres_and_scales_every_feature():
    out = mlp(3, 4, 6, last_norm=True, last_affine=False)(torch.randn(200, 3) * 5 + 1)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(dim=0, unbiased=False), torch.ones(6), atol=1e-2, rtol=0)


def test_features_are_read_by_their_pooled_vectors():
    network, x = mlp(3, 2), torch.randn(4, 3)
    assert torch.equal(network(Features(pooled=x)), network(x))


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="two or more widths"):
        mlp(8)
    with pytest.raises(ValueError, match="at least 1; got .8, 0."):
        mlp(8, 0)
    with pytest.raises(BadInput, match="Linear has None. Set it"):
        width_of(nn.Linear(2, 2))


def test_width_is_what_the_encoder_states():
    encoder = nn.Identity()
    encoder.out_dim = 7
    assert width_of(encoder) == 7
