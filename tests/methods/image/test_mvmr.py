import copy

import pytest
import torch
from torch import nn

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.losses import distance_correlation
from vergence.methods.image.mvmr import DESCRIPTORS, MVMR, standardised

CONTRACT = {
    "options": {"hidden": 64, "descriptors": ("pixels", "gradients", "deviation")},
    "exempt": {"labels": "80 steps gain little (33 %, untrained 33); its run of record measures"},
}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 8}, 6

    def __init__(self, size=8):
        super().__init__()
        self.input_spec = {"size": size}
        self.layer = nn.Linear(3 * size * size, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x.flatten(1)))


def photos(count=12, seed=0):
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def make(**options):
    torch.manual_seed(0)
    return MVMR(Flat(), **{"hidden": 10, **options})


def test_every_descriptor_is_a_term_of_its_own_beside_three():
    method = make()
    terms = method.loss(method.views(photos()))
    assert list(terms) == ["nearness", "spread", "views", *DESCRIPTORS]
    assert all(0 <= terms[name] <= 1 for name in ("views", *DESCRIPTORS))
    assert set(method.pop_logged()) == {f"{name}_unbiased" for name in DESCRIPTORS}


def test_the_terms_are_the_formulas_written_out():
    method = make(descriptors=("pixels",)).eval()
    whole, crop, described = method.views(photos())
    z, near = (method.projector(method.encoder(pixels)) for pixels in (whole, crop))
    terms = method.loss((whole, crop, described))
    assert terms["nearness"].item() == pytest.approx((z - near).square().sum().item() / z.numel(), rel=1e-5)
    short = sum((1 - rows.std(0)).clamp_min(0).sum() / 10 for rows in (z, near))
    torch.testing.assert_close(terms["spread"], short)
    torch.testing.assert_close(terms["views"], 1 - distance_correlation(z, near))
    torch.testing.assert_close(
        terms["pixels"], 1 - distance_correlation(standardised(whole).flatten(1), near)
    )


def test_descriptors_are_of_whole_photos_and_augmented_ones_share_an_edit():
    method = make(descriptors=("pixels", "augmented"))
    batch = photos()
    batch = ImageBatch(batch.pixels[:1].expand(12, -1, -1, -1).contiguous(), batch.index, batch.label)
    whole, crop, described = method.views(batch)
    assert torch.equal(whole, batch.pixels / 255)
    torch.testing.assert_close(described[0], standardised(whole).flatten(1))
    assert torch.equal(described[1], described[1][:1].expand(12, -1))
    assert not torch.equal(crop[0], crop[1])


def test_processes_agree_on_the_edit_of_a_step():
    method, batch = make(descriptors=("augmented",)), photos()
    torch.manual_seed(1)
    (first,) = method.views(batch)[2]
    torch.manual_seed(2)
    (second,) = method.views(batch)[2]
    assert torch.equal(first, second)
    method.clock = Clock(1, 2, 1)
    assert not torch.equal(method.views(batch)[2][0], first)


def test_vectors_that_lie_as_the_descriptor_does_cost_nothing():
    method = make(descriptors=("pixels",), teacher=Flat())
    method.projector = nn.Identity()
    method.encoder = nn.Flatten()
    x = 3 * torch.randn(8, 5)
    turned = x @ torch.linalg.qr(torch.randn(5, 5))[0]
    terms = method.loss((x, x, [torch.randn(8, 5), 2 * turned + 1]))
    assert all(terms[name] < 1e-4 for name in ("nearness", "views", "teacher"))
    assert terms["pixels"] > 0.05


def test_a_teacher_is_the_only_descriptor_unless_others_are_named_and_stays_as_it_was():
    teacher = Flat(16)
    before = copy.deepcopy(teacher.state_dict())
    method = make(teacher=teacher).train()
    views = method.views(photos())
    assert [part.shape for part in views[2]] == [(12, 6)]
    torch.testing.assert_close(views[2], method.views(photos())[2])  # no dropout
    terms = method.loss(views)
    assert list(terms) == ["nearness", "spread", "views", "teacher"]
    sum(terms.values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    both = make(teacher=teacher, descriptors=("pixels",))
    assert list(both.loss(both.views(photos())))[3:] == ["pixels", "teacher"]


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="Unknown descriptor 'pixel'; did you mean 'pixels'"):
        make(descriptors=("pixel",))
    for name, size in (("scattering", 10), ("gradients", 7)):
        with pytest.raises(BadInput, match=f"4 divides for 'scattering' and of 8 or more .*; got {size}. "):
            MVMR(Flat(size), hidden=10, descriptors=(name,))
    with pytest.raises(BadInput, match="1 direction of gradients or more; got bins=0"):
        make(bins=0)
