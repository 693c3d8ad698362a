import pytest
import torch
from torch.nn.functional import log_softmax, normalize

from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.mmc import MMC

HEADS = {"prototypes": 32, "hidden": 32, "bottleneck": 16, "dim": 16}
CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 4, "dim": 64, "depth": 2},
    "learn": {"batch_size": 32, "epochs": 5},
    "options": {**HEADS, "n_local": 1, "momentum": 0.9},
    "exempt": {"labels": "80 steps are few for a student of its own copy; its run of record measures"},
}


def make(**options):
    torch.manual_seed(0)
    return MMC(build("vit-micro", size=16), **{**HEADS, "n_local": 1, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(6), torch.full((6,), -1))


def test_the_three_terms_equal_their_formulas(batch):
    method = make()
    method.centre_images.copy_(torch.randn(32))
    method.centre_patches.copy_(torch.randn(32))
    centres = method.centre_images.clone(), method.centre_patches.clone()
    views = method.views(batch)
    terms = method.loss(views)
    first, second = (view.pixels for view in views.whole)
    masks = views.mask.chunk(2)
    seen = [
        method.encoder(crop, mask=mask, mask_token=method.mask_token[0])
        for crop, mask in zip((first, second), masks, strict=True)
    ]
    meant = [method.teacher(crop) for crop in (first, second)]

    def cost(student, teacher, centre):
        target = ((method.teacher_head(teacher) - centre) / 0.04).softmax(-1)
        return -(target * log_softmax(method.head(student) / 0.1, -1)).sum(-1)

    hidden = [
        cost(seen[v].tokens[i, n], meant[v].tokens[i, n], centres[1])
        for v in range(2)
        for i in range(6)
        for n in range(64)
        if masks[v][i, n]
    ]
    torch.testing.assert_close(terms["masked"], torch.stack(hidden).mean())
    local = method.encoder(views.parts[0].pixels).pooled
    pairs = [(seen[0].pooled, 1), (seen[1].pooled, 0), (local, 0), (local, 1)]
    words = [cost(student, meant[t].pooled, centres[0]).mean() for student, t in pairs]
    torch.testing.assert_close(terms["momentum"], torch.stack(words).mean())
    contrast = 0
    queries = method.projector(torch.cat([s.pooled for s in seen])).chunk(2)
    keys = method.teacher_projector(torch.cat([m.pooled for m in meant])).chunk(2)
    for q, k in ((queries[0], keys[1]), (queries[1], keys[0])):
        logits = normalize(q, dim=1) @ normalize(k, dim=1).T / 0.2
        contrast = contrast - log_softmax(logits, 1).diagonal().mean() / 2
    torch.testing.assert_close(terms["contrast"], contrast)


def test_the_teacher_sees_what_the_student_does_not(batch):
    method = make()
    views = method.views(batch)
    assert views.mask.shape == (12, 64)
    assert views.mask.float().mean(1).min() >= 0.1 and views.mask.float().mean(1).max() <= 0.5
    changed = torch.where(
        views.mask.view(2, 6, 1, 8, 8).repeat_interleave(2, 3).repeat_interleave(2, 4), 0.0, 1.0
    )
    before = method.loss(views)
    for view, shown in zip(views.whole, changed, strict=True):
        view.pixels.mul_(shown)  # black where hidden: only the teacher can tell
    pixels = torch.cat([view.pixels for view in views.whole])
    hidden = method.encoder(pixels, mask=views.mask, mask_token=method.mask_token[0])
    again = method.encoder(
        pixels + (1 - changed.flatten(0, 1)), mask=views.mask, mask_token=method.mask_token[0]
    )
    torch.testing.assert_close(hidden.pooled, again.pooled)
    assert (method.loss(views)["masked"] - before["masked"]).abs() > 1e-6


@pytest.mark.parametrize("parts", [("masked",), ("momentum",), ("contrast",), ("masked", "contrast")])
def test_parts_are_learned_alone(batch, parts):
    method = make(parts=parts)
    terms = method.loss(method.views(batch))
    assert set(terms) == set(parts)
    sum(terms.values()).backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert method.mask_token.grad is not None


def test_teachers_follow():
    method = make()
    start = method.teacher_head.network.prototypes.weight.clone()
    with torch.no_grad():
        method.head.prototypes.weight.add_(1)
        method.encoder.cls_token.fill_(1.0)
        method.teacher.network.cls_token.zero_()
    method.step_end(method.clock)
    torch.testing.assert_close(method.teacher_head.network.prototypes.weight, start + 0.004)
    moved = method.teacher.network.cls_token
    torch.testing.assert_close(moved, torch.full_like(moved, 0.004))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("colour",)}, "parts to name one or more of masked, momentum, contrast"),
        ({"temperature": 0.0}, "temperatures above 0"),
        ({"mask_ratio": (0.0, 1.0)}, r"mask_ratio in \(0, 1\)"),
    ],
)
def test_settings_out_of_range_are_one_line(options, message):
    with pytest.raises(BadInput, match=message):
        make(**options)
    with pytest.raises(BadInput, match="needs a vision transformer"):
        MMC(build("resnet-tiny", size=16), **HEADS)
