"""Dense features by layer and facet, each beside a slow loop, and where in the picture they lie."""

import pytest
import torch
from torch import nn
from torch.nn.functional import grid_sample

import vergence
from vergence.core import BadInput, Features
from vergence.methods.image.encoders import build
from vergence.nets.facets import tokens
from vergence.nets.image_encoder import sampling


def pictures(size=32, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def slow_heads(qkv, x, heads, which):
    """Return queries, keys or values ``(B, T, D)``, token by token and head by head."""
    b, t, d = x.shape
    rows = {"query": 0, "key": d, "value": 2 * d}[which]
    result = torch.zeros(b, t, d)
    for i in range(b):
        for j in range(t):
            for h in range(heads):
                part = slice(h * (d // heads), (h + 1) * (d // heads))
                weight = qkv.weight[rows : rows + d][part]
                result[i, j, part] = weight @ x[i, j] + qkv.bias[rows : rows + d][part]
    return result


@pytest.mark.parametrize("facet", ["query", "key", "value"])
@pytest.mark.parametrize("layer", [-1, 1])
@torch.no_grad()
def test_the_facets_of_our_transformer_equal_a_slow_loop(facet, layer):
    net = build("vit-micro", size=32, registers=2).eval()
    x, _, _ = net.start(pictures())
    for block in list(net.blocks)[: layer % 4]:
        x = block(x)
    block = net.blocks[layer]
    expected = slow_heads(block.attend.body.qkv, block.attend.norm(x), 3, facet)
    result = vergence.tokens(net, pictures(), layer=layer, facet=facet)
    torch.testing.assert_close(result.tokens, expected[:, 3:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.pooled, expected[:, 0], atol=1e-5, rtol=1e-4)
    assert (result.grid, result.layer, result.facet) == ((8, 8), layer % 4, facet)


@pytest.mark.parametrize("facet", ["query", "key", "value"])
@pytest.mark.parametrize("fused", [False, True])
@torch.no_grad()
def test_the_facets_of_timms_transformer_equal_a_slow_loop_under_fused_attention_too(facet, fused):
    net = build("vit_tiny_patch16_224", size=32, depth=3).eval()
    model = net.model
    for block in model.blocks:
        block.attn.fused_attn = fused
    x = model.forward_intermediates(
        net.pixels(pictures()),
        indices=[0],
        output_fmt="NLC",
        intermediates_only=True,
        return_prefix_tokens=True,
    )[0]
    x = torch.cat(x[::-1], 1)  # class token first
    expected = slow_heads(model.blocks[1].attn.qkv, model.blocks[1].norm1(x), 3, facet)
    result = tokens(net, pictures(), layer=1, facet=facet)
    torch.testing.assert_close(result.tokens, expected[:, 1:], atol=1e-5, rtol=1e-4)
    assert (result.grid, result.stride, result.offset) == ((2, 2), (16, 16), (8.0, 8.0))


@pytest.mark.parametrize("name", ["vit-micro", "resnet-tiny", "nin", "resnet18", "vit_tiny_patch16_224"])
@torch.no_grad()
def test_tokens_of_a_layer_are_those_that_layers_gives(name):
    net = build(name, size=32).eval()
    for layer in range(net.depth):
        (expected,) = net.layers(pictures(), [layer])
        expected = expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected
        result = tokens(net, pictures(), layer=layer)
        torch.testing.assert_close(result.tokens, expected)
        assert result.grid[0] * result.grid[1] == expected.shape[1] and result.layer == layer
    assert (result.grid, result.stride, result.offset) == tuple(
        getattr(net(pictures()), what) for what in ("grid", "stride", "offset")
    )


@pytest.mark.parametrize(
    ("name", "size", "layer", "stride", "offset"),
    [
        ("resnet18", 224, -1, 32, 0.5),
        ("resnet18", 224, 1, 4, 0.5),
        ("resnet50", 96, 3, 16, 0.5),
        ("resnet18", 32, -1, 8, 0.5),  # with the stem of small pictures
        ("resnet-tiny", 32, 0, 2, 1.0),
        ("resnet-tiny", 32, -1, 8, 4.0),
        ("nin", 32, -1, 4, 0.5),
        ("vit-micro", 64, -1, 8, 4.0),
    ],
)
def test_a_cell_looks_at_the_pixels_around_the_centre_that_it_states(name, size, layer, stride, offset):
    """Of a network that weighs all it sees alike, the mean place of the gradient is the centre."""
    net = build(name, size=size).eval()
    side = size if size > 64 else 4 * size  # so large that a cell in the middle does not see the edge
    result = tokens(net, torch.rand(1, 3, side, side), layer=layer)
    assert result.stride == (stride, stride) and result.offset == (offset, offset)
    cells = result.centres()
    assert cells.shape == (result.tokens.shape[1], 2) and cells[0].tolist() == [offset, offset]
    row = result.grid[1] // 2
    centre = row * stride + offset
    if name == "vit-micro":
        assert cells.amax() == side - offset
        return
    linear = all_positive(net)
    x = torch.full((1, 3, side, side), 0.5, requires_grad=True)
    tokens(linear, x, layer=layer).map[0, :, row, row].sum().backward()
    weight = x.grad[0].abs().sum(0)
    at = torch.arange(side) + 0.5
    place = (weight.sum(0) * at).sum() / weight.sum()
    assert abs(place.item() - centre) < max(0.75, stride / 8)


def all_positive(net):
    """Make every weight equal and above 0, and means of maxima: a gradient is where a cell looks, evenly."""
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return net


@torch.no_grad()
def test_a_descriptor_answers_for_its_backbone():
    net = build("vergence.nets.descriptor:Descriptor", dim=8, encoder={"name": "resnet-tiny", "size": 32})
    result, expected = (tokens(each, pictures(), layer=0) for each in (net, net.backbone))
    assert torch.equal(result.tokens, expected.tokens) and result.stride == expected.stride == (2, 2)
    with pytest.raises(BadInput, match="resnet-tiny cuts no patches"):
        tokens(net, pictures(), stride=1)


@pytest.mark.parametrize("stride", [1, 2, 4])
@torch.no_grad()
def test_overlapping_patches_of_our_transformer_equal_a_slow_loop(stride):
    net, size, patch = build("vit-micro", size=32, registers=2).eval(), (40, 32), 4
    x = net.pixels(torch.rand(1, 3, *size))
    result = tokens(net, x * net.std + net.mean, layer=0, stride=stride)
    rows, columns = ((n - patch) // stride + 1 for n in size)
    assert (result.grid, result.stride, result.offset) == ((rows, columns), (stride, stride), (2.0, 2.0))
    grid = net.pos_embed.view(1, 8, 8, -1).permute(0, 3, 1, 2)
    sequence = [net.cls_token[0], net.registers[0]]
    for i in range(rows):
        for j in range(columns):
            cut = x[:, :, i * stride : i * stride + patch, j * stride : j * stride + patch]
            centre = [(i * stride + 2) / size[0], (j * stride + 2) / size[1]]
            at = torch.tensor([[[[2 * centre[1] - 1, 2 * centre[0] - 1]]]])
            place = grid_sample(grid, at, mode="bicubic", padding_mode="border", align_corners=False)
            sequence.append(net.patch_embed(cut)[0] + place[:, :, 0, 0])
    expected = net.blocks[0](torch.cat(sequence)[None])[:, 3:]
    torch.testing.assert_close(result.tokens, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("facet", ["token", "key"])
@pytest.mark.parametrize(
    "name",
    ["vit-micro", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"],
)
@torch.no_grad()
def test_a_stride_as_large_as_the_patch_changes_nothing_and_a_finer_one_holds_the_coarse_cells(name, facet):
    own = name == "vit-micro"
    options = {} if own else {"depth": 2, "embed_dim": 48}
    if name == "deit_tiny_distilled_patch16_224":
        with pytest.raises(BadInput, match="has no finer stride; choose a plain vision"):
            tokens(build(name, size=64, **options), pictures(64), stride=8)
        return
    size, patch = (32, 4) if own else (64, 16)
    net = build(name, size=size, **options).eval()
    plain, same, fine = (
        tokens(net, pictures(size), layer=1, facet=facet, stride=s) for s in (None, patch, patch // 2)
    )
    torch.testing.assert_close(same.tokens, plain.tokens, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(same.pooled, plain.pooled, atol=2e-5, rtol=1e-4)
    assert same.grid == plain.grid and (same.stride, same.offset) == (plain.stride, plain.offset)
    n = plain.grid[0]
    assert fine.grid == (2 * n - 1, 2 * n - 1) and fine.offset == plain.offset
    coarse = fine.centres().view(2 * n - 1, 2 * n - 1, 2)[::2, ::2].reshape(-1, 2)
    assert torch.equal(coarse, plain.centres())


@pytest.mark.parametrize(
    ("name", "size"), [("tf_efficientnet_lite0", (96, 131)), ("mobilenetv2_050", (96, 96))]
)
def test_cells_of_networks_that_pad_unevenly_look_where_they_say(name, size):
    """As above, with maps whose first centre depends on the size of the picture."""
    net = all_positive(build(name, size=96).eval())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_(), nn.init.zeros_(module.bias)
    for layer in (1, 2):
        x = torch.full((1, 3, *size), 0.9, requires_grad=True)
        result = tokens(net, x, layer=layer)
        step = net.model.feature_info[layer]["reduction"]
        assert result.stride == (step, step)
        i, j = (n // 2 for n in result.grid)
        result.map[0, :, i, j].sum().backward()
        weight = x.grad[0].abs().sum(0)
        for axis, cell, length in ((1, i, size[0]), (0, j, size[1])):
            along = weight.sum(axis)
            centre = (along * (torch.arange(length) + 0.5)).sum() / along.sum()
            assert abs(centre - (result.offset[1 - axis] + cell * step)) < step / 8


def test_vectors_at_points_are_mixed_between_centres():
    cells = torch.arange(12.0).view(1, 1, 3, 4).expand(2, 5, 3, 4)
    features = Features.of_map(torch.zeros(2, 5), cells, stride=(4, 2), offset=(2.0, 1.0))
    assert torch.equal(features.map, cells) and features.grid == (3, 4)
    torch.testing.assert_close(features.at(features.centres().expand(2, 12, 2)), features.tokens)
    between = features.at(torch.tensor([[[2.0, 2.0], [1.0, 4.0], [-9.0, 99.0]]]).expand(2, 3, 2))
    torch.testing.assert_close(between[0, :, 0], torch.tensor([0.5, 2.0, 8.0]))
    with pytest.raises(ValueError, match="with stride and offset"):
        Features.of_map(torch.zeros(2, 5), cells).at(torch.zeros(2, 1, 2))


def test_what_an_encoder_does_not_have_is_one_line():
    with pytest.raises(BadInput, match="resnet-tiny has no facet 'key', which is a transformer's"):
        tokens(build("resnet-tiny", size=32), pictures(), facet="key")
    with pytest.raises(BadInput, match="Unknown facet 'keys'; did you mean 'key'"):
        tokens(build("vit-micro", size=32), pictures(), facet="keys")
    with pytest.raises(BadInput, match="needs an image encoder with layers; Linear is none"):
        tokens(nn.Linear(3, 3), pictures())
    with pytest.raises(BadInput, match="resnet-tiny cuts no patches, so that its stride stays as it is"):
        tokens(build("resnet-tiny", size=32), pictures(), stride=2)
    with pytest.raises(BadInput, match="Patches of 4 pixels need a stride that divides them; got 3"):
        tokens(build("vit-micro", size=32), pictures(), stride=3)
    with pytest.raises(ValueError, match="from -4 to 3; got 4"):
        tokens(build("vit-micro", size=32), pictures(), layer=4)


def test_the_first_centre_follows_from_kernels_strides_and_padding():
    way = [nn.Conv2d(1, 1, 4, stride=4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, stride=2, padding=1)]
    assert sampling(way) == ((16, 16), (4.0, 4.0))  # 2, then half a cell of 4, then nothing
