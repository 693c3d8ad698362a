import copy

import pytest
import torch
from torch import nn

from vergence.nets import Teacher


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_follow_is_the_moving_average_by_hand():
    student = nn.Linear(2, 1)
    nn.init.constant_(student.weight, 1.0)
    teacher = Teacher(student)
    nn.init.constant_(student.weight, 5.0)
    teacher.follow(keep=0.75)
    assert teacher.network.weight.tolist() == [[2.0, 2.0]]
    teacher.follow(keep=0.75)
    assert teacher.network.weight.tolist() == [[2.75, 2.75]]


def test_the_limits_are_standing_still_and_copying():
    teacher, student = Teacher(network()), network()
    student(torch.randn(8, 3))  # moves the running statistics
    before = copy.deepcopy(teacher.state_dict())
    teacher.follow(keep=1.0, source=student)
    for name, value in teacher.network.named_parameters():
        assert torch.equal(value, before[f"network.{name}"])
    teacher.follow(keep=0.0, source=student)
    for name, value in student.state_dict().items():
        assert torch.equal(teacher.state_dict()[f"network.{name}"], value)


def test_statistics_follow_too():
    student = nn.BatchNorm1d(2)
    teacher = Teacher(student)
    student.running_mean.fill_(4.0)
    student.num_batches_tracked.fill_(9)
    teacher.follow(keep=0.5)
    assert teacher.network.running_mean.tolist() == [2.0, 2.0]
    assert teacher.network.num_batches_tracked.item() == 9


def test_a_copy_apart_that_takes_no_gradient_and_hides_its_source():
    encoder, head = nn.Linear(3, 4), nn.Linear(4, 2)
    method = nn.ModuleDict({"encoder": encoder, "head": head})
    method["teacher"] = Teacher(nn.Sequential(encoder, head))
    names = [name for name, _ in method.named_parameters()]
    assert len(names) == 8 and len(set(names)) == 8
    assert all(p.requires_grad != name.startswith("teacher") for name, p in method.named_parameters())
    method["teacher"].requires_grad_(False)
    x = torch.randn(5, 3, requires_grad=True)
    assert torch.equal(method["teacher"](x), head(encoder(x)))
    assert not method["teacher"](x).requires_grad
    with torch.no_grad():
        encoder.weight.add_(1.0)
    assert not torch.equal(method["teacher"](x), head(encoder(x)))


def test_training_uses_the_statistics_of_the_batch_and_never_drops():
    teacher = Teacher(network()).train()
    _, norm, drop, _ = teacher.network
    assert teacher.training and norm.training and not drop.training
    x = torch.randn(6, 3)
    assert torch.equal(teacher(x), teacher(x))
    teacher.eval()
    assert not norm.training and not teacher.training
    torch.testing.assert_close(teacher(x)[:1], teacher(x[:1]))  # eval: nobody in the batch matters
    nn.Sequential(teacher).train()  # as when a method is switched
    assert norm.training and not drop.training


def test_a_deep_copy_follows_its_own_student():
    pair = nn.ModuleDict({"student": nn.Linear(1, 1)})
    pair["teacher"] = Teacher(pair["student"])
    other = copy.deepcopy(pair)
    nn.init.constant_(other["student"].weight, 3.0)
    other["teacher"].follow(keep=0.0)
    assert other["teacher"].network.weight.item() == 3.0
    pair["teacher"].follow(keep=0.0)
    assert pair["teacher"].network.weight.item() == pair["student"].weight.item() != 3.0


def test_following_works_after_a_state_is_loaded():
    pair = nn.ModuleDict({"student": nn.Linear(2, 2)})
    pair["teacher"] = Teacher(pair["student"])
    pair.load_state_dict({name: torch.full_like(v, 7.0) for name, v in pair.state_dict().items()})
    with torch.no_grad():
        pair["student"].weight.fill_(9.0)
    pair["teacher"].follow(keep=0.5)
    assert pair["teacher"].network.weight.unique().item() == 8.0


@pytest.mark.parametrize("keep", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match=r"keep in \[0, 1\]"):
        Teacher(nn.Linear(1, 1)).follow(keep)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="network of its own shape; got a Sequential"):
        Teacher(nn.Linear(1, 1)).follow(0.5, source=nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))
