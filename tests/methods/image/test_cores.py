"""A fixed simplex, who learns, and the sums of the table of versions."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.methods.image import encoders
from vergence.methods.image.cores import CoReS, Stationary, compatibility, simplex, verification

CONTRACT = {"options": {"classes": 12}}


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_the_gram_matrix_of_the_simplex(count):
    w = simplex(count).double()
    assert w.shape == (count, count - 1)
    expected = torch.full((count, count), -1 / (count - 1), dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(w @ w.T, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(w.sum(0), torch.zeros(count - 1, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(200))


def made(classes=12, seed=0):
    torch.manual_seed(seed)
    return CoReS(encoders.build("resnet-tiny", size=16, width=16), classes=classes)


def test_vertices_are_the_same_in_every_version_and_unused_ones_stay_in_the_softmax(digits):
    method = made()
    assert torch.equal(method.vertices, made(seed=1).vertices)
    assert not any(name.endswith("vertices") for name, _ in method.named_parameters())
    batch = next(digits.loader(32, spec={"size": 16}))
    with torch.no_grad():
        method.encoder.place.weight.zero_()
    # features of 0 give equal logits for all 12 vertices, ten of them classes
    assert method.loss(method.views(batch))["place"].item() == pytest.approx(np.log(12))


def test_everything_but_the_vertices_learns(digits):
    method = made()
    batch = next(digits.loader(32, spec={"size": 16}))
    method.loss(method.views(batch))["place"].backward()
    assert all(p.grad is not None for p in method.parameters())
    assert method.embed(batch).shape == (32, 11)


def test_a_perfect_feature_is_its_vertex():
    w = simplex(5)
    costs = [
        torch.nn.functional.cross_entropy(scale * w @ w.T, torch.arange(5)).item() for scale in (1, 3, 10)
    ]
    assert costs[0] > costs[1] > costs[2] > 0 and costs[2] < 1e-4


def test_two_versions_put_a_class_in_the_same_place(digits, tmp_path):
    few = digits.subset(np.flatnonzero(digits.labels < 5))
    runs = []
    for seed, source in enumerate((few, digits)):
        torch.manual_seed(seed)
        net = encoders.build("resnet-tiny", size=16, width=16)
        options = {"epochs": 12, "batch_size": 32, "lr": 0.05, "quiet": True, "seed": seed}
        runs.append(
            vergence.learn("cores", source, encoder=net, out=tmp_path / str(seed), classes=12, **options)
        )
    batch = next(digits.loader(200, spec={"size": 16}))
    old, new = (torch.nn.functional.normalize(run.encoder(batch).float(), dim=1) for run in runs)
    label = batch.label
    known = label < 5
    same = (label[:, None] == label[None])[known][:, known]
    across = (new[known] @ old[known].T).detach()
    assert across[same].mean() > across[~same].mean() + 0.15
    again = vergence.load(tmp_path / "1")
    assert isinstance(again, Stationary) and again.out_dim == 11
    torch.testing.assert_close(again(batch).float(), runs[1].encoder(batch).float())


def test_sums_of_the_table_by_hand():
    table = np.array([[0.6, 9, 9], [0.7, 0.8, 9], [0.5, 0.9, 0.85]])
    result = compatibility(table)
    assert result.share == pytest.approx(2 / 3)  # 0.7 > 0.6, 0.5 < 0.6, 0.9 > 0.8
    assert result.mean == pytest.approx((0.6 + 0.7 + 0.8 + 0.5 + 0.9 + 0.85) / 6)
    assert np.isnan(result.table[0, 1]) and np.isnan(compatibility([[1.0]]).share)


def test_verification_is_perfect_where_a_threshold_is_and_chance_where_none():
    random = np.random.default_rng(0)
    centres, label = np.eye(6), random.integers(0, 6, 400)
    other = np.where(random.random(400) < 0.5, label, (label + 1) % 6)
    x = centres[label] + 0.05 * random.standard_normal((400, 6))
    y = centres[other] + 0.05 * random.standard_normal((400, 6))
    assert verification(x, y, label == other) == 1
    assert verification(3 * x, 0.1 * y, label == other) == 1, "by cosine"
    noise = random.standard_normal((2, 400, 6))
    assert 0.38 < verification(noise[0], noise[1], label == other) < 0.62


def test_mistakes_are_told(digits):
    with pytest.raises(BadInput, match="10 classes, more than the 4 vertices"):
        made(classes=4).setup(digits)
    with pytest.raises(BadInput, match="2 or more vertices"):
        simplex(1)
    with pytest.raises(BadInput, match="2 to that many folds"):
        verification(np.ones((3, 2)), np.ones((3, 2)), np.ones(3, bool), folds=4)
