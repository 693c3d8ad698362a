import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from vergence.engine.distributed import follow_mean, gather


def test_a_running_mean_follows_by_hand_and_stays_where_there_are_no_rows():
    mean = torch.tensor([1.0, 0.0])
    follow_mean(mean, torch.tensor([[3.0, 4.0], [5.0, 0.0]]), keep=0.75)
    torch.testing.assert_close(mean, torch.tensor([1.75, 0.5]))
    follow_mean(mean, torch.zeros(0, 2), keep=0.0)
    torch.testing.assert_close(mean, torch.tensor([1.75, 0.5]))


def test_one_process_gets_its_own_tensor_back():
    x = torch.randn(3, 2)
    assert gather(x) is x


def two_sided(x, w):
    """A loss that compares every sample with every other."""
    return (torch.tanh(x @ w) @ torch.tanh(x @ w).T).square().mean()


def worker(rank, file, results):
    os.environ.update(MASTER_ADDR="127.0.0.1")
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    torch.manual_seed(0)
    x, w = torch.randn(8, 3), torch.randn(3, 2, requires_grad=True)
    mine = torch.tanh(x[4 * rank : 4 * rank + 4] @ w)
    everyone = gather(mine)
    assert torch.equal(everyone[:4], mine)
    loss = (mine @ everyone.T).square().mean()
    loss.backward()
    dist.all_reduce(w.grad)
    dist.all_reduce(loss.detach())
    mean = torch.zeros(3)
    follow_mean(mean, x[:5] if rank else x[5:], keep=0.5)  # 3 rows and 5
    torch.save({"grad": w.grad / 2, "loss": loss.detach() / 2, "mean": mean}, f"{results}{rank}")
    dist.destroy_process_group()


def test_two_processes_give_the_loss_and_gradient_of_one_with_both_halves(tmp_path):
    mp.spawn(worker, args=(str(tmp_path / "meet"), str(tmp_path / "result")), nprocs=2)
    torch.manual_seed(0)
    x, w = torch.randn(8, 3), torch.randn(3, 2, requires_grad=True)
    loss = two_sided(x, w)
    loss.backward()
    for rank in range(2):
        result = torch.load(tmp_path / f"result{rank}")
        torch.testing.assert_close(result["loss"], loss.detach())
        torch.testing.assert_close(result["grad"], w.grad)
        torch.testing.assert_close(result["mean"], x.mean(0) / 2)
