"""Engines, rewards, the Gaussian process and the draw by hand; a search that finds what the target shows."""

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.engine import embed
from vergence.methods.image.iexplorer import InternetExplorer, regressed, tiered
from vergence.methods.image.search_engines import LocalEngine, SearchEngine, as_engine
from vergence.store.table import Store
from vergence.views.pixels.augment import plain


def quick():
    return {
        "pool": vergence.open("digits").subset(np.arange(100, 500)), "learner": "simclr",
        "backbone": "resnet-tiny", "rounds": 2, "queries": 3, "images": 20, "epochs": 1, "batch_size": 16,
        "lr": 1e-3, "optimizer": "adamw",
    }  # fmt: skip


CONTRACT = {"source": lambda: vergence.open("digits").subset(np.arange(40)), "options": quick}


class Pixels(nn.Module):
    input_spec, out_dim = {"size": 16}, 256

    def forward(self, batch):
        return plain(batch, 16).mean(1).flatten(1)


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits")


@pytest.fixture(scope="module")
def engine(digits):
    return as_engine(digits.subset(np.arange(600)), Pixels())


def test_classes_are_the_concepts_of_a_labelled_collection(engine):
    assert isinstance(engine, SearchEngine) and engine.concepts == [str(i) for i in range(10)]
    result = engine.search("7", 12, seed=3)
    assert len(result) == 12 and (result.labels == 7).all()
    assert result.names == engine.search("7", 12, seed=3).names != engine.search("7", 12, seed=4).names
    assert len(engine.search("7", 10_000)) == (engine.of == 7).sum()
    x = embed(Pixels(), engine.source.subset(np.flatnonzero(engine.of == 2))).vectors
    expected = (x / np.linalg.norm(x, axis=1, keepdims=True)).mean(0)
    np.testing.assert_allclose(engine.vectors[2], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(BadInput, match="knows no concept 'cat'"):
        engine.search("cat", 3)


def test_clusters_are_those_of_an_unlabelled_one(digits):
    source = digits.subset(np.arange(200))
    x = embed(Pixels(), source).vectors
    result = LocalEngine.of_vectors(source, x, concepts=6)
    assert len(result.concepts) == len(result.vectors) <= 6
    pictures = result.search(result.concepts[0], 500)
    assert len(pictures) == (result.of == 0).sum() > 0


def test_a_store_is_searched_by_its_own_vectors(tmp_path):
    source = vergence.open("digits")
    x = np.random.default_rng(0).standard_normal((len(source), 4)).astype(np.float32)
    store = Store.create(tmp_path / "s.lance", source, x, thumbnail=0)
    result = as_engine(str(store.path), Pixels())
    assert result.vectors.shape == (10, 4) and len(result.source) == len(source)
    lost = Store.create(tmp_path / "t.lance", None, x, ids=[str(i) for i in range(len(x))])
    with pytest.raises(BadInput, match="does not know which pictures"):
        as_engine(lost, Pixels())


def test_rewards_by_hand():
    explorer = InternetExplorer(neighbours=2, best=3)
    target = torch.eye(3)
    pictures = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, -1.0]])
    np.testing.assert_allclose(explorer.image_rewards(pictures, target), [0.5, 0.7, 0.0], atol=1e-6)
    assert explorer.query_reward(np.array([0.1, 0.9, 0.5, 0.7])) == pytest.approx(0.7)
    assert explorer.query_reward(np.array([0.2])) == pytest.approx(0.2)
    assert np.isnan(explorer.query_reward(np.array([])))


def test_the_process_predicts_what_lies_between_and_doubts_what_lies_far():
    angle = np.linspace(0, np.pi, 25)
    vectors = np.stack([np.cos(angle), np.sin(angle), np.zeros(25)], 1)
    vectors = np.concatenate([vectors, [[0, 0, 30.0]]])
    reward = 5 + np.sin(2 * angle)
    known = np.arange(0, 25, 4)
    mean, deviation = regressed(vectors, known, reward[known])
    assert np.abs(mean[:25] - reward).max() < 0.35 < np.ptp(reward) / 2
    assert np.corrcoef(mean[:25], reward)[0, 1] > 0.95
    assert deviation[25] > 2 * deviation[known].max()


