"""JiGen: tiles in a known order, the class of ordered images alone, and what images without a label teach."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.jigen import JiGen
from vergence.nets.classifier import Classifier
from vergence.nets.permutations import to_tiles


class Pixels(nn.Module):
    """Sees every pixel."""

    input_spec, out_dim = {"size": 9}, 3 * 81

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        images = getattr(images, "pixels", images)
        return self.scale * images.flatten(1)


def photos(count=6, side=9):
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.arange(count) % 5)


def made(**options):
    torch.manual_seed(0)
    method = JiGen(Pixels(), **options)
    method.configure_views({"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter_p": 0.0})
    return method


def by_hand(head, image, answer):
    logits = (head.weight.double() @ image.double().flatten() + head.bias.double()).tolist()
    return math.log(sum(math.exp(z) for z in logits)) - logits[answer]


def test_the_answer_is_the_order_in_which_the_tiles_lie():
    method = made(ordered=0.0, tile_grey=0.0)
    batch = photos(300)
    images, order, labels = method.views(batch)
    assert torch.equal(labels, batch.label) and set(order.tolist()) == set(range(31))
    whole = batch.pixels / 255
    for image, answer, source in zip(images, order.tolist(), whole, strict=True):
        for place, tile in enumerate(method.orders[answer].tolist()):
            (r, c), (top, left) = divmod(place, 3), divmod(tile, 3)
            expected = source[:, 3 * top : 3 * top + 3, 3 * left : 3 * left + 3]
            torch.testing.assert_close(image[:, 3 * r : 3 * r + 3, 3 * c : 3 * c + 3], expected)


def test_orders_are_the_same_everywhere_differ_much_and_begin_with_the_right_one():
    first, second = made().orders, made().orders
    assert torch.equal(first, second) and first.shape == (31, 9)
    assert first[0].tolist() == list(range(9))
    apart = (first[:, None] != first).sum(2) + 9 * torch.eye(31)
    assert apart.min() >= 7


def test_the_stated_share_stays_in_order_and_the_stated_share_of_tiles_loses_its_colour():
    method = made(ordered=0.7, tile_grey=0.2)
    images, order, _ = method.views(photos(2000))
    assert (order == 0).float().mean().item() == pytest.approx(0.7 + 0.3 / 31, abs=0.03)
    tiles = to_tiles(images, (3, 3))
    grey = (tiles.amax(2) - tiles.amin(2)).flatten(2).amax(2) < 1e-6
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert grey[order == 0].any() and grey[order > 0].any()


def test_rotation_may_take_the_place_of_the_puzzle():
    method = made(task="rotation", ordered=0.0, tile_grey=0.0)
    images, order, _ = method.views(photos(40))
    assert method.name_order.out_features == 4 and set(order.tolist()) == {0, 1, 2, 3}
    for image, turns, source in zip(images, order.tolist(), photos(40).pixels / 255, strict=True):
        torch.testing.assert_close(image, torch.rot90(source, turns, (1, 2)))


def test_the_class_is_asked_of_ordered_images_alone_the_order_of_all():
    method = made(weight=0.3, ordered=0.5)
    images, order, labels = method.views(photos(12))
    assert 0 < (order == 0).sum() < 12
    terms = method.loss((images, order, labels))
    assert set(terms) == {"class", "order"}
    rows = list(zip(images, order.tolist(), labels.tolist(), strict=True))
    named = [by_hand(method.encoder.classify, image, y) for image, answer, y in rows if answer == 0]
    expected = [by_hand(method.name_order, image, answer) for image, answer, _ in rows]
    assert terms["class"].item() == pytest.approx(np.mean(named), rel=1e-5)
    assert terms["order"].item() == pytest.approx(0.3 * np.mean(expected), rel=1e-5)


def test_images_without_a_label_teach_the_order_and_to_be_sure():
    method = made(weight=0.3, target_weight=0.2, entropy=0.4, ordered=0.5)
    images, order, labels = method.views(photos(16))
    labels = torch.where(torch.arange(16) < 8, labels, -1)
    terms = method.loss((images, order, labels))
    rows = list(zip(images, order.tolist(), labels.tolist(), strict=True))
    named = [by_hand(method.encoder.classify, x, y) for x, answer, y in rows if answer == 0 and y >= 0]
    known = [by_hand(method.name_order, x, answer) for x, answer, y in rows if y >= 0]
    target = [by_hand(method.name_order, x, answer) for x, answer, y in rows if y < 0]
    unsure = []
    for x, answer, y in rows:
        if answer == 0 and y < 0:
            costs = [by_hand(method.encoder.classify, x, k) for k in range(10)]
            unsure.append(sum(c * math.exp(-c) for c in costs))
    expected = {
        "class": np.mean(named), "order": 0.3 * np.mean(known),
        "target order": 0.2 * np.mean(target), "entropy": 0.4 * np.mean(unsure),
    }  # fmt: skip
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_0_leaves_the_tiles_as_augmentation():
    method = made(weight=0.0, ordered=0.5)
    sum(method.loss(method.views(photos(32))).values()).backward()
    assert method.name_order.weight.grad.abs().max() == 0
    assert method.encoder.classify.weight.grad.abs().max() > 0


def test_a_batch_without_an_ordered_image_costs_nothing_for_the_class():
    method = made()
    images, _, labels = method.views(photos())
    terms = method.loss((images, torch.full((6,), 3), labels))
    assert terms["class"] == 0 and terms["order"] > 0


def test_a_run_keeps_the_classifier(tmp_path):
    digits = vergence.open("digits").subset(np.arange(200))
    options = {"size": 16, "encoder": "resnet-tiny", "encoder_options": {"width": 8}, "epochs": 1}
    run = vergence.learn("jigen", digits, out=tmp_path / "run", batch_size=50, quiet=True, **options)
    again = vergence.load(tmp_path / "run")
    batch = next(digits.loader(200, spec={"size": 16}))
    assert isinstance(again, Classifier)
    with torch.no_grad():
        torch.testing.assert_close(again.logits(batch), run.encoder.eval().logits(batch))


def test_mistakes_are_answered_in_one_line():
    digits = vergence.open("digits").subset(np.arange(50))
    with pytest.raises(BadInput, match="10 classes, JiGen was made for 4; set classes=10"):
        made(classes=4).setup(digits)
    with pytest.raises(BadInput, match="no image of .* has one"):
        made().setup(vergence.open(np.zeros((4, 9, 9, 3), np.uint8)))
    with pytest.raises(BadInput, match="Unknown task of JiGen 'jigsaws'"):
        made(task="jigsaws")
    with pytest.raises(BadInput, match="weights of at least 0; got 30, -1"):
        made(weight=-1)
    with pytest.raises(BadInput, match="ordered and tile_grey in .0, 1.; got 2"):
        made(ordered=2)
