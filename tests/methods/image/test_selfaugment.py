"""The probe, what judges policies, and the whole search on small photos."""

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.methods.image.selfaugment import (
    OBJECTIVES,
    SelfAugment,
    Turns,
    Views,
    rotation_probe,
    turned_features,
)
from vergence.views.pixels.augment import Augment, plain
from vergence.views.pixels.operations import Policy

SMALL = {
    "backbone": "resnet-tiny", "bases": ("crop",), "folds": 2, "repeats": 1, "trials": 4, "keep": 1,
    "lists": 2, "search_epochs": 1, "epochs": 1, "batch_size": 32, "lr": 1e-3, "optimizer": "adamw",
}  # fmt: skip
CONTRACT = {"source": lambda: some_digits(), "options": {**SMALL, "trials": 2}}


def some_digits():
    return vergence.open("digits").subset(np.arange(160))


class Corners(nn.Module):
    """The brightness of the four quarters of a photo: tells a turn wherever quarters differ."""

    input_spec, out_dim = {"size": 16}, 4

    def forward(self, batch):
        return torch.nn.functional.avg_pool2d(plain(batch, 16), 8).mean(1).flatten(1)


class Total(nn.Module):
    input_spec, out_dim = {"size": 16}, 1

    def forward(self, batch):
        return plain(batch, 16).mean((1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def lit(tmp_path_factory):
    """Photos that are lit from above left."""
    from PIL import Image

    folder, random = tmp_path_factory.mktemp("lit"), np.random.default_rng(0)
    for i in range(60):
        x = random.uniform(60, 120, (16, 16, 3))
        x[:8, :8] += 90
        Image.fromarray(x.astype(np.uint8)).save(folder / f"{i:02}.png")
    return vergence.open(folder)


def test_the_probe_is_right_where_turns_show_and_at_chance_where_they_do_not(lit):
    train, test = lit.subset(np.arange(40)), lit.subset(np.arange(40, 60))
    result = rotation_probe(Corners(), train, test)
    assert result.shape == (20, 4) and result.mean() > 0.95
    assert rotation_probe(Total(), train, test).mean() < 0.45, "a turn does not change the sum"
    x, turns = turned_features(Corners(), lit)
    assert x.shape == (240, 4) and np.bincount(turns).tolist() == [60] * 4
    quarter = x[60:120].reshape(60, 2, 2)
    np.testing.assert_allclose(np.rot90(x[:60].reshape(60, 2, 2), 1, (1, 2)), quarter, atol=0.003)


def test_the_head_is_a_linear_layer_on_features_as_they_come():
    random = np.random.default_rng(0)
    y = np.arange(200) % 4
    x = np.eye(4)[y] * 50 + random.standard_normal((200, 4)) + 1000
    head = Turns.fit(x.astype(np.float32), y)
    assert (head(torch.from_numpy(x)).argmax(1).numpy() == y).mean() == 1


def test_views_come_after_the_policy_and_without_one_are_the_base(lit):
    batch = next(lit.loader(6, spec={"size": 16}))
    base = Augment(16, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter_p=0.0, grey=0.0, blur=0.0)
    first, second = Views(base)(batch)
    torch.testing.assert_close(first.pixels, plain(batch, 16), atol=1e-5, rtol=0)
    assert torch.equal(first.pixels, second.pixels)
    inverted = Views(base, Policy([[("invert", 1.0, 0.0)]]))(batch)[0].pixels
    torch.testing.assert_close(inverted, 1 - first.pixels, atol=0.003, rtol=0)


@pytest.fixture(scope="module")
def small():
    return SMALL


@pytest.fixture(scope="module")
def digits():
    return some_digits()


def test_a_judge_repeats_itself_and_tells_what_hides_turns(digits, small):
    chooser = SelfAugment(**small)
    chooser.base = "crop"
    rest, held = digits.subset(np.arange(100)), digits.subset(np.arange(100, 160))
    judge = chooser.judge(rest, held, 0)
    state = torch.random.get_rng_state()
    gone = Policy([[("brightness", 1.0, 0.0), ("contrast", 1.0, 0.0)]])  # nearly black
    assert judge(None) == judge(None)
    assert judge(gone)[0] > judge(None)[0]
    assert torch.equal(state, torch.random.get_rng_state())
    fixed = [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0)]
    best = {name: max(fixed, key=lambda x: -f(*x)) for name, f in OBJECTIVES.items()}
    assert best == {"min-max": (1.0, 3.0), "rotation": (1.0, 1.0), "contrast": (1.0, 3.0)}


def test_min_max_weighs_both_losses_alike_however_widely_they_vary(small):
    random, seen = np.random.default_rng(0), []

    def judge(policy):
        seen.append((1 + 0.04 * random.normal(), 3 + 0.22 * random.normal()))
        return seen[-1]

    tried = SelfAugment(**{**small, "trials": 80}).tries(judge, seed=0)
    rotation, contrast = ((x - x[:20].mean()) / x[:20].std() for x in np.array(seen).T)
    np.testing.assert_allclose(tried.losses, rotation - contrast, rtol=1e-9)
    assert rotation[:20].std() == pytest.approx(contrast[:20].std())


def test_a_run_leaves_encoder_and_policy(digits, small, tmp_path):
    run = vergence.learn("selfaugment", digits, out=tmp_path / "run", quiet=True, **small)
    result = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["result"]
    assert result["base"] == "crop" and len(result["policy"]) == 2 * 1 * 2  # folds, kept, lists
    Policy([[tuple(step) for step in one] for one in result["policy"]])
    assert vergence.load(tmp_path / "run").out_dim == run.encoder.out_dim


def test_the_base_is_the_transform_with_the_best_probe(digits, small, monkeypatch):
    from vergence.methods.image import selfaugment as module

    values = iter([0.3, 0.7, 0.5])
    monkeypatch.setattr(module, "rotation_probe", lambda *_: np.full((3, 4), next(values)))
    monkeypatch.setattr(SelfAugment, "train", lambda self, *_, **__: type("M", (), {"encoder": None}))
    chooser = SelfAugment(**{**small, "bases": ("crop", "flip", "grey")})
    parts = np.array_split(np.arange(160), 2)
    assert chooser.best_base(digits, parts, 0) == "flip"
    assert chooser.probes == pytest.approx({"crop": 0.3, "flip": 0.7, "grey": 0.5})


def test_mistakes_are_told(small):
    for options, message in (
        ({"bases": ("crp",)}, "did you mean 'crop'"),
        ({"keep": 9}, "9 of 4"),
        ({"objective": "minmax"}, "did you mean 'min-max'"),
    ):
        with pytest.raises(BadInput, match=message):
            SelfAugment(**{**small, **options})
    with pytest.raises(BadInput, match="pairs of views, such as simclr; got rotnet"):
        SelfAugment(**{**small, "learner": "rotnet"}).fit(vergence.open("digits").subset(np.arange(64)))
