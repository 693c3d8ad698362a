"""timm's vision transformers with patches left out or covered, and the methods that learn so."""

import pytest
import timm
import torch

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.dinov2 import DINOv2
from vergence.methods.image.encoders import build
from vergence.methods.image.gmml import GMML
from vergence.methods.image.ijepa import IJEPA
from vergence.methods.image.mae import MAE
from vergence.nets import timm_encoder
from vergence.nets.patches import take

SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2}
NAMES = {
    "vit_tiny_patch16_224": 16,  # class token
    "deit_tiny_distilled_patch16_224": 16,  # and another one
    "vit_small_patch14_reg4_dinov2": 14,  # and registers, without positions
    "vit_base_patch16_siglip_224": 16,  # none, and pools by attention
    "vit_small_patch16_dinov3": 16,  # turns queries and keys by their places
    "vit_small_patch16_rope_mixed_224": 16,  # each block in its own way
}


def tiny(name="vit_tiny_patch16_224", across=4, **options):
    torch.manual_seed(0)
    return build(f"timm:{name}", size=across * NAMES[name], **SMALL, **options).eval()


def noise(encoder, count=3):
    return torch.rand(count, 3, encoder.size, encoder.size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_all_patches_seen_in_any_order_are_the_whole_picture(name):
    encoder = tiny(name)
    images = noise(encoder)
    whole = encoder(images)
    order = torch.rand(3, 16, generator=torch.Generator().manual_seed(2)).argsort(1)
    for keep in (torch.arange(16).expand(3, -1), order):
        seen = encoder(images, keep=keep)
        torch.testing.assert_close(seen.tokens, take(whole.tokens, keep), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(seen.pooled, whole.pooled, atol=1e-5, rtol=1e-5)
        assert seen.map is None
    torch.testing.assert_close(encoder(images).tokens, whole.tokens)  # nothing stays behind


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_out_is_as_if_nobody_attended_to_it(name):
    encoder = tiny(name)
    images, keep = noise(encoder), torch.tensor([[0, 5, 10], [15, 3, 4], [7, 6, 1]])
    seen = encoder(images, keep=keep)
    attended = torch.full((3, encoder.num_prefix + 16), -torch.inf)
    attended[:, : encoder.num_prefix] = 0
    attended.scatter_(1, keep + encoder.num_prefix, 0.0)
    every = attended[:, None, None].expand(-1, 1, attended.shape[1], -1)
    final = encoder.model.forward_features(encoder.pixels(images), attn_mask=every)
    expected = take(final[:, encoder.num_prefix :], keep)
    torch.testing.assert_close(seen.tokens, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_covered_patch_is_a_patch_that_shows_what_the_token_means(name):
    encoder = tiny(name)
    side = NAMES[name]
    images, grey = noise(encoder), torch.full((1, 3, encoder.size, encoder.size), 0.3)
    embedded = encoder.model.patch_embed(encoder.pixels(grey)).flatten(0, -2)[0]
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[0, 6] = mask[2, 9] = True
    painted = images.clone()
    painted[0, :, side : 2 * side, 2 * side : 3 * side] = 0.3
    painted[2, :, 2 * side : 3 * side, side : 2 * side] = 0.3
    seen = encoder(images, mask=mask, mask_token=embedded)
    torch.testing.assert_close(seen.tokens, encoder(painted).tokens, atol=1e-5, rtol=1e-5)


def test_a_mask_has_a_place_for_every_patch_and_comes_with_its_token():
    encoder = tiny()
    with pytest.raises(ValueError, match=r"A mask needs shape \(3, 16\); got \(3, 15\)"):
        encoder(noise(encoder), mask=torch.zeros(3, 15, dtype=torch.bool), mask_token=torch.zeros(24))
    with pytest.raises(ValueError, match="both mask and mask_token"):
        encoder(noise(encoder), mask=torch.zeros(3, 16, dtype=torch.bool))


METHODS = {
    "mae": lambda encoder: MAE(encoder, width=32, depth=1, heads=2),
    "ijepa": lambda encoder: IJEPA(encoder, width=24, depth=1, blocks=1),
    "dinov2": lambda encoder: DINOv2(encoder, prototypes=8, hidden=8, bottleneck=4, n_local=1),
}


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"])
@pytest.mark.parametrize("method", METHODS)
def test_methods_that_hide_patches_reach_all_but_what_has_no_part(method, name):
    encoder = tiny(name).train()
    learner = METHODS[method](encoder)
    pixels = (noise(encoder, 4) * 255).to(torch.uint8)
    batch = ImageBatch(pixels, torch.arange(4), torch.full((4,), -1))
    sum(learner.loss(learner.views(batch)).values()).backward()
    still = {n for n, p in encoder.model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert all(n in ("mask_token", "pos_embed") or n.endswith(("k_bias", "qkv.bias")) for n in still), still


@pytest.mark.parametrize("method", [IJEPA, GMML])
def test_where_no_loss_reaches_the_class_token_the_mean_patch_is_pooled_and_remade_so(method):
    encoder = tiny()
    method(encoder)
    images = noise(encoder)
    seen = encoder(images)
    torch.testing.assert_close(seen.pooled, seen.tokens.mean(1))
    again = build(**encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(images).pooled, seen.pooled)


def test_mae_goes_on_from_timms_weights(monkeypatch, tmp_path):
    make = timm.create_model

    def fetch(name, pretrained=False, **options):
        torch.manual_seed(3)
        return make(name, **{**options, **SMALL})

    monkeypatch.setattr(timm_encoder, "_check_reachable", lambda repository: None)
    monkeypatch.setattr(timm, "create_model", fetch)
    small = {"width": 32, "depth": 1, "heads": 2, "epochs": 1, "batch_size": 32, "quiet": True}
    some, name = vergence.open("digits").subset(range(64)), "timm:vit_tiny_patch16_224"
    run = vergence.learn("mae", some, init=name, size=32, out=tmp_path, **small)
    assert run.config.init == run.config.encoder["name"] == name
    learned = vergence.load(tmp_path)
    begun = fetch("vit_tiny_patch16_224", num_classes=0, img_size=32)
    moved = learned.model.pos_embed - begun.pos_embed
    assert 0 < moved.abs().max() < 0.01  # its own positions, a little further


@pytest.mark.parametrize(
    ("name", "size", "line"),
    [
        ("resnet10t", 32, "MAE needs a vision transformer; got timm:resnet10t. Choose --encoder vit-small32"),
        ("vit_tiny_r_s16_p8_224", 64, "leaves out hidden patches; timm:vit_tiny_r_s16_p8_224 cannot"),
        (
            "vit_tiny_patch16_224",
            40,
            "patches of 16 pixels, which do not divide images of 40; choose",
        ),
    ],
)
def test_what_cannot_hide_patches_is_one_line(name, size, line):
    with pytest.raises(BadInput, match=line):
        MAE(build(f"timm:{name}", size=size))


def test_a_pool_that_there_is_not_is_one_line():
    with pytest.raises(BadInput, match=r"pool of a vision transformer of timm's is 'mean', .*got 'max'"):
        tiny(pool="max")
