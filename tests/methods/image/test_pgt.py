import pytest
import torch

from vergence.benchmarks.records.pgt import RECORD
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.dino import DINO
from vergence.methods.image.encoders import build
from vergence.methods.image.pgt import Grouping


def layer(**options):
    torch.manual_seed(0)
    return Grouping(8, 2, **options).double()


def drawn(tokens=9, groups=4):
    torch.manual_seed(1)
    return (torch.randn(2, n, 8, dtype=torch.float64, requires_grad=True) for n in (tokens, groups))


def test_a_layer_and_its_gradients_equal_loops_in_numpy():
    apart = RECORD.parity.measure()
    assert apart["max_rel"] < 1e-8  # the gradients stand beside differences


def test_every_token_gives_itself_away_once_and_groups_compete():
    x, noise = drawn()
    _, _, assignment = layer()(x, noise)
    assert assignment.shape == (2, 2, 9, 4) and assignment.min() > 0
    torch.testing.assert_close(assignment.sum(3), torch.ones(2, 2, 9).double())
    _, _, looked = layer(compete=False)(x, noise)
    torch.testing.assert_close(looked.sum(2), torch.ones(2, 2, 4).double())


def test_the_order_of_groups_does_not_matter_nor_that_of_tokens():
    grouping, order = layer(), torch.tensor([2, 0, 3, 1])
    x, noise = drawn()
    tokens, groups, assignment = grouping(x, noise)
    same, turned, shares = grouping(x, noise[:, order])
    torch.testing.assert_close(same, tokens)
    torch.testing.assert_close(turned, groups[:, order])
    torch.testing.assert_close(shares, assignment[..., order])
    places = torch.randperm(9)
    moved, unmoved, _ = grouping(x[:, places], noise)
    torch.testing.assert_close(moved, tokens[:, places])
    torch.testing.assert_close(unmoved, groups)


def test_groups_that_start_alike_stay_alike():
    x, noise = drawn()
    _, groups, _ = layer()(x, torch.zeros_like(noise))
    torch.testing.assert_close(groups, groups[:, :1].expand_as(groups))


def test_gradients_of_the_last_round_alone_leave_the_values_as_they_are():
    whole, last = layer(), layer(last_round_only=True)
    x, noise = drawn()
    first, second = whole(x, noise)[0], last(x, noise)[0]
    torch.testing.assert_close(first, second)
    grads = [torch.autograd.grad(y.sin().sum(), [x, net.mean]) for y, net in ((first, whole), (second, last))]
    assert all(g.abs().sum() > 0 for pair in grads for g in pair)
    assert (grads[0][0] - grads[1][0]).abs().max() > 1e-6


def test_the_number_of_groups_may_change_after_training():
    encoder = build("pgt-tiny", size=16).eval()
    images = torch.rand(3, 3, 16, 16)
    encoder.n_groups *= 2
    with torch.no_grad():
        groups, assignment, grid = encoder.groups(images)
        assert groups.shape == (3, 24, 96) and assignment.shape == (3, 3, 16, 24) and grid == (4, 4)
        assert encoder.segments(images).shape == (3, 4, 4) and encoder.segments(images).max() < 24
        assert encoder(images).tokens.shape == (3, 16, 96)
    fixed = build("pgt-tiny", size=16, fixed=True)
    fixed.n_groups = 24
    with pytest.raises(BadInput, match="Fixed groups stay 12; got 24"):
        fixed(images)


def test_chance_is_for_training_alone():
    encoder, images = build("pgt-tiny", size=16), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.manual_seed(0)
        first, second = encoder(images).pooled, encoder(images).pooled
        assert (first - second).abs().max() > 1e-4
        torch.manual_seed(0)
        assert torch.equal(first, encoder(images).pooled)
        encoder.eval()
        assert torch.equal(encoder(images).pooled, encoder(images).pooled)


def test_fixed_groups_start_from_learned_vectors_without_chance():
    encoder, images = build("pgt-tiny", size=16, fixed=True), torch.rand(2, 3, 16, 16)
    assert encoder.starts.shape == (3, 12, 96)
    first = encoder(images).pooled
    assert torch.equal(first, encoder(images).pooled)  # in training, too
    torch.testing.assert_close(encoder(images[1:]).pooled, first[1:])
    x, _ = encoder.start(images)
    for layer, starts in zip(encoder.stages, encoder.starts, strict=True):
        x, groups, _ = layer(x, starts.expand(2, -1, -1))
    torch.testing.assert_close(encoder.groups(images)[0], groups)
    torch.testing.assert_close(encoder(images).tokens, encoder.norm(x))
    first.sin().sum().backward()
    assert (encoder.starts.grad.abs().sum(2) > 0).all()  # every group of every layer learns where to begin
    assert build("pgt-tiny", size=16).starts is None


def test_dino_trains_it_with_crops_of_two_sizes():
    torch.manual_seed(0)
    small = {"prototypes": 16, "hidden": 16, "bottleneck": 8, "n_local": 1}
    method = DINO(build("pgt-tiny", size=16, patch=2), **small)

    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    method.loss(method.views(ImageBatch(pixels, torch.arange(4), torch.full((4,), -1))))["dino"].backward()
    silent = [name for name, p in method.encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_settings_out_of_range_are_one_line():
    with pytest.raises(BadInput, match="a width that heads and 4 divide"):
        build("pgt-tiny", size=16, heads=5)
    with pytest.raises(BadInput, match="16 x 18"):
        build("pgt-tiny", size=16)(torch.rand(1, 3, 16, 18))
