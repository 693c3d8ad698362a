"""The runs of record of curation and clustering: what is drawn, and by what it is judged."""

import dataclasses

import numpy as np
import pytest
import torch

from vergence.benchmarks.records import clusterfug, hkmeans, labelprop, quasar, sas, simvis
from vergence.benchmarks.tasks import Metric, generated
from vergence.data.tables import from_vectors
from vergence.use.simvis import box_coverage

RANDOM = np.random.default_rng(0)


def test_the_pools_are_long_tailed():
    labels = np.repeat(np.arange(10), 5_000)
    rows = hkmeans.tail(labels, hkmeans.LARGEST, RANDOM)
    sizes = np.bincount(labels[rows])
    assert sizes[0] == 5_000 and sizes[9] == 50 and (np.diff(sizes) < 0).all()
    assert len(rows) == len(set(rows)) == sizes.sum() == 12_408
    pool, judges = hkmeans.digits(0)
    assert np.bincount(pool.labels)[[0, 9]].tolist() == [134, 1]
    assert np.bincount(judges.labels).tolist() == [40] * 10
    both = np.concatenate([pool.numeric, judges.numeric])
    assert len(np.unique(both, axis=0)) == len(both), "nothing judges that teaches"


@pytest.mark.parametrize("arm", hkmeans.RECORD.arms)
def test_every_arm_keeps_as_many_rows(arm, monkeypatch):
    kept = []
    monkeypatch.setattr(hkmeans, "taught", lambda train, test, rows, seed: kept.append(rows) or 0.5)
    source = from_vectors(RANDOM.standard_normal((2_000, 4)).astype(np.float32), np.arange(2_000) % 10)
    hkmeans.RECORD.arms[arm](
        dataclasses.replace(hkmeans.PHOTOS, whole=None, deal=lambda *_: (source, source)), 1
    )
    assert len(set(kept[0].tolist())) == hkmeans.KEEP


def test_evenness_is_1_of_equal_classes_and_0_of_one():
    assert hkmeans.evenness(np.arange(1_000) % 10) == pytest.approx(1)
    assert hkmeans.evenness(np.full(1_000, 3)) == 0


def test_row_sums_ignore_redundancy_and_chosen_rows_do_not():
    x = RANDOM.standard_normal((300, 6)) + 0.5
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    arms = [choose(x, 180, 0) for choose in (sas.chosen, sas.by_row_sums, sas.at_random)]
    assert all(len(set(rows.tolist())) == 180 for rows in arms)
    assert len(set(arms[0]) & set(arms[1])) < 170


def test_k_means_is_told_as_many_clusters_as_the_multicut_found(monkeypatch):
    monkeypatch.setattr(clusterfug, "alpha", lambda: 0.3)
    source = from_vectors(RANDOM.standard_normal((60, 5)).astype(np.float32), np.arange(60) % 3)
    counts = []
    monkeypatch.setattr(
        clusterfug, "normalized_mutual_info_score", lambda labels, of: counts.append(of.max() + 1) or 0.5
    )
    task = generated(lambda *_: (source, source), Metric("NMI"))
    for arm in clusterfug.RECORD.arms.values():
        assert arm(task, 0) == 0.5
    assert counts[0] == counts[2] and counts[1] == 10


def test_damage_grows_with_its_strength_and_noise_is_drawn():
    x = torch.rand(3, 3, 32, 32)
    for kind, strengths in quasar.STRENGTHS.items():
        off = [float((quasar.damage(x, kind, strength) - x).square().mean()) for strength in strengths]
        assert off == sorted(off) and off[0] > 0, kind
        assert quasar.damage(x, kind, strengths[0]).shape == x.shape
    assert not torch.equal(quasar.damage(x, "noise", 0.1), quasar.damage(x, "noise", 0.1))


def test_scores_without_the_anchors_labels_are_another_thing():
    good, bad = RANDOM.standard_normal((2, 500, 6)).astype(np.float32) + np.eye(2, 6)[:, None] * 3
    x = np.eye(2, 6, dtype=np.float32)
    first, second = quasar.of_anchors(good, bad, 0)(x)
    assert first > 0.9 and second < 0.1
    a, b = quasar.shuffled(good, bad, 0)(x)
    assert abs(a - b) < 0.5
    alone = quasar.good_alone(good, bad, 0)(x)
    assert alone[0] > alone[1]
    assert alone == pytest.approx(
        x @ (m := (good / np.linalg.norm(good, axis=1)[:, None]).mean(0)) / np.linalg.norm(m)
    )


def test_a_thing_is_pasted_where_its_box_says():
    ground, things = torch.zeros(4, 3, 64, 64), torch.ones(4, 3, 64, 64)
    shown, boxes = simvis.pasted(ground, things, np.random.default_rng(0))
    lit = (shown[:, 0] > 0.5).float()
    assert torch.equal(lit.sum((1, 2)), (boxes[:, 2] * boxes[:, 3] * 64**2).round())
    assert float((lit * box_coverage(boxes, 64, 64)).sum()) == float(lit.sum())
    assert not ground.any()


def test_all_of_a_heat_on_the_thing_is_1_and_what_speaks_against_does_not_count():
    share = torch.zeros(1, 2, 2)
    share[0, 0, 0] = 1
    heat = torch.tensor([[[3.0, 1.0], [0.0, -5.0]]])
    assert simvis.within((heat, heat), (share, share)).value == pytest.approx(0.75)
    assert simvis.within((share, heat), (share, share)).value == pytest.approx(0.875)


def test_things_of_a_moving_world_are_followed_by_patches_and_still_ones_by_a_copy():
    clips, _ = labelprop.moving(None, 7)
    assert len(clips) == labelprop.CLIPS and all(len(clip) == labelprop.FRAMES for clip in clips)
    assert clips[0].pixels.dtype == torch.uint8 and clips[0].masks.max() >= 3
    frame = clips[0].pixels[:1]
    cells = labelprop.by_patches(frame, stride=2)
    assert cells.grid == (29, 29) and cells.centres()[1].tolist() == [6, 4]
    expected = frame[0, :, 2:10, 4:12].flatten().float() / 255 - 0.5
    torch.testing.assert_close(cells.map[0, :, 1, 2], expected)
    still = [
        labelprop.Clip(clip.pixels[:1].expand(3, -1, -1, -1), clip.masks[:1].expand(3, -1, -1))
        for clip in clips[:2]
    ]
    world = generated(lambda *_: (still, still), Metric("J of things"))
    assert labelprop.MECHANISM.arms["first mask copied"](world, 0) == 1
    assert (
        labelprop.MECHANISM.arms["paper"](world, 0)
        > 0.8
        > 0.1 + labelprop.MECHANISM.arms["coarser stride (8)"](world, 0)
    )


def test_a_clip_is_judged_without_the_frame_that_was_given(monkeypatch):
    masks = torch.zeros(3, 16, 16, dtype=torch.int64)
    masks[0, :8], masks[1, :8], masks[2, 8:] = 1, 1, 1
    shown = labelprop.Clip(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), masks)
    monkeypatch.setattr(labelprop, "clip", lambda name: shown)
    scores = labelprop.RECORD.arms["first mask copied"](labelprop.PHOTOS, 0)
    assert scores["J at 240 lines"] == pytest.approx(0.5)  # right once, wrong once
