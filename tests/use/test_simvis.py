"""Heat maps of a pair add up to its cosine, whatever the pooling."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from vergence.core import Features
from vergence.core.errors import BadInput
from vergence.use.simvis import box_coverage, explain, explain_pictures, part_vectors, parts

POOLED = {
    "mean": lambda x: x.mean((2, 3)),
    "max": lambda x: x.amax((2, 3)),
    "flatten": lambda x: x.flatten(1),
}


def pair(b=3, c=5, h=4, w=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, b, c, h, w, generator=generator).unbind(0)


def layer_for(pool, bias=True):
    torch.manual_seed(1)
    return nn.Linear(60 if pool == "flatten" else 5, 7, bias=bias)


@pytest.mark.parametrize(
    ("pool", "with_layer"),
    [("mean", False), ("max", False), *((pool, how) for pool in POOLED for how in (True, "no bias"))],
)
def test_both_maps_add_up_to_the_cosine_and_swapping_swaps_them(pool, with_layer):
    layer = layer_for(pool, with_layer != "no bias") if with_layer else None
    x, y = pair()
    with torch.no_grad():
        why, back = explain(x, y, pool=pool, layer=layer), explain(y, x, pool=pool, layer=layer)
        vectors = [POOLED[pool](z) for z in (x, y)]
        vectors = [layer(v) for v in vectors] if layer else vectors
    cosine = cosine_similarity(*vectors)
    for result in (why.score, why.first.sum((1, 2)), why.second.sum((1, 2))):
        torch.testing.assert_close(result, cosine, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.first, why.second)
    torch.testing.assert_close(back.second, why.first)
    assert why.first.shape == (3, 4, 3) and (why.first.min() < 0 or (pool == "max" and not layer))


def test_a_place_contributes_what_the_double_sum_says():
    x, y = pair(b=1)
    a, b = x[0].flatten(1).T, y[0].flatten(1).T  # (N, C)
    scale = 12 * 12 * a.mean(0).norm() * b.mean(0).norm()
    expected = torch.stack([sum(a[i] @ b[j] for j in range(12)) / scale for i in range(12)])
    torch.testing.assert_close(explain(x, y).first.flatten(), expected)


def test_equal_maxima_share():
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0] = 3.0
    assert explain(x, torch.ones(1, 1, 2, 2), pool="max").first.flatten().tolist() == [0.5, 0.5, 0, 0]


def test_the_shared_thing_is_where_the_mass_is_and_an_unrelated_picture_takes_it_away():
    thing, ground, other = torch.eye(6)[:3] * 2
    x, y, z = (torch.zeros(1, 6, 4, 4) for _ in range(3))
    for picture, back in ((x, ground), (y, other), (z, torch.eye(6)[4])):
        picture += back.view(1, 6, 1, 1)
    x[0, :, 1:3, 1:3], y[0, :, 0:2, 2:4] = thing.view(6, 1, 1), thing.view(6, 1, 1)
    why = explain(x, y)
    assert why.first[0, 1:3, 1:3].sum() == pytest.approx(why.score.item())
    assert why.second[0, 0:2, 2:4].sum() == pytest.approx(why.score.item())
    assert explain(x, z).first.abs().max() < 1e-6


def test_a_part_query_is_the_part():
    x, y = pair()
    everywhere = torch.ones(3, 4, 3)
    whole = part_vectors(x, everywhere)
    torch.testing.assert_close(whole, torch.nn.functional.normalize(x.mean((2, 3)), dim=1))
    box = torch.tensor([[0.25, 1 / 3, 0.5, 1 / 3]]).expand(3, 4)
    weights = box_coverage(box, 4, 3)
    assert weights[0].tolist() == [
        pytest.approx(row, abs=1e-6) for row in ([0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0])
    ]
    changed = x.clone()
    changed[:, :, 0] = y[:, :, 0]  # outside the box
    torch.testing.assert_close(part_vectors(changed, weights), part_vectors(x, weights))
    assert box_coverage(torch.tensor([[0.0, 0.0, 0.375, 1.0]]), 4, 1).flatten().tolist() == [1, 0.5, 0, 0]


def test_pictures_are_explained_by_an_encoders_map():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 4, stride=4)

    class Net(nn.Module):
        def forward(self, pictures):
            seen = conv(pictures).relu()
            return Features.of_map(seen.mean((2, 3)), seen)

    a, b = torch.rand(2, 2, 3, 16, 16)
    why = explain_pictures(Net(), a, b)
    expected = cosine_similarity(Net()(a).pooled, Net()(b).pooled)
    torch.testing.assert_close(why.score, expected)
    assert why.upsampled(16, 16)[0].shape == (2, 16, 16)
    with pytest.raises(BadInput, match="no map of features"):
        explain_pictures(nn.Flatten(), a, b)


def test_mistakes_are_told():
    x, y = pair()
    with pytest.raises(BadInput, match="same B and C"):
        explain(x, y[:, :3])
    with pytest.raises(BadInput, match="a linear layer of 60 inputs"):
        explain(x, y, pool="flatten")
    with pytest.raises(BadInput, match="5 inputs"):
        parts(x, layer=nn.Linear(4, 2))
    with pytest.raises(BadInput, match="did you mean 'mean'"):
        parts(x, pool="men")
