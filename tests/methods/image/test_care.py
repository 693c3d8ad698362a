import pytest
import torch

from two_processes import few_digits
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.losses import gram_difference, nt_xent
from vergence.methods.image import care
from vergence.methods.image.care import CARE
from vergence.methods.image.encoders import build
from vergence.views.pixels.augment import plain


def four_edits(method):
    def edited(batch):
        pixels = plain(batch, method.crop.size)
        return [pixels, pixels.flip(3), 0.5 * pixels, 1 - pixels]

    return edited


# 8 photos a group, as many as each of two processes has.
CONTRACT = {"two": {"": {"source": few_digits, "options": {"groups": 2}, "views": four_edits}}}


def make(**options):
    torch.manual_seed(0)
    return CARE(build("resnet-tiny", size=16, width=8, blocks=(1, 1)), **{"dim": 6, "hidden": 8, **options})


def photos(count=12):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (1, 3, 20, 20), dtype=torch.uint8).expand(count, -1, -1, -1)
    return ImageBatch(pixels.contiguous(), torch.arange(count), torch.full((count,), -1))


def test_a_photo_has_edits_of_its_own_and_others_that_its_group_shares():
    first, second, one, other = (view.pixels for view in make(groups=3).views(photos()))
    for own in (first, second):
        assert len({tuple(row.flatten()[:40].tolist()) for row in own}) == 12
    for shared in (one, other):
        groups = shared.unflatten(0, (3, 4))
        assert torch.equal(groups, groups[:, :1].expand_as(groups))
        assert len({tuple(row.flatten()[:40].tolist()) for row in shared}) == 3
    assert not torch.equal(one, other)


def test_the_terms_are_simclr_and_twice_the_weighted_change_of_cosines():
    method = make(groups=3, weight=0.2).eval()
    views = method.views(photos())
    first, second, one, other = (method.projector(method.encode(view)) for view in views)
    terms = method.loss(views)
    torch.testing.assert_close(terms["contrast"], nt_xent(first, second, temperature=0.5))
    torch.testing.assert_close(terms["rotation"], 0.4 * gram_difference(one, other, group=4))


def test_the_same_edit_twice_changes_no_cosine_and_a_weight_of_0_is_simclr():
    method = make(groups=3).eval()
    views = method.views(photos())
    assert method.loss([*views[:3], views[2]])["rotation"] < 1e-10
    assert make(weight=0.0).loss(views)["rotation"] == 0


def test_small_batches_have_fewer_groups_of_two_photos():
    method = make(groups=16)
    assert [method.group_size(n) for n in (256, 40, 5)] == [16, 2, 2]
    assert method.loss(method.views(photos(5)))["rotation"].isfinite()
    with pytest.raises(BadInput, match="2 or more samples a batch; got 1"):
        method.views(photos(1))


def test_groups_are_counted_over_all_processes(monkeypatch):
    method = make(groups=4)
    assert method.group_size(32) == 8
    monkeypatch.setattr(care, "world", lambda: 2)
    assert [method.group_size(n) for n in (16, 32)] == [8, 16]
    assert make(groups=1).group_size(16) == 16, "a group lies in one process"


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="1 group or more; got 0.5, -1, 0.03 and 16|got 0.5, -1 and 16"):
        make(weight=-1)
