"""Clusters that follow a network: rows and labels move, small clusters are given up, large ones split."""

import pytest
import torch
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.nets.online_clusters import OnlineClusters


def started(members=40, parts=3, clusters=4, **options):
    torch.manual_seed(0)
    memory = OnlineClusters(clusters, **{"smallest": 2, **options})
    memory.start(torch.randn(members, parts, 6))
    return memory


def test_it_begins_with_unit_rows_and_centroids_that_are_the_means_of_their_rows():
    memory = started()
    torch.testing.assert_close(memory.rows.norm(dim=2), torch.ones(40, 3))
    for k in range(4):
        rows = memory.rows[memory.labels == k].flatten(0, 1)
        assert len(rows)
        torch.testing.assert_close(memory.centroids[k], rows.mean(0))


def test_rows_move_by_momentum_and_a_label_is_the_centroid_likest_to_the_mean_of_the_parts():
    memory = started(momentum=0.3)
    before, index, vectors = memory.rows.clone(), torch.tensor([5, 2]), torch.randn(2, 3, 6)
    memory.write(index, vectors)
    for i, member in enumerate(index.tolist()):
        parts = zip(before[member], vectors[i], strict=True)
        moved = [normalize(0.7 * old + 0.3 * normalize(new, dim=0), dim=0) for old, new in parts]
        torch.testing.assert_close(memory.rows[member], torch.stack(moved))
        scores = [float(c @ sum(moved) / 3) for c in memory.centroids]
        assert memory.labels[member] == scores.index(max(scores))
    others = [i for i in range(40) if i not in (2, 5)]
    assert torch.equal(memory.rows[others], before[others])


def test_a_small_cluster_is_given_up_and_takes_half_of_the_largest():
    memory = started(smallest=5)
    sides = torch.eye(6)[:4]
    memory.labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 7 + [3] * 3)
    memory.rows = normalize(sides[memory.labels][:, None] + 0.05 * torch.randn(40, 3, 6), dim=2)
    memory.rows[:8] = normalize(memory.rows[:8] + torch.eye(6)[5], dim=2)  # the largest one falls in two
    like_one = torch.eye(6)[1] + 0.05 * torch.randn(3, 3, 6)
    memory.rows[37:] = normalize(like_one, dim=2)  # those of the small cluster
    memory.recentre()
    memory.give_up_small()
    assert (memory.labels[20:30] == 1).all() and (memory.labels[37:] == 1).all()
    one, other = memory.labels[:8].unique(), memory.labels[8:20].unique()
    assert {one.item(), other.item()} == {0, 3}
    for k in (0, 3):
        torch.testing.assert_close(memory.centroids[k], memory.rows[memory.labels == k].flatten(0, 1).mean(0))


def test_weights_are_one_over_the_root_of_the_sizes():
    memory = started()
    memory.labels = torch.tensor([0] * 25 + [1] * 9 + [2] * 4 + [3] * 1)
    roots = torch.tensor([1 / 5, 1 / 3, 1 / 2, 1.0])
    torch.testing.assert_close(memory.weights(), roots / roots.sum())


def test_vectors_all_alike_are_split_at_random():
    memory = started(smallest=2)
    memory.rows = torch.ones(40, 3, 6) / 6**0.5
    memory.labels = torch.zeros(40, dtype=torch.int64)
    memory.recentre()
    memory.give_up_small()
    assert (memory.sizes() >= 2).all()


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match="4 clusters need as many members; got 3"):
        started(members=3)
    with pytest.raises(BadInput, match=r"momentum in \(0, 1\]"):
        OnlineClusters(4, momentum=0.0)
