"""MAS: patterns, motion boundaries, the labels against loops, and what a camera's motion does to them."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from vergence.core import BadInput
from vergence.data.video.example import example
from vergence.methods.video.encoders import build
from vergence.methods.video.mas import (
    BINS,
    MAS,
    OCTANTS,
    appearance_statistics,
    boundaries,
    directions,
    motion_statistics,
    patterns,
)
from vergence.views.flow import lucas_kanade

CONTRACT = {
    "encoder": {"width": 4},
    "options": {"classes": True},
    "learn": {"epochs": 6},
    "exempt": {"labels": "waves that fill the frame have no boundaries of motion to be told; its world has"},
}
BLOCKS = list(patterns(16).values())


def smooth(*shape, seed=0):
    noise = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.avg_pool2d(noise.flatten(0, -3)[:, None], 5, 1, 2).view(shape)


def test_patterns_part_the_frame_into_equal_cells_rings_and_triangles():
    grid, rings, triangles = BLOCKS
    assert (grid.sum(0) == 1).all() and (rings.sum(0) == 1).all()
    assert grid.sum((1, 2)).tolist() == [16.0] * 16 and grid[6, 4:8, 8:12].all()
    assert rings.sum((1, 2)).tolist() == [16.0, 48.0, 80.0, 112.0] and rings[0, 6:10, 6:10].all()
    assert triangles.sum((1, 2)).tolist() == [36.0] * 8 and triangles.sum(0).max() == 2
    corners = [(7, 0), (0, 7), (0, 8), (7, 15), (8, 0), (15, 7), (15, 8), (8, 15)]  # of a triangle each
    assert all(shape[y, x] == 1 for shape, (y, x) in zip(triangles, corners, strict=True))
    assert triangles[2, 0, 15] == 1 and triangles[3, 0, 15] == 1  # they share the diagonal


@pytest.mark.parametrize("pan", [(3.0, 0.0), (-1.5, 7.0)])
def test_a_constant_flow_added_changes_no_motion_label(pan):
    flow = smooth(4, 3, 2, 16, 16)
    moved = flow + torch.tensor(pan, dtype=torch.float64).view(2, 1, 1)
    still, panned = (motion_statistics(boundaries(f), BLOCKS) for f in (flow, moved))
    assert torch.equal(still, panned)
    torch.testing.assert_close(boundaries(torch.ones(1, 2, 2, 16, 16)), torch.zeros(1, 2, 2, 2, 16, 16))


def test_motion_labels_equal_the_statistics_written_as_loops():
    flow = smooth(2, 3, 2, 16, 16, seed=3)
    change = boundaries(flow)
    labels = motion_statistics(change, BLOCKS)
    for b in range(2):
        for c in range(2):
            total = change[b, :, c].sum(0).numpy()
            for p, block in enumerate(BLOCKS):
                bins = np.zeros((len(block), BINS))
                for r, y, x in block.nonzero().tolist():
                    dx, dy = total[:, y, x]
                    place = math.degrees(math.atan2(dy, dx)) % 360 / 45
                    low, share = int(place), place % 1
                    bins[r, low % 8] += math.hypot(dx, dy) * (1 - share)
                    bins[r, (low + 1) % 8] += math.hypot(dx, dy) * share
                most = (bins.sum(1) / block.sum((1, 2)).numpy()).argmax()
                assert labels[b, 4 * p + 2 * c : 4 * p + 2 * c + 2].tolist() == [most, bins[most].argmax()]
            frames = [np.hypot(*change[b, t, c].numpy()).sum() for t in range(3)]
            assert labels[b, 12 + c] == np.argmax(frames)


def test_boundaries_are_sums_of_differences_and_directions_share_a_magnitude():
    flow = torch.zeros(1, 1, 2, 5, 5)
    flow[0, 0, 0, :, 3:] = 1.0  # u rises to the right
    change = boundaries(flow)[0, 0]
    assert change[0, 0, 2].tolist() == [0, 0, -3, -3, 0] and not change[0, 1].any() and not change[1].any()
    dealt = directions(torch.tensor([[3.0], [4.0]])[..., None])[0, 0]
    place = math.atan2(4, 3) / (math.pi / 4)
    want = [0.0, 5 * (2 - place), 5 * (place - 1), 0.0, 0.0, 0.0, 0.0, 0.0]
    assert dealt.tolist() == pytest.approx(want, abs=1e-5)


def test_appearance_labels_equal_the_statistics_written_as_loops():
    clips = torch.randint(0, 256, (2, 3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    labels = appearance_statistics(clips, BLOCKS)
    names = {(0, 0, 1): 0, (0, 1, 1): 1, (1, 0, 1): 2, (1, 1, 1): 3}
    names |= {(0, 0, 0): 4, (0, 1, 0): 5, (1, 0, 0): 6, (1, 1, 0): 7}
    assert [names[tuple(int(d) for d in f"{i:03b}")] for i in range(8)] == list(OCTANTS)

    def colour(pixels):  # (T, 3, K)
        counts = [0] * 8
        for pixel in pixels.transpose(1, 2).flatten(0, 1).tolist():
            counts[names[tuple(int(value >= 128) for value in pixel)]] += 1
        return int(np.argmax(counts))

    for b in range(2):
        for p, block in enumerate(BLOCKS):
            alike = []
            for inside in block.bool():
                pixels, shares = clips[b][..., inside].numpy(), []
                for c in range(3):
                    counts = np.stack([np.bincount(pixels[t, c], minlength=256) for t in range(3)])
                    shares.append(counts.min(0).sum() / counts.max(0).sum())
                alike.append(np.mean(np.float32(shares)))
            least, most = int(np.argmin(alike)), int(np.argmax(alike))
            want = [least, colour(clips[b][..., block[least].bool()])]
            want += [most, colour(clips[b][..., block[most].bool()])]
            assert labels[b, 4 * p : 4 * p + 4].tolist() == want
        assert labels[b, 12] == colour(clips[b].flatten(2))


def test_the_loss_regresses_numbers_from_one_or_tells_classes():
    torch.manual_seed(0)
    batch = next(example().loader(3, spec={"frames": 8}))
    method = MAS(build("c3d-small", size=16, frames=4, width=2), appearance=0.5)
    views = method.views(batch)
    said = method.answers["motion"](method.encode(views.clips))
    want = ((said - (views.motion + 1)) ** 2).mean()
    method.zero_grad()
    torch.testing.assert_close(method.train().loss(views)["motion"], want)
    classes = MAS(build("c3d-small", size=16, frames=4, width=2), classes=True, appearance=0.0)
    torch.nn.init.zeros_(classes.answers["motion"].weight)
    torch.nn.init.zeros_(classes.answers["motion"].bias)
    blank = 2 * (math.log(16) + math.log(4) + math.log(8) + 3 * math.log(8) + math.log(3)) / 14
    terms = classes.loss(views)
    assert terms.keys() == {"motion"} and terms["motion"].item() == pytest.approx(blank, rel=1e-5)


def test_lucas_and_kanade_find_shifts_of_parts_of_a_pixel_and_of_several():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")

    def texture(dx, dy):
        waves = [(0.5, 0.2), (-0.3, 0.45), (0.15, -0.35)]
        return 0.5 + 0.15 * sum(torch.sin(a * (x - dx) + b * (y - dy)) for a, b in waves)

    for dx, dy in ((0.4, -0.3), (2.0, 1.0)):
        clip = torch.stack([texture(0, 0), texture(dx, dy)])[None, :, None].expand(-1, -1, 3, -1, -1)
        flow = lucas_kanade(clip)[0, 0, :, 6:-6, 6:-6]
        assert (flow - torch.tensor([dx, dy]).view(2, 1, 1)).abs().mean() < 0.15
    assert not lucas_kanade(clip[:, :1].expand(-1, 2, -1, -1, -1)).any()


def test_a_pan_moves_the_edge_as_it_moves_the_rest():
    torch.manual_seed(0)
    ground = avg_pool2d(torch.rand(6, 3, 60, 60), 5, 1)
    ground = (ground - ground.amin()) / (ground.amax() - ground.amin())
    flow = lucas_kanade(torch.stack([ground[:, :, 8:40, 8 + i : 40 + i] for i in range(4)], 1))
    off = (flow - torch.tensor([-1.0, 0.0]).view(2, 1, 1)).norm(dim=2)
    assert off[..., 6:-6].mean() < 0.35 and off[..., :4].mean() < 0.6  # it was 1.5 with what leaves the frame
    assert flow.abs().max() < 4  # and 14


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match="a side that 8 divides, and 2 of them or more; got 12 pixels"):
        MAS(build("c3d-small", size=12, frames=4, width=2))
    with pytest.raises(ValueError, match="weights of 0 or more, one above; got 0 and 0"):
        MAS(build("c3d-small", size=16, frames=4, width=2), motion=0, appearance=0)
