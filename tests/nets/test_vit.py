import math

import pytest
import torch
from torch.nn.functional import conv2d, scaled_dot_product_attention

from vergence.core import BadInput
from vergence.methods.image.encoders import build
from vergence.nets.patches import PatchEmbed, sincos
from vergence.nets.vit import Attention


def vit(**options):
    torch.manual_seed(0)
    return build("vit-micro", size=32, **options)


def test_patch_embedding_is_a_strided_convolution():
    embed, pixels = PatchEmbed(4, 10), torch.randn(2, 3, 8, 12)
    kernel = embed.proj.weight.view(10, 4, 4, 3).permute(0, 3, 1, 2)
    expected = conv2d(pixels, kernel, embed.proj.bias, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(pixels), expected)


def test_attention_is_the_fused_one():
    attend, x = Attention(12, 3), torch.randn(2, 5, 12)
    q, k, v = attend.qkv(x).view(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    expected = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 12)
    torch.testing.assert_close(attend(x), attend.proj(expected))


@pytest.mark.parametrize("registers", [0, 4])
def test_shapes_and_extras(registers):
    encoder = vit(registers=registers)
    total = 64 + 1 + registers
    result = encoder(torch.rand(2, 3, 32, 32), need=("attention", "keys", "cls"))
    assert result.pooled.shape == (2, 96)
    assert result.tokens.shape == (2, 64, 96)
    assert result.map.shape == (2, 96, 8, 8)
    assert result.extra["attention"].shape == (2, 3, total, total)
    assert result.extra["keys"].shape == (2, 3, total, 32)
    torch.testing.assert_close(result.extra["attention"].sum(-1), torch.ones(2, 3, total))
    torch.testing.assert_close(result.extra["cls"], result.pooled)
    torch.testing.assert_close(result.map[:, :, 2, 5], result.tokens[:, 2 * 8 + 5])
    assert encoder.num_prefix == 1 + registers


def test_the_named_attention_is_the_one_the_last_block_uses():
    encoder = vit().eval()
    images = torch.rand(2, 3, 32, 32)
    extra = encoder(images, need=("attention",)).extra
    seen = {}
    attend = encoder.blocks[-1].attend.body
    attend.proj.register_forward_pre_hook(lambda m, args: seen.update(mixed=args[0]))
    attend.register_forward_pre_hook(lambda m, args: seen.update(values=m.split(args[0])[2]))
    encoder(images)
    mixed = (extra["attention"] @ seen["values"]).transpose(1, 2).reshape(2, 65, 96)
    torch.testing.assert_close(seen["mixed"], mixed)


def test_a_mask_hides_what_lies_under_it_and_nothing_else():
    encoder = vit().eval()
    images = torch.rand(2, 3, 32, 32)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[:, 9] = True  # row 1, column 1: pixels 4..7
    token = torch.randn(96)
    changed = images.clone()
    changed[:, :, 4:8, 4:8] = torch.rand(2, 3, 4, 4)
    hidden = encoder(images, mask=mask, mask_token=token).tokens
    torch.testing.assert_close(hidden, encoder(changed, mask=mask, mask_token=token).tokens)
    assert not torch.allclose(encoder(images).tokens, encoder(changed).tokens)
    start, _, _ = encoder.start(images, mask, token)
    torch.testing.assert_close(start[:, 1 + 9], (token + encoder.pos_embed[:, 9]).expand(2, -1))
    nothing = torch.zeros_like(mask)
    assert torch.equal(encoder(images, mask=nothing, mask_token=token).tokens, encoder(images).tokens)


def test_kept_patches_see_only_each_other():
    encoder = vit(registers=2).eval()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    keep = torch.tensor([[0, 9, 17], [63, 5, 40]])
    seen = encoder(images, keep=keep, need=("cls",))
    assert seen.tokens.shape == (2, 3, 96) and seen.grid is None and seen.map is None
    assert torch.equal(seen.pooled, seen.extra["cls"])
    (gradient,) = torch.autograd.grad(seen.pooled.sum() + seen.tokens.sin().sum(), images)
    reached = gradient.abs().amax(1).unfold(1, 4, 4).unfold(2, 4, 4).amax((3, 4)).flatten(1) > 0
    assert torch.equal(reached, torch.zeros(2, 64, dtype=torch.bool).scatter_(1, keep, True))
    start, _, _ = encoder.start(images, keep=keep)
    whole, _, _ = encoder.start(images)
    torch.testing.assert_close(start[:, :3], whole[:, :3])
    torch.testing.assert_close(start[0, 3:], whole[0, 3 + keep[0]])


