"""Transitive invariance: mutual links, five pairs of a square, triplets with hard negatives, two stages."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

import vergence as vg
from vergence.core import Clock
from vergence.losses.margin import hard_triplets
from vergence.methods.image.transitive import Pairs, Transitive, mutual_links


@cache
def squares():
    """64 clips of 4 pictures: a patch of one of four kinds, turned from picture to picture."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 255, (4, 16, 16, 3))
    thing = np.arange(64).repeat(4)
    turned = [np.rot90(patterns[t % 4], i % 4) for i, t in enumerate(thing)]
    pixels = (np.stack(turned) * 0.7 + random.integers(0, 70, (256, 16, 16, 3))).astype(np.uint8)
    return vg.open(pixels, labels=thing % 4, targets={"group": thing})


CONTRACT = {
    "source": squares,
    "options": {"first": "simclr", "apart": 1, "neighbours": 2},
    "learn": {"epochs": 10},
}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 8}, 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 6)

    def forward(self, images):
        images = getattr(images, "pixels", images)
        return self.linear((images / 255 if images.dtype == torch.uint8 else images).flatten(1))


def clips(count=4, each=3):
    """Pictures whose colour is ten times their row."""
    colour = 10 * np.arange(count * each, dtype=np.uint8)
    pixels = np.zeros((count * each, 8, 8, 3), np.uint8) + colour[:, None, None, None]
    return vg.open(pixels, targets={"group": np.arange(count).repeat(each)})


@pytest.fixture
def method():
    torch.manual_seed(0)
    made = Transitive(Flat(), first="simclr", apart=1)
    made.configure_views({})
    made.setup(clips())
    return made


def test_links_are_mutual_neighbours_of_other_clips_by_loops():
    torch.manual_seed(0)
    x, clip = torch.randn(30, 4), torch.arange(10).repeat_interleave(3)
    centred = x - x.mean(0)
    nearest = []
    for i in range(30):
        others = [j for j in range(30) if clip[j] != clip[i]]
        others.sort(key=lambda j, i=i: -cosine_similarity(centred[i], centred[j], dim=0).item())
        nearest.append(set(others[:3]))
    expected = [[i, j] for i in range(30) for j in sorted(nearest[i]) if i in nearest[j]]
    assert mutual_links(x, clip, 3).tolist() == expected
    assert len(expected) > 10
    assert len(mutual_links(x, torch.zeros(30), 3)) == 0


def test_the_triplet_loss_by_loops_and_what_it_wants():
    torch.manual_seed(0)
    x, positive, others = torch.randn(5, 4), torch.randn(5, 4), torch.randn(7, 4)
    allowed = torch.rand(5, 7) < 0.6
    allowed[0], allowed[1] = False, torch.arange(7) == 2

    def distance(a, b):
        return 1 - cosine_similarity(a, b, dim=0).item()

    costs = []
    for i in range(5):
        apart = sorted(distance(x[i], others[j]) for j in range(7) if allowed[i, j])[:2]
        each = [max(0.0, distance(x[i], positive[i]) - far + 0.5) for far in apart]
        costs.append(sum(each) / max(1, len(each)))
    value = hard_triplets(x, positive, others, allowed, margin=0.5, negatives=2).item()
    assert value == pytest.approx(sum(costs) / 5, rel=1e-5)
    assert hard_triplets(x, x, -x, torch.eye(5) > 0, margin=0.5, negatives=3).item() == 0
    assert hard_triplets(x, -x, x, torch.eye(5) > 0, margin=0.5, negatives=3).item() == pytest.approx(2.5)
    assert hard_triplets(x, -x, x, torch.eye(5) > 1, margin=0.5, negatives=3).item() == 0


