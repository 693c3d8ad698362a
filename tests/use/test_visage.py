"""Objects keep their identity: means inside masks, memories by recency and score, and the best assignment."""

from itertools import permutations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from vergence.core import BadInput
from vergence.use.visage import Objects, appearance_in_masks, follow_objects, remembered, similarity


def objects(count=5, seed=0, scores=True):
    random = torch.Generator().manual_seed(seed)
    queries, looks = (torch.randn(count, width, generator=random) for width in (6, 9))
    return Objects(queries, looks, torch.rand(count, generator=random) if scores else None)


def test_appearance_is_the_mean_inside_the_mask_on_each_level():
    fine, coarse = torch.rand(3, 8, 8), torch.rand(2, 4, 4)
    masks = torch.zeros(3, 8, 8)
    masks[0, :4, :6], masks[1, 4:] = 1, 1
    seen = appearance_in_masks([fine, coarse], masks)
    assert seen.shape == (3, 5)
    torch.testing.assert_close(
        seen[0], torch.cat([fine[:, :4, :6].mean((1, 2)), coarse[:, :2, :3].mean((1, 2))])
    )
    torch.testing.assert_close(seen[1], torch.cat([fine[:, 4:].mean((1, 2)), coarse[:, 2:].mean((1, 2))]))
    assert (seen[2] == 0).all()  # an empty mask


def test_a_frame_in_another_order_is_put_back():
    first, order = objects(), torch.tensor([3, 0, 4, 1, 2])
    found = follow_objects([first, first.at(order), first])
    assert found.tolist() == [[0, 1, 2, 3, 4], order.argsort().tolist(), [0, 1, 2, 3, 4]]


def test_weight_says_whether_places_or_looks_decide():
    first, swap = objects(), torch.tensor([1, 0, 2, 3, 4])
    crossed = Objects(first.queries, first.appearance[swap])  # two looks have changed places
    assert follow_objects([first, crossed], weight=0.0)[1].tolist() == [0, 1, 2, 3, 4]
    assert follow_objects([first, crossed], weight=1.0)[1].tolist() == swap.tolist()
    twins = Objects(first.queries, first.appearance[:1].expand(5, -1))
    assert follow_objects([twins, twins.at(swap)], weight=0.75)[1].tolist() == swap.tolist()


def test_what_is_remembered_is_a_mean_by_recency_and_score():
    frames = [objects(seed=seed) for seed in range(3)]
    held = remembered(frames)
    for q in range(5):
        weights = [(i + 1) / 3 + frames[i].scores[q].item() for i in range(3)]
        total = sum(w * f.appearance[q] for w, f in zip(weights, frames, strict=True))
        torch.testing.assert_close(held.appearance[q], total / sum(weights))
    without = remembered([Objects(f.queries, f.appearance) for f in frames])
    shares = torch.tensor([4 / 3, 5 / 3, 2.0]) / 5
    expected = (shares[:, None, None] * torch.stack([f.queries for f in frames])).sum(0)
    torch.testing.assert_close(without.queries, expected)


def test_tracks_are_the_assignment_of_largest_sum_to_the_last_frames_as_they_were_followed():
    frames = [objects(4, seed) for seed in range(6)]
    found = follow_objects(frames, weight=0.3, memory=2)
    known = [frames[0]]
    for t in range(1, 6):
        tracks = remembered(known[-2:])
        alike = torch.zeros(4, 4)
        for q in range(4):
            for o in range(4):
                r = cosine_similarity(tracks.queries[q], frames[t].queries[o], dim=0)
                a = cosine_similarity(tracks.appearance[q], frames[t].appearance[o], dim=0)
                alike[q, o] = 0.7 * r + 0.3 * a
        torch.testing.assert_close(similarity(tracks, frames[t], weight=0.3), alike)
        best = max(permutations(range(4)), key=lambda p: sum(alike[q, o].item() for q, o in enumerate(p)))
        assert found[t].tolist() == list(best)
        known.append(frames[t].at(torch.tensor(best)))


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match=r"as many objects in every frame; got 5, then 4"):
        follow_objects([objects(5), objects(4)])
    with pytest.raises(BadInput, match=r"weight in \[0, 1\] and memory of 1 or more; got 2 and 0"):
        follow_objects([objects()], weight=2, memory=0)
    with pytest.raises(BadInput, match="1 frame or more"):
        follow_objects([])
