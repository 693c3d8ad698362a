"""Embedder: scikit-learn's own checks, and pipelines on tables and images."""

import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

import vergence
from vergence.core import BadInput

FAST = {"epochs": 1, "batch_size": 32}
FAILS: dict[str, str] = {}
CHECKS = list(
    estimator_checks_generator(vergence.Embedder(**FAST), expected_failed_checks=FAILS, mark="xfail")
)


@pytest.mark.parametrize(("embedder", "check"), CHECKS)
def test_scikit_learns_checks(embedder, check):
    check(embedder)


def test_how_many_checks_there_are():
    assert len(CHECKS) > 35


@pytest.fixture(scope="module")
def wine():
    return load_wine(as_frame=True)


def test_a_pipeline_on_a_table(wine):
    pipeline = make_pipeline(vergence.Embedder(epochs=5, batch_size=64), LogisticRegression(max_iter=2000))
    assert cross_val_score(pipeline, wine.data, wine.target, cv=3).mean() > 0.85


def test_frames_go_in_and_come_out(wine):
    frame = wine.data.assign(colour=["red", "white"] * 89).astype({"colour": "category"})
    embedder = vergence.Embedder(**FAST).set_output(transform="pandas").fit(frame)
    out = embedder.transform(frame[:5])
    assert list(out.columns[:2]) == ["embedder0", "embedder1"] and list(out.index) == [0, 1, 2, 3, 4]
    assert embedder.feature_names_in_.tolist() == list(frame.columns)
    other = embedder.transform(frame[:5].assign(colour=pd.Categorical(["white"] * 5)))
    assert not np.allclose(out.iloc[0], other.iloc[0]) and np.allclose(out.iloc[1], other.iloc[1], atol=1e-5)
    with pytest.raises(ValueError, match="feature names"):
        embedder.transform(frame.rename(columns={"colour": "tint"}))


@pytest.mark.parametrize("images", ["grey", "colour", "pil"])
def test_a_pipeline_on_images(images):
    digits = load_digits(n_class=3)
    grey = (digits.images[:90] / 16).astype(np.float32)
    given = {
        "grey": lambda: grey,
        "colour": lambda: np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=3),
        "pil": lambda: [Image.fromarray((picture * 255).astype(np.uint8)) for picture in grey],
    }[images]()
    pipeline = make_pipeline(
        vergence.Embedder(encoder="resnet-tiny", **FAST), LogisticRegression(max_iter=2000)
    )
    pipeline.fit(given[:60], digits.target[:60])
    assert pipeline.score(given[60:], digits.target[60:90]) > 0.8


def test_a_clone_is_unfitted_and_a_pickle_answers_alike(wine, tmp_path):
    embedder = vergence.Embedder("vicreg", options={"hidden": 64}, out=tmp_path / "run", **FAST).fit(
        wine.data
    )
    again = pickle.loads(pickle.dumps(embedder))
    assert np.array_equal(again.transform(wine.data), embedder.transform(wine.data))
    assert vergence.open_run(tmp_path / "run").config.method == "vicreg"
    copy = clone(embedder)
    assert copy.get_params() == embedder.get_params() and not hasattr(copy, "encoder_")


def test_what_cannot_be_learned_from_is_one_line():
    with pytest.raises(BadInput, match="needs 4 images or more; got 2"):
        vergence.Embedder().fit(np.zeros((2, 8, 8)))
    with pytest.raises(BadInput, match="Unknown paper 'simcrl'|did you mean"):
        vergence.Embedder("simcrl").fit(np.zeros((8, 3)))
