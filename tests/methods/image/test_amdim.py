import pytest
import torch

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.losses import local_nce
from vergence.methods.image.amdim import AMDIM, mirrored
from vergence.methods.image.encoders import build
from vergence.nets.unpadded import Unpadded
from vergence.views.pixels.augment import Augment

SMALL = {"width": 8, "dim": 48, "blocks": 1}
CONTRACT = {"encoder": SMALL}


@pytest.fixture
def method():
    torch.manual_seed(0)
    return AMDIM(Unpadded(**SMALL))


def shaken(net):
    """Give weights that start at 0 something to do."""
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    return net


@pytest.mark.parametrize(("size", "width", "dim"), [(32, 4, 20), (64, 2, 20), (128, 2, 16)])
def test_maps_shrink_to_one_cell_and_only_that_sees_the_whole_picture(size, width, dim):
    torch.manual_seed(0)
    net = shaken(Unpadded(size=size, width=width, dim=dim, blocks=2)).eval()
    images = torch.rand(1, 3, size, size, requires_grad=True)
    one, five, seven = net.scales(images)
    assert (one.shape, five.shape[1:], seven.shape[1:]) == (
        (1, dim),
        (net.grid_width, 5, 5),
        (net.grid_width, 7, 7),
    )
    for cells, centre, whole in ((seven, 3, False), (five, 2, False), (one[..., None, None], 0, True)):
        (grad,) = torch.autograd.grad(cells[..., centre, centre].sum(), images, retain_graph=True)
        rows = grad[0].abs().sum((0, 2)).nonzero()
        seen = (rows.max() - rows.min() + 1).item() / size
        assert (seen == 1) if whole else (0.1 < seen < 0.75)


def test_the_network_begins_as_means_of_means_and_is_built_again_from_its_spec():
    net = Unpadded(**SMALL)
    stage = net.stages[1]
    x = torch.rand(2, 32, 7, 7)
    torch.testing.assert_close(stage(x), torch.nn.functional.avg_pool2d(x, 3, 1))
    again = build(**net.spec)
    assert [p.shape for p in again.parameters()] == [p.shape for p in net.parameters()]
    with pytest.raises(BadInput, match="32, 64 or 128"):
        Unpadded(size=48)


def test_the_loss_is_three_terms_in_both_directions_and_small_scores(method):
    shaken(method).eval()
    method.clock = Clock(4, 10, 1)
    views = [torch.rand(6, 3, 32, 32) for _ in range(2)]
    (a1, a5, a7), (b1, b5, b7) = (method.at_scales(view) for view in views)
    place = [torch.randint(25, (6,), generator=torch.Generator().manual_seed(8 + k)) for k in range(2)]
    a, b = (cells[torch.arange(6), at] for cells, at in zip((a5, b5), place, strict=True))
    pairs = {
        "1 to 5": [(a1, b5), (b1, a5)],
        "1 to 7": [(a1, b7), (b1, a7)],
        "5 to 5": [(a, b5), (b, a5)],
    }
    costs = {name: [local_nce(*one) for one in both] for name, both in pairs.items()}
    got = method.loss(views)
    for name, both in costs.items():
        torch.testing.assert_close(got[name], (both[0][0] + both[1][0]) / 2)
    squares = [square for both in costs.values() for _, square in both]
    torch.testing.assert_close(got["penalty"], 0.05 * sum(squares) / 2)


def test_both_views_are_mirrored_or_neither():
    pixels = torch.randint(256, (16, 3, 16, 16), dtype=torch.uint8)
    batch = ImageBatch(pixels, torch.arange(16), torch.zeros(16).long())
    view = Augment(16, scale=(0.3, 1.0), flip=0.0)(batch, torch.Generator().manual_seed(0))
    mirror = torch.arange(16) % 2 == 0
    turned = mirrored(view, mirror)
    torch.testing.assert_close(turned.pixels[0], view.pixels[0].flip(2))
    torch.testing.assert_close(turned.pixels[1], view.pixels[1])
    at = torch.tensor([3.0, 5.0, 1.0])
    torch.testing.assert_close(turned.matrix[0] @ at, view.matrix[0] @ torch.tensor([13.0, 5.0, 1.0]))
    first, second = AMDIM(Unpadded(**SMALL)).views(batch)
    assert torch.equal(first.flip, second.flip) and not torch.equal(first.box, second.box)
    assert 0 < first.flip.sum() < 16


def test_an_encoder_without_such_maps_is_refused():
    with pytest.raises(BadInput, match=r"5 x 5 and 7 x 7.*Take --encoder"):
        AMDIM(build("resnet-tiny", size=32))


def test_the_recipe_is_the_released_one():
    recipe = AMDIM.recipe
    assert (recipe.optimizer, recipe.lr, recipe.betas, recipe.weight_decay) == (
        "adam",
        2e-4,
        (0.8, 0.999),
        1e-5,
    )
