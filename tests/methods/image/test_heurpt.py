"""HeurPT: tags, repair and contrast are learned at once, each in a pass of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Tags
from vergence.losses import asymmetric, info_nce
from vergence.methods.image.heurpt import HeurPT
from vergence.nets.vit import ViT


def quarters():
    """Pictures of which any quarters are bright, as their tags say, of which three in ten nobody noted."""
    random = np.random.default_rng(0)
    tags, known = random.random((192, 4)) < 0.5, random.random((192, 4)) < 0.7
    bright = tags.reshape(192, 2, 2).repeat(8, 1).repeat(8, 2)[..., None]
    pixels = (120 * bright + random.integers(0, 130, (192, 16, 16, 3))).astype(np.uint8)
    targets = {"tags": Tags(torch.from_numpy(tags), torch.from_numpy(known))}
    reader = PixelReader(pixels, None, None, "quarters")
    source = ImageSource(reader, "memory:quarters", pixels=pixels, targets=targets)
    return source.with_targets(["tags"], "The contract")


SMALL = {"hidden": 24, "dim": 12}
CONTRACT = {
    "source": quarters,
    "encoder": {"name": "vit-micro", "patch": 4, "dim": 64, "depth": 2},
    "options": {"hidden": 48, "dim": 24, "momentum": 0.9},
    "learn": {"batch_size": 32, "epochs": 4},
    "exempt": {"labels": "its pictures have tags in their place, which it learns from"},
}


class Source:
    """Holds seven tags, and no photo."""

    def target(self, name, rows):
        assert name == "tags"
        return Tags(torch.zeros(len(rows), 7, dtype=torch.bool), torch.ones(len(rows), 7, dtype=torch.bool))


def make(**options):
    torch.manual_seed(0)
    method = HeurPT(ViT(size=16, patch=4, dim=16, depth=1, heads=2), **{**SMALL, **options})
    method.setup(Source())
    return method


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8)
    tags = Tags(torch.rand(6, 7) < 0.5, torch.rand(6, 7) < 0.6)
    return ImageBatch(pixels, torch.arange(6), torch.full((6,), -1), targets={"tags": tags})


def test_the_three_terms_are_their_formulas_with_their_weights(batch):
    method = make(weights=(2.0, 3.0, 0.5))
    views = method.views(batch)
    terms = method.loss(views)
    tags = batch.targets["tags"]
    logits = method.namer(method.encoder(views.photo).pooled)
    torch.testing.assert_close(terms["tags"], 2 * asymmetric(logits, tags.values, tags.known))
    pixels = (views.photo.pixels - method.encoder.mean) / method.encoder.std
    seen = method.encoder(views.photo.pixels, mask=views.mask, mask_token=method.mask_token[0])
    errors = []
    for b in range(6):
        for n in views.mask[b].nonzero()[:, 0].tolist():
            y, x = 4 * (n // 4), 4 * (n % 4)
            cell = pixels[b, :, y : y + 4, x : x + 4].permute(1, 2, 0).flatten()
            errors.append((method.painter(seen.tokens[b, n]) - cell).abs().mean())
    torch.testing.assert_close(terms["repair"], 3 * torch.stack(errors).mean())
    z = [method.projector(method.encoder(view)) for view in views.pair]
    q, k = [method.predictor(part) for part in z], [method.teacher(view) for view in views.pair]
    both = info_nce(q[0], k[1], temperature=0.2) + info_nce(q[1], k[0], temperature=0.2)
    torch.testing.assert_close(terms["contrast"], both / 2)


def test_what_nobody_noted_teaches_nothing(batch):
    method = make(parts=("tags",))
    views, tags = method.views(batch), batch.targets["tags"]
    other = Tags(tags.values ^ ~tags.known, tags.known)
    torch.testing.assert_close(
        method.loss(replace(views, photo=replace(views.photo, targets={"tags": other}))), method.loss(views)
    )
    unknown = Tags(tags.values, torch.zeros_like(tags.known))
    (cost,) = method.loss(replace(views, photo=replace(views.photo, targets={"tags": unknown}))).values()
    cost.backward()
    assert cost == 0 and not method.namer.weight.grad.any()


def test_whole_units_are_hidden_and_only_when_a_photo_is_repaired(batch):
    method = make(unit=8, mask_ratio=0.5)
    mask = method.hide(50, torch.device("cpu")).view(50, 2, 2, 2, 2)
    assert torch.equal(mask, mask[:, :, :1, :, :1].expand_as(mask))
    assert mask.float().mean() == 0.5
    views = method.views(batch)
    repainted = method.reconstruct(views.photo, views.mask)
    changed = views.photo.pixels.clone()
    hidden = views.mask.view(6, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3).expand_as(changed)
    changed[hidden] = 0.5
    torch.testing.assert_close(method.reconstruct(changed, views.mask), repainted)
    first = method.loss(views)
    later = method.loss(replace(views, mask=~views.mask))
    assert first["repair"] != later["repair"]
    assert (first["tags"], first["contrast"]) == (later["tags"], later["contrast"])


def test_parts_may_be_left_out_and_the_teacher_follows(batch):
    for parts in (("tags",), ("repair",), ("contrast",), ("repair", "tags")):
        method = make(parts=parts)
        terms = method.loss(method.views(batch))
        assert set(terms) == set(parts)
        sum(terms.values()).backward()
        assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    method = make(momentum=0.5)
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    method.clock = Clock(0, 10)
    before = method.teacher.network[1][0].weight.clone()
    method.step_end(method.clock)
    torch.testing.assert_close(method.teacher.network[1][0].weight, before + 0.5)


def test_mistakes_are_one_line(batch):
    with pytest.raises(BadInput, match="one or more of tags, repair, contrast; got"):
        make(parts=("boxes",))
    with pytest.raises(BadInput, match="multiple of the patch, 4, and divide the size, 16; got 6"):
        make(unit=6)
    with pytest.raises(BadInput, match="mask_ratio in"):
        make(mask_ratio=1.0)
    one = replace(batch, pixels=batch.pixels[:1], index=batch.index[:1], label=batch.label[:1], targets=None)
    method = make(parts=("contrast",))
    with pytest.raises(BadInput, match="2 or more photos"):
        method.loss(method.views(one))