def test_pairs_are_the_five_of_a_square_alike_and_tracks_where_nothing_is_linked(method):
    method.links = torch.tensor([[0, 4], [4, 0]])  # clips 0 and 1
    torch.manual_seed(0)
    first, second = method.draw(torch.zeros(4000, dtype=torch.int64))
    a, later, b, other_later = {0}, {1, 2}, {4}, {3, 5}
    kinds = [(a, later), (a, b), (a, other_later), (later, b), (later, other_later)]
    drawn = list(zip(first.tolist(), second.tolist(), strict=True))
    shares = [sum(p in one and q in two for p, q in drawn) / 4000 for one, two in kinds]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([0.2] * 5, abs=0.03)
    first, second = method.draw(torch.arange(6, 12))
    assert torch.equal(first, torch.arange(6, 12))
    assert torch.equal(first // 3, second // 3) and (first != second).all()


def test_no_picture_of_the_same_or_of_a_linked_clip_is_a_negative(method):
    method.links = torch.tensor([[0, 4], [4, 0]])
    pairs = torch.tensor([[0, 0], [1, 2], [3, 3]])
    related = method.related(pairs, torch.arange(4))
    assert related.tolist() == [[True, True, False, False], [True, True, True, False], [False] * 3 + [True]]


def test_views_show_the_pairs_and_their_clips(method):
    method.links = torch.tensor([[0, 4], [4, 0]])
    torch.manual_seed(0)
    views = method.views(next(method.clips.source.loader(12, shuffle=True)))
    shown = torch.stack(
        [(v.pixels[:, 0, 4, 4] * 25.5).round().long() for v in (views.first, views.second)], 1
    )
    assert torch.equal(views.clips, shown // 3)
    assert len(views.own) == 2


def test_links_come_from_the_first_features_and_stay(method):
    loader = [next(method.clips.source.loader(12))]
    method.epoch_start(Clock(0, 10, 5), loader)
    x = method.encode(loader[0])
    expected = mutual_links(x, method.clips.of, 5)
    assert torch.equal(method.links, expected) and len(expected)
    nn.init.normal_(method.encoder.linear.weight)
    method.epoch_start(Clock(5, 10, 5), loader)
    assert torch.equal(method.links, expected)
    assert {"links"} <= set(method.state_dict())


def test_the_loss_is_triplets_and_the_weighted_first_loss(method):
    torch.manual_seed(0)
    method.first_weight = 3.0
    views = method.views(next(method.clips.source.loader(12)))
    terms = method.loss(views)
    assert set(terms) == {"triplets", "first_contrast"}
    own = method.first.loss(views.own)["contrast"].item()
    assert terms["first_contrast"].item() == pytest.approx(3 * own)
    assert 0 <= terms["triplets"].item() <= 2.5
    method.hard_from = 0
    assert method.loss(views)["triplets"] >= terms["triplets"]  # the hardest alone
    assert isinstance(views, Pairs) and math.isfinite(sum(terms.values()).item())


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(ValueError, match="apart, neighbours and negatives of 1 or more"):
        Transitive(Flat(), apart=0)
    with pytest.raises(ValueError, match="'selfaugment' is fitted"):
        Transitive(Flat(), first="selfaugment")
    with pytest.raises(ValueError, match="Transitive learns from clips, and digits does not say"):
        Transitive(Flat(), first="simclr").setup(vg.open("digits"))


def test_first_features_are_set_up_once_and_keep_what_they_learned(method):
    calls = []
    for staged in (False, True):
        made = Transitive(Flat(), first="simclr", apart=1)
        made.first.setup = lambda source, staged=staged: calls.append(staged)
        if staged:
            first, pairs = made.stages(clips())
            first.make({}).setup(clips())  # as the engine does
            assert pairs.make({}) is made
        made.setup(clips())
    assert calls == [False, True]


@pytest.mark.parametrize(
    ("first", "own"), [("deepercluster", "batches"), ("gsimclr", "batches and stages"), ("aassl", "reads")]
)
def test_first_features_that_need_a_training_of_their_own_are_refused(first, own):
    with pytest.raises(vg.BadInput, match=f"'{first}' beside its triplets, for it has its own {own};"):
        Transitive(Flat(), first=first)
