"""ODC with tracks: one label a track, a weighted loss on all its crops, and a memory that follows."""

import math

import numpy as np
import pytest
import torch

import vergence
from vergence.benchmarks.records.odct import lit
from vergence.core import BadInput, Clock
from vergence.methods.video.encoders import build
from vergence.methods.video.odct import ODCT, Tracks

SMALL = {"clusters": 4, "dim": 12, "hidden": 16, "dropout": 0.0}
CONTRACT = {
    "source": lambda: lit(None, 0)[0],
    "encoder": {
        **{"name": "frames", "frames": 8, "read": 8},
        "encoder": {"name": "vergence.benchmarks.records._looks:Linear"},
    },
    "options": {"clusters": 20, "dim": 32, "hidden": 64, "dropout": 0.0},
    "learn": {"lr": 1e-2},
    "exempt": {
        "two": "clusters are split by k-means from random rows, which the first process draws for all"
    },
}


def make(**options):
    torch.manual_seed(0)
    encoder = build("resnet-tiny", size=8, width=8, blocks=(1,), frames=4, read=4)
    method = ODCT(encoder, **{**SMALL, **options})
    source = lit(None, 0)[0].subset(np.arange(20))
    method.configure_views(source.view_options)
    method.setup(source)
    method.epoch_start(Clock(), source.loader(8, spec=encoder.input_spec))
    return method.train(), next(source.loader(6, spec=encoder.input_spec))


@pytest.mark.parametrize("tracks", [True, False])
def test_the_loss_is_weighted_by_the_root_of_the_sizes_written_as_a_loop(tracks):
    method, batch = make(tracks=tracks)
    views = method.views(batch)
    assert views.crops.shape == (6, 4, 3, 8, 8)
    labels = method.memory.labels.clone()
    assert len(labels) == (20 if tracks else 80)
    size = [(labels == k).sum().item() for k in range(4)]
    answers = method.classifier(method.vectors(views.crops)).log_softmax(2)
    cost = weight = 0.0
    for b in range(6):
        for t in range(4):
            label = labels[b if tracks else 4 * b + t].item()
            cost -= answers[b, t, label].item() / math.sqrt(size[label])
            weight += 1 / math.sqrt(size[label])
    assert method.loss(views)["cluster"].item() == pytest.approx(cost / weight, rel=1e-4)


def test_only_the_tracks_that_were_seen_move_after_a_step():
    method, batch = make()
    before = method.memory.rows.clone()
    method.loss(method.views(batch))
    assert torch.equal(method.memory.rows, before)  # not before the step ends
    method.step_end(Clock(step=1, total=20))
    moved = (method.memory.rows != before).flatten(1).any(1)
    assert moved.nonzero()[:, 0].tolist() == batch.index.tolist()


def test_one_more_crop_in_its_own_light_does_not_change_the_label_of_its_track():
    method, batch = make()
    views = method.views(batch)
    odd = views.crops.clone()
    odd[0, 0] = 1 - odd[0, 0]
    with torch.no_grad():
        for crops in (views.crops, odd):
            method.memory.write(views.index, method.eval().vectors(crops))
    assert len({int(method.memory.labels[0])}) == 1 and method.memory.labels.shape == (20,)


def test_centroids_move_every_tenth_step():
    method, batch = make(smallest=0)
    before = method.memory.centroids.clone()
    for step in (1, 9, 10):
        method.loss(method.views(batch))
        method.step_end(Clock(step=step, total=20))
        assert torch.equal(method.memory.centroids, before) == (step < 10)


def test_clusters_are_chosen_for_the_source_and_a_run_keeps_them(tmp_path):
    source = lit(None, 0)[0].subset(np.arange(100))
    small = {"width": 8, "blocks": (1,), "frames": 4, "read": 4}
    options = {"encoder": "resnet-tiny", "encoder_options": small, "size": 8, "dim": 12, "hidden": 16}
    run = vergence.learn("odct", source, **options, epochs=1, batch_size=50, out=tmp_path, quiet=True)
    assert run.encoder.out_dim > 0
    method = ODCT(build("resnet-tiny", size=8, width=8, blocks=(1,), frames=4), dim=12, hidden=16)
    method.setup(source)
    assert method.classifier.out_features == method.memory.clusters == 2
    assert method.memory.smallest == 20
    method.setup(source.subset(np.arange(40)))
    assert method.memory.smallest == 10


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match="cannot put 20 tracks into 30 clusters"):
        make(clusters=30)
    with pytest.raises(BadInput, match=r"dropout in \[0, 1\)"):
        make(dropout=1.0)
    with pytest.raises(BadInput, match="ODCT needs an image encoder on frames"):
        ODCT(build("c3d-small", size=16, frames=4, width=2))
    assert Tracks(torch.zeros(1, 2, 3, 4, 4), torch.zeros(1)).crops.shape[1] == 2
