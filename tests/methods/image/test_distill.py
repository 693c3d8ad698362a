"""Distillation: the loss by hand, one crop for both, a fixed teacher that reads once and never moves."""

import copy

import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.distill import Distill


class Colours(nn.Module):
    """The mean colour, and how many pixels it came from; dropout shows whether it is in training."""

    out_dim = 3

    def __init__(self, size=8):
        super().__init__()
        self.input_spec = {"size": size}
        self.weight = nn.Parameter(torch.eye(3))
        self.drop = nn.Dropout(0.5)
        self.sizes = []

    def forward(self, pixels):
        self.sizes.append(tuple(pixels.shape))
        return self.drop(pixels.mean((2, 3)) @ self.weight)


CONTRACT = {"options": {"teacher": "vergence:conv-tiny"}, "learn": {"epochs": 6}}


def photos(count=6, size=8):
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), -torch.ones(count, dtype=torch.int64))


def made(student=None, **options):
    torch.manual_seed(0)
    method = Distill(student or Colours(), **{"teacher": Colours(), **options})
    method.configure_views(
        {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter_p": 0.0, "grey": 0.0}
    )
    return method


def test_the_loss_is_one_minus_the_cosine_to_standardised_vectors():
    method = made()
    pixels, target = torch.rand(5, 3, 8, 8), torch.rand(5, 3, dtype=torch.float64)
    method.encoder.eval()
    said = method.project(method.encoder(pixels)).detach().double()
    unit = (target - target.mean(0)) / (target.var(0, unbiased=False) + 1e-5).sqrt()
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(said, unit, strict=True)]
    loss = method.loss((pixels, target.float()))
    assert float(loss["teacher"].detach()) == pytest.approx(1 - sum(cosines) / 5, abs=1e-6)


def test_teacher_and_student_see_the_same_crop():
    method = made()
    method.configure_views({"scale": (0.2, 0.5), "flip": 0.5})
    pixels, target = method.views(photos())
    assert torch.allclose(target, pixels.mean((2, 3)), atol=1e-6)


def test_the_teacher_sees_pictures_of_its_own_size():
    method = made(teacher=Colours(24))
    method.teach(torch.rand(2, 3, 8, 8))
    assert method.teacher.sizes == [(2, 3, 24, 24)]
    smaller = made(teacher=Colours(24), teacher_size=4)
    smaller.teach(torch.rand(2, 3, 8, 8))
    assert smaller.teacher.sizes == [(2, 3, 4, 4)]


def test_a_fixed_teacher_reads_every_whole_photo_once():
    method = made(once=True)
    batch = photos()
    loader = [
        ImageBatch(batch.pixels[i : i + 4], batch.index[i : i + 4], batch.label[i : i + 4]) for i in (0, 4)
    ]
    method.epoch_start(Clock(), loader)
    method.epoch_start(Clock(), loader)
    assert len(method.teacher.sizes) == 2
    whole = batch.pixels.float().mean((2, 3)) / 255
    assert torch.allclose(method.rows.float(), whole, atol=1e-3)
    method.configure_views({"scale": (0.2, 0.5)})
    order = torch.tensor([5, 1, 3])
    _, target = method.views(ImageBatch(batch.pixels[order], order, batch.label[order]))
    assert torch.equal(target, method.rows[order].float())
    assert len(method.teacher.sizes) == 2


def test_the_teacher_gets_no_gradient_and_is_never_in_training():
    method = made()
    method.train()
    assert not method.teacher.training
    assert method.encoder.training
    method.loss(method.views(photos()))["teacher"].backward()
    assert method.teacher.weight.grad is None
    assert method.encoder.weight.grad is not None


def test_a_student_like_its_teacher_reaches_zero():
    method = made()
    method.encoder.eval()
    pixels, target = method.views(photos(64))
    mean, deviation = target.mean(0), target.std(0, unbiased=False)
    with torch.no_grad():
        method.project.weight.copy_(torch.diag(1 / deviation))
        method.project.bias.copy_(-mean / deviation)
    assert float(method.loss((pixels, target))["teacher"]) < 1e-3


def test_a_student_that_is_its_own_teacher_is_a_copy():
    network = Colours()
    method = made(student=copy.deepcopy(network), teacher=network)
    assert method.encoder.weight.requires_grad
    assert not method.teacher.weight.requires_grad


def test_it_needs_a_teacher():
    with pytest.raises(BadInput, match="distill needs a teacher, such as timm:resnet50"):
        vergence.learn("distill", "digits", epochs=1)


def test_a_teacher_by_name_is_a_run(tmp_path):
    small = {"encoder": "resnet-tiny", "encoder_options": {"width": 8}, "size": 16, "epochs": 1}
    teacher = f"run:{tmp_path / 'teacher'}"
    vergence.learn("rotnet", "digits", **small, batch_size=512, out=tmp_path / "teacher", quiet=True)
    run = vergence.learn(
        "distill", "digits", **small, batch_size=512, teacher=teacher, out=tmp_path / "student", quiet=True
    )
    assert run.config.options["teacher"] == teacher


def test_a_network_as_an_option_is_told_where_it_may_stand():
    with pytest.raises(
        BadInput, match=r"teacher is a network, .* learn\(Distill\(encoder, teacher=...\), ...\)"
    ):
        vergence.learn("distill", "digits", teacher=Colours(), epochs=1)
