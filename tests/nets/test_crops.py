from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from vergence.core import Features
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.views import crops
from vergence.nets.crops import encode_crops, match_by_place, match_by_similarity
from vergence.views.pixels.geometry import box_matrix

PLAIN = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0, "solarize": 0.0}


@pytest.fixture
def ramps():
    """Photos whose red is x and whose green is y, in pixels times 4."""
    y, x = torch.meshgrid(torch.arange(48), torch.arange(60), indexing="ij")
    pixels = torch.stack([4 * x, 4 * y, 0 * x]).to(torch.uint8).expand(20, -1, -1, -1).contiguous()
    return ImageBatch(pixels, torch.arange(20), torch.full((20,), -1))


@pytest.fixture
def views(ramps):
    torch.manual_seed(0)
    return crops(32, local_size=16, n_local=2, **PLAIN)(ramps)


def view_of(like, box, flip):
    box, flip = torch.tensor([box]), torch.tensor([flip])
    return replace(
        like, pixels=like.pixels[:1], box=box, flip=flip, matrix=box_matrix(box, like.pixels.shape[-1], flip)
    )


def test_crops_of_one_size_pass_the_encoder_together_and_come_out_in_their_order(views):
    calls = []

    def encoder(pixels):
        calls.append(tuple(pixels.shape))
        return Features(pooled=pixels.mean((2, 3)))

    vectors = encode_crops(encoder, views)
    assert calls == [(40, 3, 32, 32), (40, 3, 16, 16)]
    torch.testing.assert_close(vectors, torch.cat([view.pixels.mean((2, 3)) for view in views]))


def test_similar_cells_find_each_other_whatever_their_length_and_without_gradient():
    order = torch.stack([torch.randperm(5) for _ in range(3)])
    keys = torch.eye(5).expand(3, -1, -1).clone().requires_grad_()
    queries = keys.detach()[torch.arange(3)[:, None], order] * (torch.rand(3, 5, 1) + 0.1)
    result = match_by_similarity(queries, keys)
    assert torch.equal(result, order) and not result.requires_grad


def test_similarity_equals_a_loop():
    queries, keys = torch.randn(2, 4, 6), torch.randn(2, 7, 6)
    wanted = [
        [
            int(torch.stack([normalize(q, dim=0) @ normalize(k, dim=0) for k in keys[b]]).argmax())
            for q in rows
        ]
        for b, rows in enumerate(queries)
    ]
    assert match_by_similarity(queries, keys).tolist() == wanted


def test_places_by_hand(views):
    whole = view_of(views[0], [0.0, 0.0, 32.0, 32.0], False)
    mirrored = view_of(views[0], [0.0, 0.0, 32.0, 32.0], True)
    quarter = view_of(views[0], [0.0, 0.0, 16.0, 16.0], False)
    beside = view_of(views[0], [0.0, 32.0, 32.0, 16.0], False)
    index, seen = match_by_place(whole, whole, (2, 2))
    assert index.tolist() == [[0, 1, 2, 3]] and seen.all()
    assert match_by_place(whole, mirrored, (2, 3))[0].tolist() == [[2, 1, 0, 5, 4, 3]]
    index, seen = match_by_place(whole, quarter, (4, 4))  # a cell of the quarter is half as wide
    assert seen.view(4, 4).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert index.view(4, 4)[:2, :2].tolist() == [[5, 7], [13, 15]]
    assert not match_by_place(whole, beside, (2, 2))[1].any()


def test_matched_cells_show_the_same_place_of_the_photo(views):
    grid, side = (8, 8), 4
    first, second = views[:2]
    index, seen = match_by_place(first, second, grid)
    assert first.flip.any() and not first.flip.all() and 0.2 < seen.float().mean() < 0.9

    def places(view):  # where the cells' middles lie in the photo, as the colours say
        cells = view.pixels[:, :2].unfold(2, side, side).unfold(3, side, side).mean((4, 5))
        return (cells * 255 / 4 + 0.5).flatten(2).mT

    own, matched = places(first), places(second).gather(1, index[..., None].expand(-1, -1, 2))
    half = second.box[:, [3, 2]] / 8 / 2  # of a cell of the second crop, in pixels of the photo
    apart = ((own - matched).abs() - half[:, None])[seen]
    assert apart.max() < 0.3
    wrong = places(second).gather(1, index.flip(1)[..., None].expand(-1, -1, 2))
    assert ((own - wrong).abs() - half[:, None])[seen].max() > 5


def test_crops_of_two_sizes_match_too(views):
    index, seen = match_by_place(views[2], views[0], (4, 4))
    assert index.shape == seen.shape == (20, 16) and seen.any()