def test_tiers_share_chances_and_leave_some_to_all():
    ratings = np.arange(40.0)
    p = tiered(ratings)
    assert p.sum() == pytest.approx(1) and p.min() > 0
    assert p[[38, 39]].sum() == pytest.approx(0.8) and p[30:38].sum() == pytest.approx(0.1)
    assert np.ptp(p[:30]) == 0
    explorer = InternetExplorer()
    assert explorer.odds(ratings, 0.0) == pytest.approx(np.full(40, 1 / 40))
    assert explorer.odds(ratings, 0.5) == pytest.approx(p) == explorer.odds(ratings, 1.0)
    assert explorer.odds(np.zeros(40), 1.0) == pytest.approx(np.full(40, 1 / 40)), "nothing is known yet"
    assert tiered(np.arange(2.0)).sum() == pytest.approx(1)


def test_it_asks_more_and_more_for_what_the_target_shows(digits, monkeypatch):
    pool = digits.subset(np.arange(600))
    engine = LocalEngine.of_vectors(pool, embed(Pixels(), pool).vectors, concepts=60)
    fours = np.array([(pool.labels[engine.of == i] == 4).mean() for i in range(len(engine.concepts))])
    wanted = digits.subset(600 + np.flatnonzero(digits.labels[600:1000] == 4)[:30])
    explorer = InternetExplorer(pool=engine, init=Pixels(), rounds=8, queries=5, images=5, learner="simclr")
    monkeypatch.setattr(InternetExplorer, "learn_on", lambda *_: None)
    explorer.fit(wanted, seed=0)
    assert all(len(set(one.queries)) == 5 and one.pictures <= 25 for one in explorer.history)
    early, late = (
        np.concatenate([one.queries for one in explorer.history[part]]) for part in (slice(3), slice(4, 8))
    )
    assert fours[late].mean() > max(0.3, 2 * fours[early].mean())
    rewards = {c: r for one in explorer.history for c, r in zip(one.queries, one.rewards, strict=True)}
    assert fours[max(rewards, key=rewards.get)] > 0.5


def test_a_run_learns_on_from_the_target_and_what_was_found(digits, tmp_path):
    target = digits.subset(np.arange(40))
    run = vergence.learn("iexplorer", target, out=tmp_path / "run", quiet=True, **quick())
    result = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["result"]
    assert [len(names) for names in result["queries"]] == [3, 3] == [len(r) for r in result["rewards"]]
    assert set(sum(result["queries"], [])) <= {str(i) for i in range(10)}
    again = vergence.load(tmp_path / "run")
    assert torch.equal(next(again.parameters()), next(run.encoder.parameters()))


def test_the_target_is_half_of_what_is_learned_from(digits, monkeypatch):
    from vergence.methods.image import iexplorer as module

    seen = []
    monkeypatch.setattr(module, "train_method", lambda method, source, *_, **__: seen.append(source))
    explorer = InternetExplorer(learner="simclr")
    target, others = digits.subset(np.arange(30)), [digits.subset(np.arange(a, a + 25)) for a in (100, 200)]
    explorer.learn_on(None, target, others, np.random.default_rng(0), 0)
    assert len(seen[0]) == 60
    names = [name.partition("/")[2] for name in seen[0].names]
    assert names[:30] == list(target.names) and len(set(names)) == 60
    assert set(names[30:]) <= {*others[0].names, *others[1].names}
    explorer.learn_on(None, target, others[:1], np.random.default_rng(0), 0)
    assert len(seen[1]) == 55, "fewer others than the target: all of them"


def test_mistakes_are_told(digits):
    with pytest.raises(BadInput, match="needs --pool"):
        InternetExplorer().fit(digits)
    with pytest.raises(BadInput, match="1 or more rounds"):
        InternetExplorer(rounds=0)
    with pytest.raises(BadInput, match="2 names and 1 vectors"):
        LocalEngine(digits.subset(np.arange(3)), np.zeros(3, int), ["a", "b"], np.zeros((1, 2)))
