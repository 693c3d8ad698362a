"""SEER: a projector without batch norm, prototypes that wait for steps, balance by more rounds."""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import log_softmax, normalize

from two_processes import few_digits
from vergence.benchmarks.records import seer as record
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.losses import sinkhorn
from vergence.methods.image.encoders import build
from vergence.methods.image.seer import SEER

CONTRACT = {
    "options": {"prototypes": 16, "hidden": 64, "dim": 32, "n_local": 2, "freeze_steps": 1},
    "exempt": {"labels": "80 steps are few for prototypes of patterns; its run of record measures"},
    "two": {"": {"source": few_digits}, "queue": {"source": few_digits, "options": {"queue": 16}}},
}
SMALL = {"prototypes": 6, "hidden": 16, "dim": 8, "n_local": 2, "freeze_steps": 2}


def made(**options):
    torch.manual_seed(0)
    return SEER(build("resnet-tiny", size=16, width=8), **{**SMALL, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(8), torch.full((8,), -1))


def balanced(scores, rounds):
    """Alternately give prototypes a mass of 1/P and samples one of 1/B, as the paper has it, in float64."""
    q = torch.exp(scores.double() / 0.05).T
    q /= q.sum()
    for _ in range(rounds):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q.shape[1] * q).T.float()


def test_each_crop_predicts_what_the_large_others_were_assigned_in_ten_rounds(batch):
    method = made()
    views = method.views(batch)
    assert [view.pixels.shape[-1] for view in views] == [16, 16, 10, 10]
    large, small = (torch.cat([v.pixels for v in part]) for part in (views[:2], views[2:]))
    encoded = torch.cat([method.encoder(part).pooled for part in (large, small)])
    scores = (normalize(method.projector(encoded), dim=1) @ method.prototypes.weight.T).chunk(4)
    cost = 0.0
    for t in range(2):
        target = balanced(scores[t].detach(), 10)
        cost += sum(-(target * log_softmax(scores[s] / 0.1, dim=1)).sum(1).mean() for s in range(4) if s != t)
    assert method.loss(views)["swap"].item() == pytest.approx(cost.item() / 6, rel=1e-4)


def test_the_projector_has_three_layers_and_no_batch_norm():
    assert [type(layer) for layer in made().projector] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [layer.out_features for layer in made().projector[::2]] == [16, 16, 8]


def test_prototypes_wait_for_steps_whatever_the_epoch(batch):
    method = made()
    for step, moves in ((1, False), (2, True)):
        method.clock = Clock(step, 100, 50)
        method.zero_grad()
        method.loss(method.views(batch))["swap"].backward()
        assert bool(method.prototypes.weight.grad.any()) is moves


def test_samples_are_uniform_after_every_round_and_prototypes_only_in_the_limit():
    random = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(10, 16, generator=random), dim=1)
    clustered = centres[torch.randint(10, (512,), generator=random)]
    samples = normalize(clustered + 0.05 * torch.randn(512, 16, generator=random), dim=1)
    prototypes = normalize(torch.randn(100, 16, generator=random), dim=1)
    scores = (samples @ prototypes.T).double()
    off = []
    for rounds in (1, 3, 10, 200):
        target = sinkhorn(scores, temperature=0.05, rounds=rounds)
        torch.testing.assert_close(target.sum(1), torch.ones(512, dtype=torch.float64))
        off.append((target.sum(0) * 100 / 512 - 1).abs().max().item())
    assert off[0] > off[1] > 0.2 > off[2] > 0.001 > off[3]


def test_timms_trunks_have_the_papers_widths():
    """Widths grow linearly, are rounded to powers of a factor times the first, and to whole groups."""
    depth, first, slope, factor, group = 27, 640, 230.83, 2.53, 373
    power = np.round(np.log((first + slope * np.arange(depth)) / first) / np.log(factor))
    widths, counts = np.unique(np.round(first * factor**power / 8) * 8, return_counts=True)
    widths = [int(round(width / group) * group) for width in widths]
    with torch.device("meta"):
        net = timm.create_model("regnety_2560", num_classes=0)
    stages = [getattr(net, f"s{number}") for number in (1, 2, 3, 4)]
    assert [len(list(stage.children())) for stage in stages] == counts.tolist() == [2, 7, 17, 1]
    assert [list(stage.children())[-1].conv3.conv.out_channels for stage in stages] == widths
    assert widths == [746, 1492, 4103, 10444] and net.num_features == 10444


def test_the_world_is_long_tailed_and_its_judges_are_not():
    train, test = record.web(None, 7)
    assert (len(train), len(test)) == (2 * record.THINGS, 2 * record.JUDGED)
    assert np.array_equal(train.labels[::2], train.labels[1::2]), "every thing twice"
    assert not set(train.labels) & set(test.labels)


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="SEER needs freeze_steps of 0 or more; got -1"):
        made(freeze_steps=-1)
    with pytest.raises(BadInput, match="1 round or more"):
        made(rounds=0)
