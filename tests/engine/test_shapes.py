"""Parts and buffers that change their shape between epochs: optimizers, checkpoints, and what is refused."""

import pytest
import torch
from torch import nn

from tiny_methods import reclustered
from vectors import Vectors
from vergence.core import BadInput, RunConfig
from vergence.engine.devices import make_fabric
from vergence.engine.files import load_checkpoint, save_checkpoint
from vergence.engine.loop import train
from vergence.nets import mlp


def go(method, out, *, resume=False, **settings):
    settings = {"recipe": method.recipe, "batch_size": 16, "seed": 1, "save_every": 1, **settings}
    config = RunConfig(method=type(method).__name__, source="vectors", **settings)
    fabric = make_fabric("fp32", devices=1)
    return train(method, Vectors(), config, out=out, fabric=fabric, resume=resume, quiet=True)


def state(out):
    return load_checkpoint(out / "checkpoint" / "last.pt")


def stop_at(method, step):
    """Let the method fail once ``step`` steps are taken and saved."""
    loss = method.loss

    def broken(views):
        if method.clock.step == step:
            raise KeyboardInterrupt
        return loss(views)

    method.loss = broken


@pytest.mark.parametrize("kind", ["mlp", "linear", "prototypes"])
@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("at", [4, 6, 11])  # the first step of an epoch, and inside of two
def test_a_run_goes_on_with_the_new_shapes_to_the_same_weights(tmp_path, kind, turns, at):
    options = {"kind": kind, "turns": turns}
    whole = reclustered(**options)
    go(whole, tmp_path / "whole")
    broken = reclustered(**options)
    stop_at(broken, at)
    with pytest.raises(KeyboardInterrupt):
        go(broken, tmp_path / "run")
    torch.manual_seed(99)
    resumed = reclustered(**options)
    go(resumed, tmp_path / "run", resume=True)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert resumed.assignments.dtype == torch.int64 and resumed.nearest.shape == (4, 5)
    ended, expected = state(tmp_path / "run"), state(tmp_path / "whole")
    assert ended.pop("seconds") and expected.pop("seconds") and ended.pop("shapes") == expected.pop("shapes")
    torch.testing.assert_close(ended, expected, rtol=0, atol=0)


def test_sizes_beside_the_weights_come_back_too(tmp_path):
    broken = reclustered()
    stop_at(broken, 6)
    with pytest.raises(KeyboardInterrupt):
        go(broken, tmp_path / "run")
    resumed, widths = reclustered(), []
    loss = resumed.loss
    resumed.loss = lambda views: widths.append(resumed.head[-1].out_features) or loss(views)
    go(resumed, tmp_path / "run", resume=True)
    assert widths == [3, 3, *[4] * 4, *[5] * 4]


@pytest.mark.parametrize("turns", [False, True])
def test_the_optimizer_forgets_the_old_head_and_nothing_else(tmp_path, turns):
    method, counts = reclustered(turns=turns), []
    stop_at(method, 6)
    with pytest.raises(KeyboardInterrupt):
        go(method, tmp_path / "run")
    saved = state(tmp_path / "run")
    for name in ("optimizer head", "optimizer learner") if turns else ("optimizer",):
        counts += [int(known["step"]) for known in saved[name]["state"].values()]
    trained = [*method.encoder.parameters(), *method.scale.parameters()]
    assert sorted(counts) == sorted([6] * len(trained) + [2] * len(list(method.head.parameters())))
    assert saved["shapes"]["replaced"]["head"]["3"]["out_features"] == 3


def test_a_method_whose_shapes_stay_has_no_word_of_them_in_its_checkpoint(denoise, vectors, tmp_path):
    go(denoise, tmp_path / "run")
    assert "shapes" not in state(tmp_path / "run")


def test_a_checkpoint_with_shapes_of_another_method_is_refused(denoise, tmp_path):
    go(reclustered(), tmp_path / "run")
    with pytest.raises(BadInput, match=r"last\.pt is not of this run"):
        go(denoise, tmp_path / "run", resume=True)
    saved = state(tmp_path / "run")
    for wrong in ({"replaced": {}, "buffers": []}, {"replaced": {"nose": {}}, "buffers": []}, {}):
        save_checkpoint(tmp_path / "run" / "checkpoint" / "last.pt", {**saved, "shapes": wrong})
        with pytest.raises(BadInput, match=r"last\.pt is not of this run"):
            go(reclustered(), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("tail", nn.Linear(2, 2), "no part 'tail'"),
        ("encoder", nn.Linear(2, 2), "no part 'encoder' beside its encoder"),
        ("head", nn.Linear(6, 3), "needs the layers of the old part"),
        ("head", mlp(6, 8, 3, act=nn.GELU), "needs the layers of the old part"),
        ("scale", nn.Linear(6, 3, bias=False), "needs the layers of the old part"),
    ],
)
def test_what_cannot_be_replaced_is_refused(name, part, message):
    with pytest.raises(ValueError, match=message):
        reclustered().replace(name, part)
