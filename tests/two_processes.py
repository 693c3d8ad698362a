"""What two processes and one are compared by: losses, gradients and state of a few steps."""

import torch

from vergence.core import Clock
from vergence.engine.distributed import mean_over_processes
from vergence.engine.sync_norm import synchronise_norms
from vergence.engine.turns import BatchHolder, Objective


def take_steps(method, batches, fabric):
    """Return the losses and gradients of a step a batch, and what the method is then."""
    synchronise_norms(method, fabric.device)
    parameters = {n: p for n, p in method.named_parameters() if p.requires_grad}
    descend = torch.optim.SGD(parameters.values(), lr=1e-5)  # more would blow rounding up
    forward, update = fabric.setup(Objective(method, fabric.device), descend)
    found = {}
    for number, batch in enumerate(batches):
        method.clock = Clock(number, len(batches), 1)
        terms = forward(BatchHolder(batch))
        fabric.backward(sum(terms.values()))
        found |= {f"{number} loss {n}": mean_over_processes(value.detach()) for n, value in terms.items()}
        taught = {n: p.grad.clone() for n, p in parameters.items() if p.grad is not None}
        assert method.find_unused_parameters or taught.keys() == parameters.keys()
        found |= {f"{number} gradient {n}": gradient for n, gradient in taught.items()}
        update.step()
        update.zero_grad()
        method.step_end(method.clock)
    return found | {f"then {n}": value.nan_to_num() for n, value in method.state_dict().items()}


def assert_same(found, one):
    assert found.keys() == one.keys()
    for what, value in one.items():
        scale = value.abs().max().item() if value.is_floating_point() else 0
        torch.testing.assert_close(
            found[what], value, rtol=1e-4, atol=2e-5 * scale + 1e-7,
            msg=lambda text, what=what: f"{what}: {text}",
        )  # fmt: skip
