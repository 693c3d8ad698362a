import math
from functools import cache

import pytest
import torch
from torch.nn.functional import conv_transpose2d
from torchvision.tv_tensors import Mask

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import Boundaries
from vergence.losses.edges import balanced_cross_entropy
from vergence.methods.edges.hed import HED, agreed, random_squares
from vergence.methods.image.encoders import build
from vergence.nets.side_outputs import SideOutputs
from vergence.nets.vgg import VGG16


@cache
def outlined():
    return vergence.open("scenes?count=128&size=32&objects=2-3").with_targets(["boundaries"], "The contract")


CONTRACT = {
    "source": outlined,
    "encoder": {"width": 4},
    "options": {"margin": 0},
    "learn": {"lr": 3e-3, "epochs": 12},
    "exempt": {
        "labels": "contours say little of what a scene holds; its run of record measures them",
        "two": "logits start at 0, where balanced costs have no gradient in biases but for rounding",
    },
}


def make(**options):
    torch.manual_seed(0)
    return HED(VGG16(size=16, width=4), **{"margin": 0, **options})


def drawn_by(*people):
    """Return boundaries of one photo."""
    return Boundaries(torch.zeros(len(people), dtype=torch.int64), Mask(torch.stack(people)))


def test_edges_weigh_as_much_as_the_rest_in_each_image_and_an_empty_one_costs_nothing():
    logits, edges = (
        torch.randn(3, 2, 4, 5),
        torch.rand(3, 4, 5) < torch.tensor([0.2, 0.6, -1.0])[:, None, None],
    )
    cost = balanced_cross_entropy(logits, edges)
    for b in range(3):
        beta = 1 - edges[b].float().mean().item()
        for m in range(2):
            total = 0.0
            for x, edge in zip(logits[b, m].flatten().tolist(), edges[b].flatten().tolist(), strict=True):
                p = 1 / (1 + math.exp(-x))
                total -= beta * math.log(p) if edge else (1 - beta) * math.log(1 - p)
            assert cost[b, m].item() == pytest.approx(total, rel=1e-5, abs=1e-6)
    assert (cost[2] == 0).all()
    steady = torch.zeros(3, 2, 4, 5, requires_grad=True)
    balanced_cross_entropy(steady, edges).sum().backward()
    torch.testing.assert_close(steady.grad.sum((2, 3)), torch.zeros(3, 2))  # edges against the rest: a draw


def test_logits_far_from_the_truth_cost_their_length_and_not_infinity():
    edges = torch.tensor([[[True, False]]])
    assert balanced_cross_entropy(torch.tensor([[[[-1e4, 1e4]]]]), edges).item() == pytest.approx(1e4)
    with pytest.raises(BadInput, match=r"edges \(B, H, W\); got \(2, 4, 5\) and \(1, 1, 2\)"):
        balanced_cross_entropy(torch.zeros(2, 4, 5), edges)


def test_sides_are_brought_to_full_size_as_the_frozen_kernels_of_the_paper_do_it():
    torch.manual_seed(0)
    net = SideOutputs(VGG16(size=16, width=4), margin=34)
    for side in net.sides:
        torch.nn.init.normal_(side.weight)
    x = torch.rand(1, 3, 21, 30)
    cells = torch.nn.functional.pad(net.backbone.pixels(x), [34] * 4)
    logits = net.logits(x)
    for i, (stage, side) in enumerate(zip(net.backbone.stages, net.sides, strict=True)):
        cells = stage(cells)
        step = 2**i
        line = 1 - ((torch.arange(2 * step) + 0.5) / step - 1).abs()
        whole = side(cells)
        if i:
            whole = conv_transpose2d(whole, (line[:, None] * line)[None, None], stride=step)
        first = 34 + (step // 2 if i else 0)
        torch.testing.assert_close(logits[:, i], whole[:, 0, first : first + 21, first : first + 30])
    torch.testing.assert_close(logits[:, 5], logits[:, :5].mean(1))  # equal weights at the start
    maps = logits.sigmoid()
    torch.testing.assert_close(net.contours(x), maps[:, 5])
    torch.testing.assert_close(net.contours(x, averaged=True), maps.mean(1))


def test_every_side_and_their_sum_count_once():
    method = make()
    torch.nn.init.normal_(method.encoder.fuse.weight)
    for side in method.encoder.sides:
        torch.nn.init.normal_(side.weight)
    images, edges = torch.rand(2, 3, 16, 16), torch.rand(2, 16, 16) < 0.2
    terms = method.loss((images, edges))
    cost = balanced_cross_entropy(method.encoder.logits(images), edges)
    torch.testing.assert_close(terms["sides"], (cost[0, :5].sum() + cost[1, :5].sum()) / 2)
    torch.testing.assert_close(terms["fused"], (cost[0, 5] + cost[1, 5]) / 2)


def test_an_edge_is_what_enough_people_drew_or_all_where_fewer_drew():
    a, b, c, d = (
        torch.tensor([row]).float() for row in ([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0])
    )
    assert agreed(drawn_by(a, b, c, d), 1, 3).tolist() == [[[True, True, False, False]]]
    assert agreed(drawn_by(a, c), 1, 3).tolist() == [[[True, False, False, False]]]
    assert agreed(drawn_by(a), 1, 3).tolist() == [[[True, True, True, False]]]
    none = agreed(drawn_by(a), 2, 1)  # nobody drew the second photo
    assert none[0].any()
    assert not none[1].any()


def test_squares_lie_inside_each_photo_and_their_pixels_are_as_they_were():
    sizes = torch.tensor([[9, 12]] * 20 + [[12, 9]] * 20)
    place = torch.arange(144).view(1, 1, 12, 12).expand(40, 1, -1, -1)
    cut = random_squares(place, sizes, 8)
    rows, columns = cut[:, 0] // 12, cut[:, 0] % 12
    assert (rows.diff(dim=1) == 1).all()
    assert (columns.diff(dim=2) == 1).all()
    last = torch.stack([rows[:, -1, -1], columns[:, -1, -1]], 1)
    assert (last < sizes).all()
    assert len(last.unique(dim=0)) > 8  # of 10 places each
    with pytest.raises(BadInput, match="squares of 10 pixels out of photos, and one has 9"):
        random_squares(place, sizes, 10)


def test_a_view_moves_its_edges_with_its_pixels():
    pixels = torch.zeros(6, 3, 20, 20, dtype=torch.uint8)
    lines = torch.rand(6, 20, 20) < 0.3
    pixels[:, 0] = 255 * lines
    drawn = Boundaries(torch.arange(6), Mask(lines.float()))
    batch = ImageBatch(pixels, torch.arange(6), torch.full((6,), -1), targets={"boundaries": drawn})
    images, edges = make().views(batch)
    assert images.shape == (6, 3, 16, 16)
    assert torch.equal(images[:, 0] > 0, edges)
    assert 0 < edges.float().mean() < 1


def test_the_recipe_is_the_papers_for_weights_of_imagenet():
    recipe = HED.recipe
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("sgd", 1e-6, 0.9, 2e-4)
    assert (recipe.schedule, recipe.epochs * (200 // recipe.batch)) == ("constant", 10_000)


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="trunk of a VGG, vergence.nets.vgg:VGG16; got resnet-tiny"):
        HED(build("resnet-tiny", size=16))
    with pytest.raises(BadInput, match="1 or more people who agree; got 0"):
        make(agree=0)
