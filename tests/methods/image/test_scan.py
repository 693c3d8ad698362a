"""SCAN: neighbours that are not the photo itself, both losses by hand, and a classifier that is kept."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

import vergence
from two_processes import few_digits
from vergence.core import BadInput, Clock
from vergence.losses.pseudo_labels import confident_cross_entropy, disagreement, mean_entropy
from vergence.methods.image.encoders import build
from vergence.methods.image.scan import SCAN, LowestLoss, SelfLabel, nearest_others, whole
from vergence.nets.classifier import Classifier
from vergence.views.pixels.strong import CHANGES, Strong

CONTRACT = {
    # the clustering's loss says nothing of what SelfLabel makes of the features afterwards
    "options": {"clusters": 10, "neighbours": 3, "pretext": False, "self_label": False, "heads": 2},
    "learn": {"epochs": 5},
    "exempt": {
        "labels": "it sorts by the features that it gets, here random ones; its run of record measures"
    },
    "two": {"": {"source": few_digits}},
}
FEW = {"neighbours": 5, "pretext": False}


def digits(count=60):
    return vergence.open("digits").subset(np.arange(count))


def made(source=None, **options):
    torch.manual_seed(0)
    method = SCAN(build("resnet-tiny", size=8, width=8), **{**FEW, **options})
    method.setup(source or digits())
    return method


def mined(method, source):
    method.epoch_start(Clock(), list(source.loader(16, spec={"size": 8})))


def test_neighbours_are_the_most_similar_others():
    vectors = torch.randn(20, 4)
    nearest = nearest_others(vectors, 3)
    for i, row in enumerate(nearest.tolist()):
        order = cosine_similarity(vectors[i : i + 1], vectors).argsort(descending=True).tolist()
        order.remove(i)
        assert row == order[:3]
    assert nearest_others(vectors[:3], 20).shape == (3, 2)


def test_disagreement_and_entropy_are_those_of_the_probabilities():
    first, second = torch.randn(5, 3), torch.randn(5, 3)
    p, q = first.softmax(1).tolist(), second.softmax(1).tolist()
    agree = [sum(a * b for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]
    assert disagreement(first, second).item() == pytest.approx(-sum(map(math.log, agree)) / 5, rel=1e-5)
    mean = [sum(row[c] for row in p) / 5 for c in range(3)]
    assert mean_entropy(first).item() == pytest.approx(-sum(m * math.log(m) for m in mean), rel=1e-5)
    sure = 50.0 * torch.eye(3)
    assert disagreement(sure, sure).item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(disagreement(100 * sure, 100 * sure.roll(1, 0)))
    assert mean_entropy(sure).item() == pytest.approx(math.log(3), rel=1e-5)
    heads = torch.randn(5, 2, 3), torch.randn(5, 2, 3)
    torch.testing.assert_close(disagreement(*heads)[1], disagreement(heads[0][:, 1], heads[1][:, 1]))
    torch.testing.assert_close(mean_entropy(heads[0])[1], mean_entropy(heads[0][:, 1]))
    one = torch.tensor([[200.0, 0.0, 0.0]]).requires_grad_()
    mean_entropy(one).backward()
    assert torch.isfinite(one.grad).all()


def test_both_answers_get_a_gradient_and_the_weak_view_none():
    first, second = (torch.randn(5, 3, requires_grad=True) for _ in range(2))
    disagreement(first, second).backward()
    assert first.grad.abs().min() > 0 and second.grad.abs().min() > 0
    weak = (5 * torch.randn(5, 3)).requires_grad_()
    strong = torch.randn(5, 3, requires_grad=True)
    confident_cross_entropy(weak, strong, threshold=0.5).backward()
    assert weak.grad is None and strong.grad.abs().max() > 0


def test_sure_classes_count_alike_however_many_are_sure_of_them():
    strong = torch.randn(5, 3)
    weak = 9 * torch.eye(3)[[0, 0, 0, 1, 2]]
    weak[4] = torch.tensor([1.0, 0.0, 1.1])  # not sure
    first = cross_entropy(strong[:3], torch.tensor([0, 0, 0]))
    second = cross_entropy(strong[3:4], torch.tensor([1]))
    cost = confident_cross_entropy(weak, strong, threshold=0.99)
    torch.testing.assert_close(cost, (first + second) / 2)
    weights = torch.tensor([4 / 3, 4.0, 1.0])  # as the paper says it: the inverse frequencies
    torch.testing.assert_close(cost, cross_entropy(strong[:4], torch.tensor([0, 0, 0, 1]), weight=weights))
    assert confident_cross_entropy(weak * 0, strong, threshold=0.99) == 0


def test_the_loss_is_that_of_all_heads_over_the_pairs():
    method = made(heads=3, entropy=2.0).eval()
    pair = torch.rand(6, 3, 8, 8), torch.rand(6, 3, 8, 8)
    terms = method.loss(pair)
    first, second = (method.encoder(x).pooled for x in pair)
    total = 0.0
    for head in (method.encoder.classify, *method.others):
        p, q = head(first).softmax(1), head(second).softmax(1)
        total += -(p * q).sum(1).log().mean() + 2 * (p.mean(0) * p.mean(0).log()).sum()
    assert sum(terms.values()).item() == pytest.approx(total.item(), rel=1e-5)


def test_neighbours_are_looked_up_once_and_their_pixels_are_read():
    source = digits()
    method = made(source)
    assert method.nearest[:, 0].tolist() == list(range(60)), "at first each photo is its own neighbour"
    mined(method, source)
    first = method.nearest.clone()
    assert first.shape == (60, 5) and not (first == torch.arange(60)[:, None]).any()
    method.epoch_start(Clock(3, 9, 3), [])
    assert torch.equal(method.nearest, first)
    method.strong = lambda pixels: pixels
    method.configure_views({"flip": 0.0})
    batch = next(iter(source.loader(16, spec={"size": 8})))
    anchor, neighbour = method.views(batch)
    torch.testing.assert_close(anchor, batch.pixels / 255)
    photos = torch.stack([torch.from_numpy(source.sample(i)).permute(2, 0, 1) / 255 for i in range(60)])
    for row, of in zip(neighbour, first[:16], strict=True):
        assert any(torch.allclose(row, photos[i], atol=1e-6) for i in of)


def test_the_head_of_the_lowest_loss_is_kept():
    source = digits()
    method = made(source, heads=4).eval()
    mined(method, source)
    with torch.no_grad():
        vectors = method.encoder(next(iter(source.loader(60, spec={"size": 8})))).pooled
        losses = []
        for head in method.heads:
            p = head(vectors).softmax(1)
            pairs = (p[:, None] * p[method.nearest]).sum(2).log().mean()
            losses.append((-pairs + 5 * (p.mean(0) * p.mean(0).log()).sum()).item())
    best = method.heads[int(np.argmin(losses))].weight.clone()
    chosen = LowestLoss(clustering=method).fit(source)
    assert chosen.losses == pytest.approx(losses, rel=1e-3)
    assert torch.equal(chosen.encoder.classify.weight, best)


def test_frozen_features_stay_and_their_norms_too(tmp_path):
    source = digits()
    method = made(source, frozen=True, self_label=False)
    before = {name: value.clone() for name, value in method.encoder.backbone.state_dict().items()}
    head = method.encoder.classify.weight.clone()
    vergence.learn(method, source, out=tmp_path / "run", epochs=2, batch_size=20, lr=1e-2, quiet=True)
    assert all(
        torch.equal(value, before[name]) for name, value in method.encoder.backbone.state_dict().items()
    )
    assert not torch.equal(method.encoder.classify.weight, head)


def test_self_labels_train_the_features_too_where_the_clustering_had_them_frozen():
    source = digits()
    method = made(source, frozen=True)
    assert not any(p.requires_grad for p in method.encoder.backbone.parameters())
    *_, last = method.stages(source)
    learner = last.make({})
    assert last.name == "self-label" and learner.encoder is method.encoder
    assert all(p.requires_grad for p in learner.encoder.backbone.parameters())


def test_self_labels_come_from_the_photo_as_it_is():
    classifier = Classifier(build("resnet-tiny", size=8, width=8), 10)
    method = SelfLabel(classifier, whole(classifier), 0.0).eval()
    batch = next(iter(digits().loader(16, spec={"size": 8})))
    weak, strong = method.views(batch)
    torch.testing.assert_close(weak, batch.pixels / 255)
    assert not torch.allclose(weak, strong)
    target = classifier.logits(weak).argmax(1)
    cost = [
        cross_entropy(classifier.logits(strong[target == c]), target[target == c]) for c in target.unique()
    ]
    torch.testing.assert_close(method.loss((weak, strong))["self-label"], torch.stack(cost).mean())


def test_a_run_goes_through_all_stages_and_leaves_a_classifier(tmp_path):
    source = digits(40)
    settings = {"size": 8, "encoder": "resnet-tiny", "encoder_options": {"width": 8}, "quiet": True}
    run = vergence.learn(
        "scan", source, out=tmp_path / "run", epochs=1, batch_size=20, clusters=6, **settings
    )
    assert (tmp_path / "run" / "checkpoint" / "pretext.pt").exists()
    again = vergence.load(tmp_path / "run")
    batch = next(iter(source.loader(40, spec={"size": 8})))
    with torch.no_grad():
        sure = again.probabilities(batch)
        torch.testing.assert_close(sure, run.encoder.eval().probabilities(batch))
    assert sure.shape == (40, 6)
    torch.testing.assert_close(sure.sum(1), torch.ones(40))


def test_strong_views_draw_every_operation_and_a_hole():
    torch.manual_seed(0)
    pixels = torch.rand(40, 3, 16, 16)
    still = pixels.clone()
    assert torch.equal(Strong(operations=0, hole=0.0)(pixels), pixels)
    holed = (Strong(operations=0)(pixels) != pixels).any(1)
    sides = {(int(h.any(1).sum()), int(h.any(0).sum())) for h in holed}
    assert all(h.sum() == h.any(1).sum() * h.any(0).sum() for h in holed)
    assert max(max(s) for s in sides) == 8 and len(sides) > 5
    for name, change in CHANGES.items():
        for u in (0.0, 0.999):
            out = change(pixels, torch.full((40,), u))
            assert out.shape == pixels.shape and out.min() >= 0 and out.max() <= 1 + 1e-6, name
    middle = torch.full((40,), 0.5)
    for name in ("rotate", "shear-x", "shear-y", "shift-x", "shift-y"):
        torch.testing.assert_close(CHANGES[name](pixels, middle), pixels, atol=1e-4, rtol=0)
    shifted = CHANGES["shift-x"](pixels, torch.full((40,), 1.0))  # by a tenth of 16 pixels
    torch.testing.assert_close(
        shifted[..., 4:], 0.4 * pixels[..., 3:-1] + 0.6 * pixels[..., 2:-2], atol=1e-4, rtol=0
    )
    levels = [len(CHANGES["posterize"](pixels, torch.full((40,), u)).unique()) for u in (0.0, 0.3, 0.6, 0.9)]
    assert levels == [2**4, 2**5, 2**6, 2**7]
    assert torch.equal(pixels, still)


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="SCAN needs 2 clusters or more, .* got 1, 1, 5, 5.0 and 0.99"):
        made(clusters=1)
    with pytest.raises(BadInput, match="SCAN needs 2 photos or more to find neighbours; .* has 1"):
        made(digits(1))
    with pytest.raises(BadInput, match="Strong needs 0 operations or more"):
        Strong(hole=2.0)
    with pytest.raises(ValueError, match="disagreement needs two tensors of logits"):
        disagreement(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="threshold in"):
        confident_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3), threshold=1.0)
