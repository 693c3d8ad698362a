"""Several optimizers: whose turn it is, what is frozen, what is held out, and that a kill changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from tiny_methods import contest
from vectors import Vectors
from vergence.core import BadInput, Method, Recipe, RunConfig, Turn
from vergence.engine.batches import split
from vergence.engine.devices import make_fabric
from vergence.engine.files import load_checkpoint
from vergence.engine.loop import train


def go(method, out, *, resume=False, **settings):
    settings = {"recipe": method.recipe, "batch_size": 16, "seed": 1, **settings}
    config = RunConfig(method=type(method).__name__, source="vectors", **settings)
    fabric = make_fabric("fp32", devices=1)
    return train(method, Vectors(), config, out=out, fabric=fabric, resume=resume, quiet=True)


def weights(method):
    return {k: v.clone() for k, v in method.state_dict().items()}


def assert_equal(result, expected):
    assert result.keys() == expected.keys()
    assert [name for name in result if not torch.equal(result[name], expected[name])] == []


def test_a_turn_trains_its_own_parameters_and_leaves_no_gradient_on_others(tmp_path):
    method = contest(seen=[])
    names = {n for n, _ in method.named_parameters()}
    go(method, tmp_path / "run")
    own = {
        "mix": {"mix"},
        "critic": {n for n in names if n.startswith("critic.")},
        "learner": {n for n in names if n.startswith(("encoder.", "decoders."))},
    }
    for turn, _, _, trained, stray in method.seen:
        assert set(trained) == own[turn] and stray == []
    assert all(p.requires_grad and p.grad is None for p in method.parameters())


def test_turns_come_in_order_as_often_as_they_say_and_share_the_views_of_their_batch(tmp_path):
    method = contest(seen=[])
    go(method, tmp_path / "run")
    steps = [[turn for turn, at, *_ in method.seen if at == step] for step in range(9)]  # 48 of 64, in 16s
    assert steps == [["mix", "critic", "learner"], ["critic", "learner"]] * 4 + [["mix", "critic", "learner"]]
    for step in range(9):
        views = {turn: views for turn, at, views, *_ in method.seen if at == step}
        assert views["critic"][0] is views["learner"][0]
    assert method.steps == 9


def test_train_turns_never_see_what_is_held_out(tmp_path):
    method = contest(seen=[])
    go(method, tmp_path / "run")
    rows = {
        kind: {
            tuple(row)
            for turn, _, views, *_ in method.seen
            if (turn == "mix") == kind
            for row in views[1].tolist()
        }
        for kind in (True, False)
    }
    assert len(rows[True]) == 16 and len(rows[False]) == 48 and not rows[True] & rows[False]


@pytest.mark.parametrize(("share", "count"), [(0.25, 16), (0.001, 1), (0.999, 63)])
def test_the_split_is_drawn_from_the_seed_and_holds_out_the_stated_share(share, count):
    (train_part, held), (_, again), (_, other) = (split(Vectors(), share, seed) for seed in (1, 1, 2))
    assert len(held) == count and sorted([*train_part.names, *held.names]) == sorted(Vectors().names)
    assert held.names == again.names and (held.names != other.names)


class Linear(nn.Linear):
    def forward(self, batch):
        return super().forward(batch if isinstance(batch, torch.Tensor) else batch.x)


class Duel(Method):
    """Two linear layers without chance: what a loop written by hand can follow."""

    recipe = Recipe(optimizer="sgd", lr=0.1, lr_scaling="none", batch=16, epochs=2, clip=0.5)

    def __init__(self):
        super().__init__(Linear(8, 4))
        self.critic = nn.Linear(4, 1)

    def optimizers(self):
        own = Recipe(optimizer="adam", lr=0.01, lr_scaling="none", schedule="constant")
        return {"critic": Turn(self.critic, loss="critic_loss", recipe=own), "encoder": Turn(self.encoder)}

    def views(self, batch):
        return batch.x

    def critic_loss(self, x):
        return {"fall": softplus(self.critic(self.encoder(x))).mean()}

    def loss(self, x):
        return {
            "rise": softplus(-self.critic(self.encoder(x))).mean(),
            "small": self.encoder(x).square().mean(),
        }


def test_a_method_has_what_is_held_out_when_it_looks_at_the_rest(tmp_path):
    class Judged(Duel):
        recipe = replace(Duel.recipe, val_share=0.25)

        def setup(self, source):
            self.parts = len(source), len(self.held_out)
            assert sorted([*source.names, *self.held_out.names]) == sorted(Vectors().names)

    method = Judged()
    assert len(go(method, tmp_path / "run").metrics) == 6 and method.parts == (48, 16)
    plain = Duel()
    go(plain, tmp_path / "plain")
    assert plain.held_out is None


def test_turns_are_the_loop_written_by_hand(tmp_path):
    torch.manual_seed(0)
    method = Duel()
    start = weights(method)
    go(method, tmp_path / "run")
    result = weights(method)
    method.load_state_dict(start)
    sgd = torch.optim.SGD(method.encoder.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(method.critic.parameters(), lr=0.01)
    for step in range(8):
        epoch, done = divmod(step, 4)
        x = next(Vectors().loader(16, shuffle=True, seed=1, epoch=epoch, start=done)).x
        adam.zero_grad(), sgd.zero_grad()
        method.critic_loss(x)["fall"].backward()
        adam.step()
        adam.zero_grad(), sgd.zero_grad()
        sum(method.loss(x).values()).backward()
        nn.utils.clip_grad_norm_(method.encoder.parameters(), 0.5)
        sgd.param_groups[0]["lr"] = 0.1 * 0.5 * (1 + np.cos(np.pi * step / 8))
        sgd.step()
    for name, value in weights(method).items():
        torch.testing.assert_close(result[name], value)


def test_each_turn_has_its_own_rates_and_terms_in_the_metrics(tmp_path):
    rows = go(contest(), tmp_path / "run").metrics
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert {row["critic/lr"] for row in rows} == {0.003}
    assert [row["learner/lr"] for row in rows[:4]] == [0.0025, 0.005, 0.0075, 0.01]  # an epoch of warm-up
    assert [row["mix/loss"] is None for row in rows] == [False, True] * 4 + [False]
    for row in rows:
        assert row["loss"] == pytest.approx(row["critic/loss"] + row["learner/loss"], rel=1e-4)
        assert row["critic/loss"] == pytest.approx(row["critic/real"] + row["critic/made"], rel=1e-4)
        assert row["spread"] > 0


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path):
    result = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        method = Duel()
        go(method, tmp_path / str(accumulate), accumulate=accumulate)
        result.append(weights(method))
    for name, value in result[0].items():
        torch.testing.assert_close(result[1][name], value)


class CrashError(Exception):
    pass


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("turn", "at"), [("mix", 4), ("critic", 1), ("learner", 5), ("learner", 8)])
def test_a_crash_inside_a_turn_resumes_to_the_same_weights_and_rows(tmp_path, turn, at, accumulate):
    whole = contest()
    options = {"save_every": 2, "accumulate": accumulate}
    expected = go(whole, tmp_path / "whole", **options).metrics
    broken = contest()
    entered = broken.enter

    def crash(name, views):
        entered(name, views)
        if (name, broken.clock.step) == (turn, at):
            raise CrashError

    broken.enter = crash
    with pytest.raises(CrashError):
        go(broken, tmp_path / "run", **options)
    assert load_checkpoint(tmp_path / "run" / "checkpoint" / "last.pt")["step"] == at // 2 * 2
    torch.manual_seed(99)
    resumed = contest()
    rows = go(resumed, tmp_path / "run", resume=True, **options).metrics
    assert_equal(weights(resumed), weights(whole))
    drop = {"samples_per_second"}
    plain = [[{k: v for k, v in row.items() if k not in drop} for row in table] for table in (rows, expected)]
    assert plain[0] == plain[1]
    saved = [load_checkpoint(tmp_path / name / "checkpoint" / "last.pt") for name in ("whole", "run")]
    for name in ("optimizer mix", "optimizer critic", "optimizer learner"):
        states = [part[name]["state"] for part in saved]
        torch.testing.assert_close(*states, rtol=0, atol=0)


def test_a_turn_whose_loss_is_no_number_stops_the_run(tmp_path):
    method = contest()
    critic_loss = method.critic_loss
    method.critic_loss = lambda views: {
        n: v * (np.nan if method.clock.step == 3 else 1) for n, v in critic_loss(views).items()
    }
    with pytest.raises(Exception, match=r"no longer a number at step 4 .*critic/loss nan"):
        go(method, tmp_path / "run")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (lambda m: {"a": Turn(m.critic, loss="lens_loss"), "b": Turn(m.encoder)}, "lens_loss, which Duel"),
        (lambda m: {"encoder": Turn(m.encoder)}, r"critic.weight is in no turn"),
        (lambda m: {"a": Turn(m), "b": Turn(m.critic)}, r"critic.weight is in several turns \(a, b\)"),
        (lambda m: {"a": Turn(m), "b": Turn([])}, "'b' has no parameters to train"),
        (lambda m: {"a": Turn(m.critic, every=2), "b": Turn(m.encoder, every=2)}, r"\(every=1\)"),
        (lambda m: {"a": Turn(m.critic, batches="val"), "b": Turn(m.encoder)}, r"set Recipe\.val_share"),
    ],
)  # fmt: skip
def test_turns_that_do_not_fit_are_one_clear_line(tmp_path, turns, message):
    method = Duel()
    method.optimizers = lambda: turns(method)
    with pytest.raises(BadInput, match=message) as caught:
        go(method, tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"batches": "test"}])
def test_a_turn_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValueError, match="every of 1 or more and batches 'train' or 'val'"):
        Turn(nn.Linear(2, 2), **wrong)


def test_a_single_turn_trains_as_one_optimizer_does_and_is_logged_under_its_name(tmp_path):
    class Alone(Duel):
        def optimizers(self):
            return {"all": Turn(self)}

    class Plain(Duel):
        def optimizers(self):
            return {}

    result = []
    for kind, names in ((Alone, {"all/lr", "all/loss", "all/rise"}), (Plain, {"lr", "loss", "rise"})):
        torch.manual_seed(0)
        method = kind()
        assert names < go(method, tmp_path / kind.__name__).metrics[0].keys()
        result.append(weights(method))
    assert_equal(*result)
