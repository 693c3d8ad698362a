"""MoCo v3: both directions, keys without gradient, a ViT whose patch projection stays as it was."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from vergence.core import Clock
from vergence.data.image.batch import ImageBatch
from vergence.engine.optim import optimizer
from vergence.methods.image import mocov3
from vergence.methods.image.mocov3 import MoCoV3
from vergence.nets.convnets import resnet_tiny
from vergence.nets.vit import ViT

CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 8},
    "learn": {"epochs": 5},
    "options": {"hidden": 128, "dim": 64},
    "exempt": {
        "labels": "240 steps gain nothing over five seeds (28 to 29 %, untrained 31); its record does"
    },
}


def vit():
    return ViT(size=16, patch=4, dim=16, depth=2, heads=2)


def photos(count=6):
    pixels = torch.randint(0, 256, (count, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


@pytest.fixture
def method():
    torch.manual_seed(0)
    return MoCoV3(vit(), dim=8, hidden=16)


def test_loss_is_algorithm_1_written_as_a_loop(method):
    method.eval()  # running statistics: the same vectors in the loop
    views = method.views(photos())
    q = [method.predictor(method.projector(method.encoder(v))) for v in views]
    k = [method.teacher(v) for v in views]
    total = 0.0
    for queries, keys in ((q[0], k[1]), (q[1], k[0])):
        for i, one in enumerate(queries):
            mass = [math.exp(cosine_similarity(one, key, dim=0).item() / 0.2) for key in keys]
            total -= 2 * 0.2 * math.log(mass[i] / sum(mass)) / len(queries)
    assert method.loss(views)["contrast"].item() == pytest.approx(total, rel=1e-4)


def test_keys_of_other_processes_are_negatives(method, monkeypatch):
    views = method.views(photos())
    alone = method.loss(views)["contrast"].item()
    monkeypatch.setattr(mocov3, "gather", lambda keys: torch.cat([keys, keys]))
    both = method.loss(views)["contrast"].item()
    assert both - alone == pytest.approx(2 * 2 * 0.2 * math.log(2), rel=1e-4)  # every key is there twice


def test_every_trained_parameter_gets_a_gradient_keys_and_frozen_ones_none(method):
    method.loss(method.views(photos()))["contrast"].backward()
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())
    assert not any(name.startswith("teacher") or "patch_embed" in name for name in trained)
    assert not method.encoder.pos_embed.requires_grad
    assert all(p.grad is None for p in method.teacher.parameters())
    assert method.pop_logged()["first_layer_gradient"] > 0


def test_the_frozen_patch_projection_survives_weight_decay(method):
    before = {name: p.clone() for name, p in method.encoder.named_parameters()}
    step = optimizer(method, MoCoV3.recipe)
    for group in step.param_groups:
        group["weight_decay"] = 0.5
    method.loss(method.views(photos()))["contrast"].backward()
    step.step()
    moved = {name for name, p in method.encoder.named_parameters() if not torch.equal(p, before[name])}
    assert "blocks.0.attend.body.qkv.weight" in moved
    assert not {"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed"} & moved


def test_the_patch_projection_is_trained_when_asked():
    method = MoCoV3(vit(), dim=8, hidden=16, train_patches=True)
    method.loss(method.views(photos()))["contrast"].backward()
    watched = method.pop_logged()["first_layer_gradient"]
    torch.testing.assert_close(watched, method.encoder.patch_embed.proj.weight.grad.norm())


def test_the_paper_start_treats_queries_keys_and_values_as_three_matrices():
    torch.manual_seed(0)
    method = MoCoV3(ViT(size=32, patch=4, dim=96, depth=1, heads=3), dim=8, hidden=16)
    qkv = method.encoder.blocks[0].attend.body.qkv.weight
    bound = math.sqrt(6 / (96 + 96))
    for part in qkv.chunk(3):
        assert part.shape == (96, 96)
        assert 0.98 * bound < part.abs().max().item() <= bound
    patches = method.encoder.patch_embed.proj
    assert patches.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (48 + 96)), rel=0.02)
    assert (patches.bias == 0).all()


def test_positions_are_fixed_waves_and_pretrained_weights_are_kept_when_asked():
    torch.manual_seed(0)
    encoder = vit()
    weight, positions = encoder.blocks[0].think.body[0].weight.clone(), encoder.pos_embed.clone()
    MoCoV3(encoder, dim=8, hidden=16, paper_start=False)
    assert torch.equal(encoder.blocks[0].think.body[0].weight, weight)
    assert torch.equal(encoder.pos_embed, positions) and encoder.pos_embed.requires_grad
    MoCoV3(encoder, dim=8, hidden=16)
    at = encoder.pos_embed.view(4, 4, 16)
    assert not torch.equal(encoder.blocks[0].think.body[0].weight, weight)
    torch.testing.assert_close(at.norm(dim=2), torch.full((4, 4), math.sqrt(8)))  # 8 sine-cosine pairs
    shift = (at[1:] * at[:-1]).sum(2)  # the same however far down: positions know distance only
    torch.testing.assert_close(shift, shift[:1, :1].expand(3, 4))


def test_timm_transformers_start_like_the_paper_too():
    from vergence.methods.image.encoders import build

    encoder = build("vit_tiny_patch16_224", size=32)
    method = MoCoV3(encoder, dim=8, hidden=16)
    positions = encoder.model.pos_embed
    assert positions.shape[1] == 2 * 2 + 1 and (positions[:, 0] == 0).all()
    assert positions[0, 1, 96:].tolist() == positions[0, 1, :96].tolist()  # row 0, column 0
    assert not any(p.requires_grad for p in encoder.model.patch_embed.parameters())
    assert method.loss(method.views(photos()))["contrast"].isfinite()


def test_a_convolutional_encoder_is_taken_as_it_comes():
    torch.manual_seed(0)
    encoder = resnet_tiny(size=16, width=4)
    before = [p.clone() for p in encoder.parameters()]
    method = MoCoV3(encoder, dim=8, hidden=16)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    method.loss(method.views(photos()))["contrast"].backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_the_teacher_follows_encoder_and_projector_and_stands_still_at_the_end(method):
    with torch.no_grad():
        for p in method.parameters():
            p.add_(1.0)
        for p in method.teacher.parameters():
            p.sub_(1.0)  # the teacher is where the student was
    then = [p.clone() for p in method.teacher.parameters()]
    method.step_end(Clock(10, 10, 5))
    assert all(torch.equal(a, b) for a, b in zip(then, method.teacher.parameters(), strict=True))
    method.step_end(Clock(5, 10, 5))
    moved = [(b - a).mean().item() for a, b in zip(then, method.teacher.parameters(), strict=True)]
    assert moved == pytest.approx([1 - 0.995] * len(moved), rel=1e-3)  # halfway: keep (0.99 + 1) / 2


def test_heads_end_in_batch_norm_without_scale_and_the_predictor_is_online_only(method):
    for head in (method.projector, method.predictor):
        assert isinstance(head[-1], nn.BatchNorm1d) and not head[-1].affine
    assert sum(isinstance(m, nn.Linear) for m in method.projector) == 3
    assert sum(isinstance(m, nn.Linear) for m in method.predictor) == 2
    shapes = {tuple(p.shape) for p in method.teacher.parameters()}
    assert tuple(method.predictor[0].weight.shape) not in shapes


def test_views_differ_in_blur_and_solarisation():
    method = MoCoV3(ViT(size=96, patch=16, dim=16, depth=1, heads=2), dim=8, hidden=16)
    first, second = method.crops.augments
    assert (first.blur, second.blur) == (1.0, 0.1)
    assert (first.solarize, second.solarize) == (0.0, 0.2)
    assert first.jitter == (0.4, 0.4, 0.2, 0.1) and first.scale == (0.08, 1.0)


def test_mistakes_are_answered_in_one_line(method):
    with pytest.raises(ValueError, match=r"MoCoV3 needs 2 or more samples .* got 1. Raise --batch-size."):
        method.loss(method.views(photos(1)))
    with pytest.raises(ValueError, match="temperature > 0"):
        MoCoV3(vit(), temperature=-1.0)
