"""The usual classifier: cross-entropy of one crop, and a classifier that is kept."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.benchmarks.records import supervised as record
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.engine import embed
from vergence.methods.image.supervised import Supervised
from vergence.nets.classifier import Classifier


class Pixels(nn.Module):
    """Sees every pixel."""

    input_spec, out_dim = {"size": 8}, 192

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * images.flatten(1)


def made(**options):
    torch.manual_seed(0)
    return Supervised(Pixels(), **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_cross_entropy_by_hand(smoothing):
    method, images = made(classes=5, smoothing=smoothing), torch.rand(6, 3, 8, 8)
    labels, layer, total = [0, 4, 2, 2, 1, 3], method.encoder.classify, 0.0
    for image, label in zip(images, labels, strict=True):
        logits = (layer.weight.double() @ image.double().flatten() + layer.bias.double()).tolist()
        every = math.log(sum(math.exp(z) for z in logits))
        costs = [every - z for z in logits]
        total += (1 - smoothing) * costs[label] + smoothing * sum(costs) / 5
    result = method.loss((images, torch.tensor(labels)))["class"].item()
    assert result == pytest.approx(total / 6, rel=1e-5)


def test_a_view_is_one_crop_with_its_class_and_the_colours_stay_colours():
    method = made()
    grey = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    pixels, labels = method.views(ImageBatch(grey, torch.arange(4), torch.arange(4) % 3))
    assert pixels.shape == (4, 3, 8, 8) and labels.tolist() == [0, 1, 2, 0]
    torch.testing.assert_close(pixels, pixels[:, :1].expand_as(pixels), atol=1e-5, rtol=0)
    assert method.crop.grey == 0 and method.crop.jitter[3] == 0


def test_what_is_learned_names_classes(tmp_path):
    digits = vergence.open("digits")
    train, test = digits.subset(np.arange(1_000)), digits.subset(np.arange(1_000, 1_400))
    options = {"encoder": "resnet-tiny", "encoder_options": {"width": 8}, "size": 16, "epochs": 3}
    settings = {
        "optimizer": "adamw",
        "lr": 3e-3,
        "batch_size": 50,
        "views": {"flip": 0.0, "scale": (0.6, 1.0)},
    }
    vergence.learn("supervised", train, out=tmp_path / "run", quiet=True, **options, **settings)
    net = vergence.load(tmp_path / "run")
    assert isinstance(net, Classifier)
    chances = embed(net, test, read=net.probabilities).vectors
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    assert (chances.argmax(1) == test.labels).mean() > 0.8


def test_labels_that_are_missing_or_too_many_are_said():
    digits = vergence.open("digits")
    with pytest.raises(BadInput, match="has 10 classes, Supervised was made for 4; set classes=10"):
        made(classes=4).setup(digits)
    digits = vergence.open(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(BadInput, match="Supervised learns from labels, and not every image of"):
        made().setup(digits)
    with pytest.raises(BadInput, match=r"smoothing in \[0, 1\); got 1"):
        made(smoothing=1)


def test_the_arm_of_shuffled_labels_keeps_every_class_as_often():
    source, _ = record.kinds(None, 100)
    arm = record.Shuffled(record.learns.start(source), classes=record.KINDS)
    arm.setup(source)
    given = arm.views(next(iter(source.loader(len(source), spec=arm.encoder.input_spec))))[1]
    assert torch.equal(given.bincount(), torch.as_tensor(source.labels).bincount())
    assert (given.numpy() == source.labels).mean() < 0.2
