"""LoRot: exact turns of one part, both answers from one view, and a classifier that is kept."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.benchmarks.records import lorot as record
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.lorot import LoRot, turn_squares
from vergence.nets.classifier import Classifier


class Pixels(nn.Module):
    """Sees every pixel."""

    def __init__(self, size=8):
        super().__init__()
        self.input_spec, self.out_dim = {"size": size}, 3 * size * size
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * images.flatten(1)


def photos(count=6, size=8):
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.arange(count) % 5)


def made(size=8, **options):
    torch.manual_seed(0)
    method = LoRot(Pixels(size), **options)
    method.configure_views({"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0})
    return method


def test_a_square_is_turned_as_rot90_turns_it_and_the_rest_stays():
    pixels = torch.rand(5 * 7 * 4, 2, 9, 11)
    random = torch.Generator().manual_seed(0)
    side = torch.randint(1, 10, (len(pixels),), generator=random)
    corner = torch.stack(
        [(torch.rand(len(pixels), generator=random) * (n - side + 1)).long() for n in (9, 11)], 1
    )
    turns = torch.arange(len(pixels)) % 4
    expected = pixels.clone()
    for image, (top, left), n, k in zip(
        expected, corner.tolist(), side.tolist(), turns.tolist(), strict=True
    ):
        square = image[:, top : top + n, left : left + n]
        image[:, top : top + n, left : left + n] = torch.rot90(square.clone(), k, (1, 2))
    assert torch.equal(turn_squares(pixels, corner, side, turns), expected)


def test_four_quarters_are_none():
    pixels, corner, side = (
        torch.rand(3, 3, 8, 8),
        torch.tensor([[0, 0], [2, 1], [3, 4]]),
        torch.tensor([8, 5, 4]),
    )
    turned = pixels
    for _ in range(4):
        turned = turn_squares(turned, corner, side, torch.ones(3, dtype=torch.long))
    assert torch.equal(turned, pixels)


@pytest.mark.parametrize("size", [8, 9])
def test_the_answer_names_the_quadrant_that_was_turned_and_by_how_much(size):
    method = made(size)
    pixels = torch.rand(400, 3, size, size)
    images, answers = method.turn_part(pixels)
    assert set(answers.tolist()) == set(range(16))
    half = size // 2
    for image, answer, source in zip(images, answers.tolist(), pixels, strict=True):
        quadrant, turns = divmod(answer, 4)
        rows = slice(0, half) if quadrant < 2 else slice(size - half, size)
        columns = slice(0, half) if quadrant % 2 == 0 else slice(size - half, size)
        expected = source.clone()
        expected[:, rows, columns] = torch.rot90(source[:, rows, columns], turns, (1, 2))
        assert torch.equal(image, expected)


def test_a_square_anywhere_has_a_side_of_2_to_half_the_image():
    method = made(size=12, quadrants=False)
    pixels = torch.rand(2000, 3, 12, 12)
    images, answers = method.turn_part(pixels)
    assert set(answers.tolist()) == {0, 1, 2, 3}
    assert torch.equal(images[answers == 0], pixels[answers == 0])
    half_turned = (images != pixels).any(1)[answers == 2]  # all of an even square, all but the middle else
    rows, columns = half_turned.any(2).sum(1), half_turned.any(1).sum(1)
    assert set(rows.tolist()) == {2, 3, 4, 5, 6} and torch.equal(rows, columns)
    assert half_turned.any(0).all(), "every pixel may be part of it"


@pytest.mark.parametrize("quadrants", [True, False])
def test_the_loss_is_both_mean_cross_entropies_by_hand(quadrants):
    method = made(weight=0.3, quadrants=quadrants)
    images, turns, labels = method.views(photos())
    assert torch.equal(labels, photos().label)
    terms = method.loss((images, turns, labels))
    heads = {"class": (method.encoder.classify, labels, 1.0), "turn": (method.turned, turns, 0.3)}
    for name, (head, right, weight) in heads.items():
        total = 0.0
        for image, answer in zip(images, right.tolist(), strict=True):
            logits = (head.weight.double() @ image.double().flatten() + head.bias.double()).tolist()
            total += math.log(sum(math.exp(z) for z in logits)) - logits[answer]
        assert terms[name].item() == pytest.approx(weight * total / len(images), rel=1e-5)


def test_a_weight_of_0_leaves_the_turns_as_augmentation():
    method = made(weight=0.0)
    images, turns, labels = method.views(photos(64))
    assert not torch.equal(images, photos(64).pixels / 255)
    sum(method.loss((images, turns, labels)).values()).backward()
    assert method.turned.weight.grad.abs().max() == 0
    assert method.encoder.classify.weight.grad.abs().max() > 0


def test_a_run_keeps_the_classifier(tmp_path):
    digits = vergence.open("digits").subset(np.arange(300))
    options = {
        "size": 16,
        "encoder": "resnet-tiny",
        "encoder_options": {"width": 16},
        "epochs": 12,
        "quiet": True,
    }
    run = vergence.learn("lorot", digits, out=tmp_path / "run", batch_size=32, lr=3e-3, **options)
    again = vergence.load(tmp_path / "run")
    assert isinstance(again, Classifier) and again.out_dim == 64
    batch = next(digits.loader(300, spec={"size": 16}))
    with torch.no_grad():
        right = (again.logits(batch).argmax(1) == batch.label).float().mean()
        torch.testing.assert_close(again.logits(batch), run.encoder.eval().logits(batch))
    assert right > 0.6  # one class in ten by chance


def test_mistakes_are_answered_in_one_line():
    digits = vergence.open("digits").subset(np.arange(50))
    with pytest.raises(BadInput, match="10 classes, LoRot was made for 4; set classes=10"):
        made(classes=4).setup(digits)
    with pytest.raises(BadInput, match="not every image of .* has one"):
        made().setup(vergence.open(np.zeros((4, 8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="LoRot needs a weight of at least 0; got -1"):
        made(weight=-1)


def test_rivals_of_the_record_turn_nothing_or_all_and_ask_what_they_turn():
    pixels = torch.rand(40, 3, 8, 8)
    torch.manual_seed(0)
    images, _ = record.Untouched(Pixels()).turn_part(pixels)
    assert torch.equal(images, pixels)
    whole = record.WholeTurned(Pixels())
    images, turns = whole.turn_part(pixels)
    assert whole.turned.out_features == 4 and set(turns.tolist()) == {0, 1, 2, 3}
    for image, k, source in zip(images, turns.tolist(), pixels, strict=True):
        assert torch.equal(image, torch.rot90(source, k, (1, 2)))
    assert [kind(Pixels()).weight for kind in (record.AugmentedOnly, record.Untouched, LoRot)] == [0, 0, 0.5]


def test_the_world_has_two_cues_and_then_one():
    train, test = record.two_cues(None, 7)
    coloured, grey = (np.stack([s.sample(i) for i in range(200)]).astype(float) for s in (train, test))
    centre = coloured[:, 1:7, 1:7].mean((1, 2))
    for label in range(record.CLASSES):
        own = train.labels[:200] == label
        assert centre[own].std(0).max() < 10 < centre.std(0).max(), "a class has one colour"
        glyph = grey[test.labels[:200] == label][:, 9:15, 9:15].mean((0, 3)) > 127
        assert np.array_equal(glyph, glyph[::2, ::2].repeat(2, 0).repeat(2, 1)), "and one glyph"
    assert grey[:, 1:7, 1:7].mean((1, 2)).std(0).max() < 10, "no colour"
