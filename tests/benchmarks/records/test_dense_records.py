"""The worlds of dense methods: what each look at a mosaic holds, what pairing rules do, what scenes show."""

import numpy as np
import torch

from vergence.benchmarks.records._mosaics import CELLS, KINDS, SIDE, TILE, halves, mosaics
from vergence.benchmarks.records.denseau import Paired
from vergence.benchmarks.records.mls import SHOWN, OwnAlone, SceneNet, scenes
from vergence.nets.convnets import ConvNet, Patches, conv


def tiles_of(source, rows=64):
    batch = next(iter(source.with_targets(["masks"], "This").loader(rows)))
    return batch, torch.as_tensor(batch.targets["masks"].classes)[:, ::TILE, ::TILE]


def test_both_looks_at_a_mosaic_have_each_kind_equally_often_and_in_other_places():
    learned, (probed, judged) = mosaics(None, 100)
    assert len(learned) == 1_000 and len(probed) == len(judged) == 200
    batch, kinds = tiles_of(learned)
    first, second = (half.flatten(1) for half in kinds.chunk(2, 2))
    for look in (first, second):
        counts = torch.stack([(look == kind).sum(1) for kind in range(KINDS)])
        assert (counts == CELLS // KINDS).all()
    assert 0.15 < (first == second).double().mean() < 0.35  # by chance a quarter
    left, right = halves(batch)
    assert left.pixels.shape[2:] == (SIDE, SIDE)
    torch.testing.assert_close(torch.cat([left.pixels, right.pixels], 3), batch.pixels / 255)
    placed, _ = mosaics(None, 100, moved=False)
    _, kinds = tiles_of(placed)
    assert torch.equal(*kinds.chunk(2, 2))


def test_a_rule_of_one_kind_is_pure_and_a_planted_fault_is_found_which_random_kinds_do_not_show():
    torch.manual_seed(0)
    batch, _ = tiles_of(mosaics(None, 100)[0], rows=256)
    tiles = torch.nn.Sequential(Patches(TILE), conv(3 * TILE * TILE, 8, 1, act=False))
    rules = {share: Paired(ConvNet([tiles], size=SIDE, out_dim=8), share=share) for share in (0.0, 0.6, 1.0)}
    for rule in rules.values():
        rule.loss(rule.views(batch))
    pure = {share: np.array(rule.pure[0]) for share, rule in rules.items()}
    np.testing.assert_allclose([p[0] for p in pure.values()], [0.25, 0.7, 1.0], atol=0.03)
    assert all(abs(p[1:] - 0.25).max() < 0.03 for p in pure.values())
    neighbour = (CELLS // KINDS - 1) / (CELLS - 1)  # shares the kind
    np.testing.assert_allclose(rules[1.0].faulty[0], [neighbour] + [0.25] * (len(pure[1.0]) - 1), atol=0.02)


def test_scenes_show_two_things_in_both_of_their_pictures_and_the_rival_takes_its_own_alone():
    learned, _ = scenes(None, 100)
    tags = learned.target("tags", np.arange(20)).values
    assert tags.sum(1).tolist() == [SHOWN] * 20 and torch.equal(tags[::2], tags[1::2])
    own = OwnAlone(SceneNet(), dim=4, hidden=8, queue=20)
    labels = own.label(torch.randn(3, 8), torch.randn(23, 8))
    assert torch.equal(labels, torch.eye(3, 23))
