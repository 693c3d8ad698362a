import dataclasses

import pytest
import yaml

import vergence
from vergence.benchmarks.records._images import ADAMW
from vergence.core import Recipe, RunConfig
from vergence.engine.training import header, resolved
from vergence.methods import method_class

LARS_PAPERS = ("simclr", "vicreg", "barlow", "byol")


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits")


def settings(recipe, source, **given):
    return resolved(RunConfig(method="any", source="digits", **given), recipe, source)


@pytest.mark.parametrize("key", LARS_PAPERS)
def test_small_batches_take_adamw_and_large_ones_the_papers_recipe(key, digits):
    paper, rate = method_class(key).recipe, {"barlow": 1e-3}.get(key, 2e-3)  # as measured
    for batch in (128, 256, 1023):
        used = settings(paper, digits, batch_size=batch, epochs=20).recipe
        assert (used.optimizer, used.lr, used.lr_scaling, used.weight_decay) == ("adamw", rate, "none", 1e-4)
        assert used.warmup == pytest.approx(2.0) and used.epochs == 20
    large = settings(paper, digits, batch_size=1024).recipe
    assert large == dataclasses.replace(paper, warmup=paper.warmup)


@pytest.mark.parametrize("key", LARS_PAPERS)
def test_the_papers_own_recipe_comes_when_it_is_asked_for(key, digits):
    paper = method_class(key).recipe
    assert settings(paper, digits, batch_size=128, optimizer="lars").recipe == paper


@pytest.mark.parametrize("key", LARS_PAPERS)
def test_a_record_that_states_its_optimizer_and_rate_is_trained_as_before(key, digits):
    paper = method_class(key).recipe
    used = settings(paper, digits, batch_size=128, epochs=8, **ADAMW).recipe
    assert used == dataclasses.replace(paper, epochs=8, batch=128, lr_scaling="none", **ADAMW)
    without_decay = {name: value for name, value in ADAMW.items() if name != "weight_decay"}
    used = settings(paper, digits, batch_size=128, epochs=8, **without_decay).recipe
    assert used.weight_decay == paper.weight_decay


def test_the_rate_falls_by_the_papers_share(digits):
    paper = Recipe(optimizer="lars", lr=4.8, min_lr=4.8e-3, batch=4096)
    assert settings(paper, digits, batch_size=128).recipe.min_lr == pytest.approx(2e-6)


def test_adam_without_a_rate_does_not_take_that_of_lars(digits):
    paper = method_class("simclr").recipe
    used = settings(paper, digits, batch_size=1024, optimizer="adam").recipe
    assert (used.optimizer, used.lr, used.lr_scaling) == ("adam", 2e-3, "none")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(optimizer="sgd", lr=0.03),
        Recipe(optimizer="adamw", lr=1e-4, batch=4096),
        Recipe(optimizer="lars", lr=0.2, lr_scaling="none"),
    ],
    ids=["sgd", "adamw", "lars at one rate"],
)
def test_recipes_whose_rate_is_not_scaled_down_from_a_large_batch_of_lars_stay(recipe, digits):
    assert settings(recipe, digits, batch_size=128).recipe == recipe


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"batch_size": 128},
            "AdamW at batch 128: rate 0.002; the paper has LARS for a batch of 4,096 (--optimizer lars)",
        ),
        (
            {"batch_size": 128, "optimizer": "adamw", "lr": 1e-3},
            "AdamW at batch 128: rate 0.001; the paper has LARS for a batch of 4,096",
        ),
        ({"batch_size": 1024}, "LARS at batch 1,024: rate 1.2"),
        ({"batch_size": 128, "optimizer": "lars"}, "LARS at batch 128: rate 0.15"),
        ({"batch_size": 128, "optimizer": "lars", "lr": 0.8}, "LARS at batch 128: rate 0.8"),
    ],
)
def test_the_header_says_which_optimizer_at_which_batch(given, said, digits):
    paper = method_class("simclr").recipe
    assert header(paper, settings(paper, digits, **given)) == said


def test_a_run_says_its_optimizer_and_keeps_it(digits, tmp_path, capsys):
    vergence.learn(
        "vicreg", digits.subset(range(32)), encoder="resnet-tiny", encoder_options={"width": 8}, size=16,
        epochs=1, batch_size=16, hidden=8, out=tmp_path / "run",
    )  # fmt: skip
    assert "AdamW at batch 16: rate 0.002; the paper has LARS" in capsys.readouterr().err
    recipe = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["recipe"]
    assert (recipe["optimizer"], recipe["lr"]) == ("adamw", 2e-3)
