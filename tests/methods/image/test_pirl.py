"""PIRL: a photo and its shuffled tiles pick out one memory among those of others."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image import pirl
from vergence.methods.image.pirl import PIRL, nce

CONTRACT = {
    "options": {"dim": 32, "negatives": 256},
    "exempt": {"labels": "the example's patterns lose their classes with the order of their parts"},
}


class Means(nn.Module):
    """Sees the mean colour: images of any size."""

    input_spec, out_dim = {"size": 32}, 3

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        images = getattr(images, "pixels", images)
        images = images / 255 if images.dtype == torch.uint8 else images
        return self.scale * images.mean((2, 3))


class Photos:
    uri = "photos"

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def photos(rows, side=32, seed=0):
    pixels = torch.randint(0, 256, (len(rows), 3, side, side), generator=torch.Generator().manual_seed(seed))
    return ImageBatch(pixels.to(torch.uint8), torch.tensor(rows), torch.full((len(rows),), -1))


@pytest.fixture
def method():
    torch.manual_seed(0)
    method = PIRL(Means(), dim=4, negatives=7)
    method.setup(Photos(12))
    return method


def test_the_cost_is_equations_3_and_4_written_as_a_loop():
    scores = 5 * torch.randn(3, 8, dtype=torch.float64)
    total = 0.0
    for own, *others in scores.tolist():
        mass = sum(math.exp(s) for s in others)
        h = [math.exp(s) / (math.exp(s) + mass) for s in (own, *others)]
        total -= math.log(h[0]) + sum(math.log(1 - x) for x in h[1:])
    assert nce(scores).item() == pytest.approx(total / 3, rel=1e-12)


def test_equal_scores_cost_what_the_docstring_says_and_a_common_shift_nothing():
    scores = torch.randn(4, 6, dtype=torch.float64)
    assert nce(torch.zeros(2, 6)).item() == pytest.approx(math.log(6) + 5 * math.log(1.2))
    torch.testing.assert_close(nce(scores + 300), nce(scores))
    near, far = torch.tensor([[9.0, *[-9.0] * 5]]), torch.tensor([[-9.0, *[9.0] * 5]])
    assert nce(near) < nce(far)


def test_both_terms_are_drawn_against_the_memory_and_weighted(method):
    method.weight = 0.25
    views = method.views(photos([3, 0, 11]))
    method.clock = Clock(4, 9, 1)
    terms = method.loss(views)
    codes = {"tiles": method.tiles_code(views[1]), "image": method.image_code(views[0])}
    for seed, (name, code) in enumerate(codes.items(), start=2 * 4):
        drawn = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(seed))
        total = 0.0
        for row, own, others in zip(code, [3, 0, 11], drawn.tolist(), strict=True):
            rows = [own, *(r + (r >= own) for r in others)]
            scores = [torch.dot(row, method.memory.rows[r]) / 0.07 for r in rows]
            total += nce(torch.stack(scores)[None]).item()
        weight = 0.25 if name == "tiles" else 0.75
        assert terms[name].item() == pytest.approx(weight * total / 3, rel=1e-4)


def test_a_photos_own_memory_is_never_among_its_negatives(method, monkeypatch):
    seen = []
    monkeypatch.setattr(pirl, "nce", lambda scores: seen.append(scores) or scores.sum())
    method.negatives = 500
    method.memory.rows = torch.eye(12)
    method.contrast(torch.eye(12), torch.arange(12), term=0)
    scores = seen[0] * method.temperature
    torch.testing.assert_close(scores[:, 0], torch.ones(12))
    assert (scores[:, 1:] == 0).all()


def test_two_processes_share_out_the_negatives_that_one_draws(method, monkeypatch):
    seen = []
    monkeypatch.setattr(pirl, "nce", lambda scores: seen.append(scores) or scores.sum())
    code, index = torch.eye(12)[:6, :4], torch.arange(6)
    method.contrast(code, index, term=1)
    monkeypatch.setattr(pirl, "world", lambda: 2)
    for number in (0, 1):
        monkeypatch.setattr(pirl, "rank", lambda number=number: number)
        own = slice(3 * number, 3 * number + 3)
        method.contrast(code[own], index[own], term=1)
    torch.testing.assert_close(torch.cat(seen[1:]), seen[0])


def test_tiles_are_cut_from_their_cells_with_a_gap_and_every_order_comes(method):
    method.configure_views({"jitter_p": 0.0, "grey": 0.0, "flip": 0.0})
    assert (method.crop_cells.size, method.crop_tile.size, method.crop.flip) == (36, 9, 0.0)
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
    board = (30 * (3 * rows + columns)).repeat_interleave(12, 0).repeat_interleave(12, 1).to(torch.uint8)
    batch = ImageBatch(board.expand(64, 3, 36, 36), torch.arange(64), torch.full((64,), -1))
    method.crop_cells = pirl.dataclasses.replace(method.crop_cells, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    tiles = method.tiles(batch)
    assert tiles.shape == (64, 9, 3, 9, 9)
    flat = tiles.flatten(2)
    assert (flat.amax(2) - flat.amin(2)).max() < 1e-6, "a tile does not reach into its neighbour"
    named = (flat[:, :, 0] * 255 / 30).round().long()
    assert torch.equal(named, torch.arange(9).expand(64, 9))
    torch.manual_seed(0)
    shuffled = (method.views(batch)[1].flatten(2)[:, :, 0] * 255 / 30).round().long()
    assert torch.equal(shuffled.sort(1).values, named) and len(set(map(tuple, shuffled.tolist()))) == 64


def test_tiles_pass_the_encoder_one_by_one_and_their_order_is_seen_by_the_last_layer_alone(method):
    tiles = torch.rand(2, 9, 3, 9, 9)
    codes = []
    for photo in tiles:
        each = [method.project_tile(method.encoder(tile[None]))[0] for tile in photo]
        codes.append(normalize(method.project_tiles(torch.cat(each)), dim=0))
    torch.testing.assert_close(method.tiles_code(tiles), torch.stack(codes))


def test_the_memory_follows_the_photo_and_not_its_tiles(method):
    before = method.memory.rows.clone()
    views = method.views(photos([2, 9]))
    f = method.image_code(views[0]).detach()
    method.loss(views)
    assert torch.equal(method.memory.rows, before)
    method.step_end(Clock(1, 2, 1))
    expected = normalize(0.5 * before[[2, 9]] + 0.5 * f, dim=1)
    torch.testing.assert_close(method.memory.rows[[2, 9]], expected)
    rest = [i for i in range(12) if i not in (2, 9)]
    assert torch.equal(method.memory.rows[rest], before[rest])
    assert not method.memory.rows.requires_grad and "memory.rows" in method.state_dict()


def test_a_weight_of_0_leaves_the_tiles_out_and_1_the_photo(method):
    for weight, silent in ((0.0, (method.project_tile, method.project_tiles)), (1.0, (method.project,))):
        method.weight = weight
        method.zero_grad()
        sum(method.loss(method.views(photos([3, 4]))).values()).backward()
        assert all(p.grad.abs().sum() == 0 for part in silent for p in part.parameters())
        assert method.encoder.scale.grad != 0


def test_mistakes_are_answered_in_one_line(method):
    with pytest.raises(BadInput, match="weight in .0, 1.; got 0.07, 32000 and 2"):
        PIRL(Means(), weight=2)
    with pytest.raises(BadInput, match="call setup"):
        PIRL(Means()).loss(method.views(photos([0])))
    with pytest.raises(BadInput, match="needs 2 or more; photos has 1"):
        method.setup(Photos(1))
