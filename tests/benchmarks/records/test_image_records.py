"""The arms of the image methods' runs of record differ from the paper in what they say, and train."""

import numpy as np
import pytest
import torch

from vergence.benchmarks.record import find_record
from vergence.benchmarks.records import rotnet
from vergence.benchmarks.records._looks import Linear
from vergence.core import Clock
from vergence.data import ImageBatch
from vergence.methods.image.encoders import build


def photos(count=8):
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def made(key, arm):
    torch.manual_seed(0)
    trained = find_record(key).arms[arm]
    training = trained.training
    method = trained.method(build(training.encoder, size=training.size, **training.options))
    method.setup(range(8))
    return method


@pytest.mark.parametrize("key", ["rotnet", "npid", "mocov3", "gmml", "mae", "ijepa", "sit"])
def test_every_arm_learns_and_none_is_another_under_a_new_name(key):
    losses = []
    for arm in set(find_record(key).arms) - {"untrained", "raw"}:
        method = made(key, arm)
        torch.manual_seed(1)
        loss = sum(method.loss(method.views(photos())).values())
        loss.backward()
        trained = [p for p in method.parameters() if p.requires_grad]
        assert loss.isfinite() and all(p.grad is not None for p in trained)
        losses.append((loss.item(), len(trained), getattr(method, "momentum", None)))
    assert len(set(losses)) == len(losses)


def test_random_turns_have_nothing_to_do_with_the_images():
    paper, blind = (made("rotnet", arm) for arm in ("paper", "random turns"))
    batch = photos(500)
    same = (blind.views(batch)[1] == paper.views(batch)[1]).float().mean()
    assert same.item() == pytest.approx(0.25, abs=0.05)


def test_without_momentum_keys_come_from_the_student_itself_to_the_end():
    method = made("mocov3", "no momentum")
    for step in (0, 5, 10):
        with torch.no_grad():
            for p in method.parameters():
                p.add_(0.1)
        method.step_end(Clock(step, 10, 5))
        student = [*method.encoder.parameters(), *method.projector.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(method.teacher.parameters(), student, strict=True))


def test_no_glyph_is_another_one_or_itself_turned():
    shapes = rotnet.upright_shapes(np.random.default_rng(0))
    seen = {np.rot90(shape, quarters).tobytes() for shape in shapes for quarters in range(4)}
    assert len(seen) == 4 * rotnet.KINDS


def test_an_instance_of_npid_is_a_thing_whichever_picture_shows_it():
    mechanism = find_record("npid").mechanism
    train, _ = mechanism.task.data(100)
    for arm in ("paper", "weight per thing"):
        method = mechanism.arms[arm].method(Linear())
        method.setup(train)
        batch = next(train.loader(16, spec={"size": 8}, shuffle=True, seed=1))
        _, index = method.views(batch)
        assert torch.equal(index, torch.as_tensor(train.labels[batch.index.numpy()]))
        method.loss(method.views(batch))["instance"].backward()
        assert method.encoder.map.weight.grad.any()


def test_one_copy_names_the_turn_it_shows():
    method = made("rotnet", "one copy")
    method.shift = method.flip = 0.0
    batch = photos(8)
    images, turns = method.views(batch)
    assert images.shape == (8, 3, 32, 32)
    for image, turn, source in zip(images, turns, batch.pixels / 255, strict=True):
        torch.testing.assert_close(image, torch.rot90(source, int(turn), (1, 2)))


def test_single_patches_spend_the_budget_patch_by_patch():
    method = made("gmml", "single patches")
    mask = method.holes.groups(torch.tensor([0.25, 0.5]), 32)
    share = torch.nn.functional.avg_pool2d(mask[:, None].float(), 4)
    assert ((share == 0) | (share == 1)).all()
    assert share.mean((1, 2, 3)).tolist() == [0.25, 0.5]


@pytest.mark.parametrize("key", ["dino", "swav"])
def test_the_large_crops_are_the_two_pictures_of_a_thing(key):
    mechanism = find_record(key).mechanism
    train, test = mechanism.task.data(100)
    method = mechanism.arms["paper"].method(Linear())
    method.setup(train)
    batch = next(train.loader(16, spec={"size": 8}, shuffle=True, seed=1))
    views = method.views(batch)
    assert torch.equal(views[0].pixels, batch.pixels / 255)
    for row, index in enumerate(batch.index.tolist()):
        assert train.labels[index] == train.labels[index ^ 1]
        other = torch.from_numpy(train.sample(index ^ 1)).permute(2, 0, 1) / 255
        assert torch.equal(views[1].pixels[row], other)
    assert not set(train.labels) & set(test.labels)
    method.loss(views)[{"dino": "dino", "swav": "swap"}[key]].backward()
    assert method.encoder.map.weight.grad.any()


def test_without_balance_all_may_go_to_one_prototype():
    arms = find_record("swav").mechanism.arms
    scores = torch.tensor([1.0] + [0.0] * 63).expand(16, -1)
    share = [
        arms[arm].method(Linear()).assign(scores, 0)[:, 0].sum().item() for arm in ("paper", "no balancing")
    ]
    assert share == [pytest.approx(0.25, rel=1e-3), pytest.approx(16, rel=1e-3)]


def test_any_two_cells_have_nothing_to_do_with_what_they_show():
    arms = find_record("densecl").mechanism.arms
    encoder = build("resnet-tiny", size=32, width=16, blocks=(1, 1)).eval()
    seen = encoder(photos(8).pixels / 255)
    alike, blind = (arms[arm].method(encoder).match(seen, seen) for arm in ("paper", "any two cells"))
    assert torch.equal(alike, torch.arange(64).expand(8, -1))
    assert (blind == alike).float().mean() < 0.1 and blind.max() < 64
