"""SynFGVR: dimensions that tell nothing apart are perturbed, and what is painted of them is a pair."""

import pytest
import torch

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.losses import negative_cosine
from vergence.methods.image.encoders import build
from vergence.methods.image.synfgvr import SynFGVR
from vergence.methods.pairs.simsiam import SimSiam
from vergence.views.pixels.augment import centre_view

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 16, "blocks": (1, 1)},
    "options": {"painter_width": 16, "start": 0.0},
    "learn": {"batch_size": 32, "epochs": 2},
    "exempt": {"labels": "32 steps are few for SimSiam, which 80 leave below untrained ones (.293, .302)"},
    "two": {"": {"options": {"synthesized": 0.0}}},  # what is perturbed is drawn anew by each process
}


def make(**options):
    torch.manual_seed(0)
    encoder = build("resnet-tiny", size=16, width=8, blocks=(1,))
    return SynFGVR(encoder, **{"painter_width": 8, "start": 0.0, **options})


def photos(count):
    pixels = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(count), torch.zeros(count))


@pytest.fixture
def views():
    torch.manual_seed(1)
    return [centre_view(photos(6), 16) for _ in range(2)]


def test_the_terms_are_simsiam_s_the_painter_s_error_and_simsiam_s_of_painted_pairs(views):
    method = make(paint=2.0, synthesized=0.5)
    torch.manual_seed(2)
    terms = method.loss(views)
    h = [method.encode(view) for view in views]
    z = [method.projector(part) for part in h]
    p = [method.predictor(part) for part in z]
    alike = (negative_cosine(p[0], z[1].detach()) + negative_cosine(p[1], z[0].detach())) / 2
    torch.testing.assert_close(terms["predict"], alike)
    error = torch.cat([method.painter(a) - view.pixels for a, view in zip(h, views, strict=True)])
    torch.testing.assert_close(terms["paint"], 2 * error.square().mean())
    weights = torch.autograd.grad(-alike, h[0])[0]
    torch.manual_seed(2)
    pair = method.synthesize(h[0].detach(), weights)
    z = [method.projector(method.encoder(picture).pooled) for picture in pair]
    p = [method.predictor(part) for part in z]
    alike = (negative_cosine(p[0], z[1].detach()) + negative_cosine(p[1], z[0].detach())) / 2
    torch.testing.assert_close(terms["synthesized"], alike / 2)


def test_without_painted_pairs_it_is_simsiam_beside_a_painter(views):
    method = make(synthesized=0.0)
    torch.manual_seed(0)
    plain = SimSiam(build("resnet-tiny", size=16, width=8, blocks=(1,)))
    torch.testing.assert_close(method.loss(views)["predict"], plain.loss(views)["predict"])
    assert set(make(start=0.5).loss(views)) == {"predict", "paint"}
    late = make(start=0.5)
    late.clock = Clock(5, 10)
    assert set(late.loss(views)) == {"predict", "paint", "synthesized"}


def test_the_dimensions_of_least_variance_and_of_least_weight_are_perturbed_and_no_others():
    method = make(share=0.25, noise=3.0)
    method.variance = torch.tensor([4.0, 0.1, 2.0, 0.2, 3.0, 5.0, 6.0, 7.0])
    weights = torch.tensor([[9.0, 9, 9, 9, -1, 9, 9, -2], [0.5, 0.1, 9, 9, 9, 9, 9, 9]])
    mask = method.idle(weights)
    assert mask.tolist() == [[i in (1, 3, 4, 7) for i in range(8)], [i in (0, 1, 3) for i in range(8)]]
    seen = []
    method.painter.forward = lambda x: seen.append(x) or torch.zeros(2, 3, 16, 16)
    vectors = torch.randn(2, 8)
    method.synthesize(vectors, weights)
    assert torch.equal(seen[0], vectors) and torch.equal((seen[1] != seen[0]), mask)
    many = torch.zeros(4000, 8)
    method.synthesize(many, weights[:1].expand(4000, -1))
    deviation = seen[3][:, 1].std().item()
    assert deviation == pytest.approx(3 * method.variance.mean().sqrt().item(), rel=0.05)


def test_a_weight_says_by_how_much_the_loss_falls_as_a_number_rises():
    method = make()
    first, second = torch.randn(6, 8, dtype=torch.float64, requires_grad=True), torch.randn(6, 8).double()
    method.double().eval()
    (weights,) = torch.autograd.grad(-method.alike(first, second), first)
    moved = first.detach().clone()
    moved[2, 3] += 1e-5
    target = method.projector(second)  # of what is predicted no gradient counts
    costs = [
        negative_cosine(method.predictor(method.projector(h)), target).item() / 2 for h in (first, moved)
    ]
    assert weights[2, 3].item() == pytest.approx((costs[0] - costs[1]) / 1e-5, rel=1e-3)


def test_variance_is_that_of_all_of_the_data_and_painted_pictures_teach_no_painter(views):
    method = make()
    batches = [photos(5), photos(3)]
    method.epoch_start(method.clock, batches)
    assert method.training
    every = torch.cat([method.eval().embed(batch) for batch in batches])
    torch.testing.assert_close(method.variance, every.var(0, unbiased=False))
    method.train()
    method.loss(views)["synthesized"].backward()
    assert all(p.grad is None for p in method.painter.parameters())
    assert any(p.grad is not None and p.grad.any() for p in method.encoder.parameters())


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match=r"share and start in \[0, 1\]; got 1.0, 1.0, 1.0, 2.0 and 0.0"):
        make(share=2.0)
    with pytest.raises(BadInput, match="whose side 4 divides; got 18"):
        SynFGVR(build("resnet-tiny", size=18, width=8, blocks=(1,)))