def test_keeping_every_patch_in_any_order_is_seeing_the_whole():
    encoder = vit(pool="mean").eval()
    images, order = torch.rand(2, 3, 32, 32), torch.stack([torch.randperm(64) for _ in range(2)])
    whole, kept = encoder(images), encoder(images, keep=order)
    torch.testing.assert_close(kept.pooled, whole.pooled, rtol=1e-4, atol=1e-5)
    for b in range(2):
        torch.testing.assert_close(kept.tokens[b], whole.tokens[b, order[b]], rtol=1e-4, atol=1e-5)


def test_mask_and_token_come_together_and_fit():
    encoder, images = vit(), torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="both mask and mask_token"):
        encoder(images, mask=torch.zeros(1, 64, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"shape \(1, 64\); got \(1, 63\)"):
        encoder(images, mask=torch.zeros(1, 63, dtype=torch.bool), mask_token=torch.zeros(96))


def test_other_sizes_resample_the_positions_and_registers_do_not_count():
    encoder = vit(registers=4)
    assert encoder(torch.rand(2, 3, 16, 24)).map.shape == (2, 96, 4, 6)
    assert encoder.positions(8, 8) is encoder.pos_embed
    with torch.no_grad():  # a ramp stays a ramp, up to its ends
        encoder.pos_embed.copy_(torch.arange(8.0).repeat(8)[None, :, None].expand(-1, -1, 96))
    half = encoder.positions(4, 4).view(4, 4, 96)
    torch.testing.assert_close(half[0, 1:3, 0], torch.tensor([2.5, 4.5]))
    with pytest.raises(BadInput, match="patches of 4 pixels; got images of 30 x 32"):
        encoder(torch.rand(1, 3, 30, 32))


def test_registers_start_at_nothing_and_carry_no_position():
    encoder = vit(registers=4)
    assert 0 < encoder.registers.abs().max() < 1e-5
    start, _, _ = encoder.start(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(start[:, 1:5], encoder.registers.expand(2, -1, -1))


def test_fixed_positions_are_waves():
    waves = sincos(3, 8)[0]
    row, column, slow = 2, 1, 10_000**-0.5
    expected = [f(at * rate) for at in (row, column) for f in (math.sin, math.cos) for rate in (1.0, slow)]
    assert waves[row * 3 + column].tolist() == pytest.approx(expected, abs=1e-6)
    encoder = vit(positions="sincos")
    assert "pos_embed" not in dict(encoder.named_parameters())


@pytest.mark.parametrize(
    "options",
    [{}, {"registers": 4, "layer_scale": 1e-5, "drop_path": 0.1}, {"pool": "mean", "positions": "sincos"}],
)
def test_every_parameter_gets_a_gradient(options):
    encoder = vit(**options)
    result = encoder(torch.rand(8, 3, 32, 32))
    (result.pooled.square().sum() + result.tokens.sin().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_drop_path_skips_whole_samples_in_training_only_and_rises_with_depth():
    encoder = vit(drop_path=0.3)
    assert [b.attend.drop for b in encoder.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    branch = encoder.blocks[-1].attend
    x = torch.randn(4000, 2, 96, generator=torch.Generator().manual_seed(0))
    full = branch.eval()(x) - x
    seen = branch.train()(x) - x
    skipped = seen.flatten(1).abs().sum(1) == 0
    assert skipped.float().mean().item() == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(seen[~skipped] * 0.7, full[~skipped], atol=1e-5, rtol=1e-4)


def test_layer_scale_of_nothing_leaves_the_tokens_alone():
    encoder, images = vit(layer_scale=0.0), torch.rand(2, 3, 32, 32)
    start, _, _ = encoder.start(images)
    for tokens in encoder.layers(images):
        assert torch.equal(tokens, start[:, 1:])


def test_chosen_layers():
    encoder, images = vit(), torch.rand(2, 3, 32, 32)
    every = encoder.layers(images)
    assert len(every) == 4
    last, second = encoder.layers(images, [-1, 1])
    assert torch.equal(last, every[3]) and torch.equal(second, every[1])
    torch.testing.assert_close(encoder.norm(last), encoder(images).tokens)
    with pytest.raises(ValueError, match="from -4 to 3; got 4"):
        encoder.layers(images, [4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_path": 1.0}, r"drop_path in \[0, 1\); got 1.0"),
        ({"pool": "max"}, "pool 'cls' or 'mean'; got 'learned' and 'max'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(BadInput, match=message):
        vit(**options)
    with pytest.raises(BadInput, match="multiple of 8; got 30"):
        build("vit-micro", size=30)
