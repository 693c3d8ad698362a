import math

import pytest
import torch

from vergence.core import BadInput
from vergence.methods.image.encoders import build
from vergence.methods.image.halonet import HaloAttention, HaloBlock


def layer(dim=6, out=8, **options):
    torch.manual_seed(0)
    return HaloAttention(dim, out, **{"heads": 2, "head": 3, **options}).double()


def by_hand(attention, x):
    """One query, one head, one key at a time."""
    b, h, s, d = attention.block, attention.halo, attention.stride, attention.head
    q_weight = attention.queries.weight[:, :, 0, 0]
    kv_weight = attention.keys_values.weight[:, :, 0, 0].unflatten(0, (attention.heads, -1))
    batch, _, height, width = x.shape
    out = x.new_zeros(
        batch, attention.heads, kv_weight.shape[1] - d, math.ceil(height / s), math.ceil(width / s)
    )
    for n in range(batch):
        for y in range(0, height, s):
            for z in range(0, width, s):
                top, left = y // b * b - h, z // b * b - h
                for head in range(attention.heads):
                    q = (q_weight @ x[n, :, y, z])[head * d : (head + 1) * d]
                    logits, values = [], []
                    for i in range(top, top + b + 2 * h):
                        for j in range(left, left + b + 2 * h):
                            inside = 0 <= i < height and 0 <= j < width
                            if not inside and attention.outside == "masked":
                                continue
                            kv = kv_weight[head] @ (
                                x[n, :, i, j] if inside else torch.zeros_like(x[n, :, 0, 0])
                            )
                            place = attention.rows[i - y + b + h - 1] + attention.columns[j - z + b + h - 1]
                            logits.append(q @ kv[:d] / math.sqrt(d) + q @ place)
                            values.append(kv[d:])
                    weights = torch.stack(logits).softmax(0)
                    out[n, head, :, y // s, z // s] = weights @ torch.stack(values)
    return out.flatten(1, 2)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 6), {"block": 2, "halo": 1}),
        ((2, 4), {"block": 2, "halo": 3, "outside": "zeros"}),
        ((4, 4), {"block": 4, "halo": 1, "stride": 2}),
        ((4, 8), {"block": 4, "halo": 0, "stride": 4}),
        ((5, 3), {"block": 2, "halo": 1}),  # blocks do not divide the map
        ((5, 3), {"block": 4, "halo": 1, "stride": 2, "outside": "zeros"}),
    ],
)
def test_the_layer_equals_a_slow_loop_and_so_do_its_gradients(shape, options):
    attention = layer(**options)
    x = torch.randn(1, 6, *shape, dtype=torch.float64, requires_grad=True)
    inputs = [x, *attention.parameters()]
    seen, expected = attention(x), by_hand(attention, x)
    torch.testing.assert_close(seen, expected, rtol=1e-10, atol=1e-12)
    weight = torch.randn_like(seen)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), inputs) for y in (seen, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_one_block_over_the_whole_map_is_dense_attention_with_relative_places():
    attention = layer(block=4, halo=2)
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    q = attention.queries(x).flatten(2).mT.unflatten(2, (2, 3)).transpose(1, 2)  # (B, heads, N, d)
    kv = attention.keys_values(x).flatten(2).mT.unflatten(2, (2, 7)).transpose(1, 2)
    y, z = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    down, across = (at.flatten() - at.flatten()[:, None] + 5 for at in (y, z))  # key - query
    bias = torch.einsum("bhnd,nmd->bhnm", q, attention.rows[down] + attention.columns[across])
    weights = (q @ kv[..., :3].mT / math.sqrt(3) + bias).softmax(-1)
    dense = (weights @ kv[..., 3:]).transpose(2, 3).reshape(2, 8, 4, 4)
    torch.testing.assert_close(attention(x), dense)


def test_blocks_of_one_pixel_are_a_sliding_window():
    attention = layer(block=1, halo=1)
    x = torch.randn(1, 6, 5, 5, dtype=torch.float64)
    alone = attention(x[:, :, 1:4, 1:4])[:, :, 1, 1]  # the whole 3 x 3 window of pixel (2, 2)
    torch.testing.assert_close(attention(x)[:, :, 2, 2], alone)
    changed = x.clone()
    changed[:, :, :, 4] += 1
    moved = (attention(changed) - attention(x)).abs().sum(1)[0] > 1e-9
    assert moved[:, 3:].all() and not moved[:, :3].any()  # of side 3, no more


def test_a_shift_by_a_block_shifts_what_lies_inside_and_a_lesser_one_does_not():
    attention = layer(block=4, halo=1)
    x = torch.randn(1, 6, 16, 16, dtype=torch.float64)

    def difference(shift):
        moved = attention(x.roll(shift, 3))
        return (moved[..., 4:-4, 8:-4] - attention(x).roll(shift, 3)[..., 4:-4, 8:-4]).abs().max().item()

    assert difference(4) < 1e-12
    assert difference(1) > 1e-3


def test_strided_layers_keep_every_second_query_and_see_all_keys():
    whole, half = layer(block=4, halo=1), layer(block=4, halo=1, stride=2)
    half.load_state_dict(whole.state_dict())
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(half(x), whole(x)[..., ::2, ::2])


def test_halos_cost_no_parameters_but_those_of_places():
    def counts(halo):
        sizes = {name: p.numel() for name, p in layer(block=4, halo=halo).named_parameters()}
        return sum(sizes.pop(name) for name in ("rows", "columns")), sizes

    (few, none), (more, some) = counts(0), counts(3)
    assert none == some
    assert (few, more) == (2 * 3 * 7, 2 * 3 * 13)


def test_isolated_blocks_see_nothing_of_their_neighbours_and_halos_do():
    x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    changed = x.clone()
    changed[..., 4:] += 1
    for halo, columns in ((0, slice(4, 8)), (2, slice(0, 8))):
        attention = layer(block=4, halo=halo)
        moved = ((attention(changed) - attention(x)).abs().amax((0, 1, 2)) > 1e-9).nonzero().flatten()
        assert moved.tolist() == list(range(8))[columns]


def test_the_paper_s_network_has_its_shape():
    encoder = build("halonet-h1", size=256)
    assert [len(stage) - (i == 0) for i, stage in enumerate(encoder.stages)] == [3, 3, 10, 3]
    assert encoder.widths == (64, 128, 256, 512) and encoder.out_dim == 512
    assert sum(isinstance(m, HaloAttention) for m in encoder.modules()) == 19
    with torch.no_grad():
        maps = encoder.layers(torch.rand(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
    hybrid = build("halonet-h1", size=256, convolutions=2, bottleneck=2.0, values=1.25)
    assert sum(isinstance(m, HaloAttention) for m in hybrid.modules()) == 13
    assert hybrid.widths == (128, 256, 512, 1024)


def test_cells_lie_where_the_strided_queries_are():
    encoder = build("halonet-tiny", size=32)
    assert encoder.places == [((2, 2), (1, 1)), ((4, 4), (1, 1)), ((8, 8), (1, 1))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HaloAttention(8, 8, heads=2, head=4, block=3, stride=2), "stride that divides the block"),
        (lambda: HaloAttention(8, 9, heads=2, head=4), "divide its 9 channels"),
        (lambda: HaloAttention(8, 8, heads=2, head=4, outside="nothing"), "'masked' or 'zeros'"),
        (lambda: HaloBlock(8, 24, head=16), "heads of 16 channels divide; got 24"),
        (lambda: build("halonet-tiny", size=32, blocks=()), "of each stage"),
    ],
)
def test_settings_out_of_range_are_one_line(make, message):
    with pytest.raises(BadInput, match=message):
        make()
