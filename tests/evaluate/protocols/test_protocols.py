"""k-NN, linear probe, few-shot, retrieval and clustering, each against a slower derivation."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import stratified
from vergence.evaluate.protocols.clustering import clustering, matched_accuracy, mutual_information
from vergence.evaluate.protocols.few_shot import draw_rows, few_shot
from vergence.evaluate.protocols.knn import knn, knn_predict
from vergence.evaluate.protocols.linear import SoftmaxPath, choose_strength, linear
from vergence.evaluate.protocols.retrieval import retrieval


def clouds(n, d=6, classes=4, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    y = rng.integers(classes, size=n)
    return (centres[y] + spread * rng.normal(size=(n, d))).astype(np.float32), y


def digits():
    x, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(x))
    x, y = x[rows].astype(np.float32), y[rows]
    return x[:1200], y[:1200], x[1200:], y[1200:]


def test_knn_equals_the_vote_written_as_a_loop():
    bank, bank_y = clouds(60)
    queries, y = clouds(25, seed=1)
    guesses = []
    for q in queries:
        cosines = bank @ q / np.linalg.norm(bank, axis=1) / np.linalg.norm(q)
        votes = [0.0] * 4
        for i in np.argsort(-cosines)[:7]:
            votes[bank_y[i]] += math.exp(cosines[i] / 0.5)
        guesses.append(int(np.argmax(votes)))
    predicted = knn_predict(*(torch.as_tensor(a) for a in (bank, bank_y, queries)), k=7, temperature=0.5)
    assert predicted.tolist() == guesses
    assert knn(bank, bank_y, queries, y, k=7, temperature=0.5).value == pytest.approx(np.mean(guesses == y))


def test_knn_at_high_temperature_is_the_plain_majority_of_scikit_learn():
    bank, bank_y = clouds(80)
    queries, y = clouds(60, seed=1)
    plain = KNeighborsClassifier(5, metric="cosine", weights=lambda d: np.exp(-d / 1e3)).fit(bank, bank_y)
    assert knn(bank, bank_y, queries, y, k=5, temperature=1e3).value == pytest.approx(plain.score(queries, y))


def test_knn_at_tiny_temperature_is_the_nearest_neighbour_and_stays_finite():
    bank, bank_y = clouds(80)
    queries, y = clouds(60, seed=1)
    assert knn(bank, bank_y, queries, y, temperature=1e-4).value == knn(bank, bank_y, queries, y, k=1).value


def test_knn_counts_a_class_the_bank_lacks_as_wrong():
    x, _ = clouds(10)
    assert knn(x, np.zeros(10, int), x, np.array([0] * 5 + [3] * 5)).value == 0.5


def test_protocols_say_which_input_is_wrong():
    x, y = clouds(10)
    with pytest.raises(ValueError, match=r"knn needs features \(n, D\).*got \(10, 6\) and \(9,\)"):
        knn(x, y[:9], x, y)
    with pytest.raises(ValueError, match="linear needs labels of at least 0"):
        linear(x, y - 5, x, y)
    broken = x.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 10 rows are not"):
        retrieval(broken, y)
    with pytest.raises(ValueError, match="temperature > 0, got 0"):
        knn(x, y, x, y, temperature=0)


def objective(weight, bias, x, y, strength):
    z = x @ weight + bias
    nll = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
    return nll.mean() + 0.5 * strength * (weight**2).sum()


@pytest.mark.parametrize("strength", [1e-1, 1e-3])
def test_softmax_regression_reaches_the_minimum_that_scikit_learn_finds(strength):
    x, y, _, _ = digits()
    scaled = StandardScaler().fit_transform(x)
    reference = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=5000).fit(scaled, y)
    fitted = SoftmaxPath(torch.tensor(x), torch.tensor(y), 10).solve(strength)
    least = objective(reference.coef_.T, reference.intercept_, scaled, y, strength)
    reached = objective(fitted.weight.double().numpy(), fitted.bias.double().numpy(), scaled, y, strength)
    assert reached == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("noise", [1e-3, 0.0])
def test_features_of_one_direction_are_told_apart_though_rounding_makes_their_covariance_indefinite(noise):
    torch.manual_seed(0)
    along = torch.randn(211, 1)
    x, y = along @ torch.randn(1, 600) + noise * torch.randn(211, 600), (along[:, 0] > 0).long()
    solved = SoftmaxPath(x, y, 2).solve(1e-6)
    assert (solved.logits(x).argmax(1) == y).float().mean() > 0.98


def test_softmax_path_ends_where_a_cold_start_ends():
    x, y = clouds(200)
    x, y = torch.tensor(x), torch.tensor(y)
    path = SoftmaxPath(x, y, 4)
    for strength in (1.0, 0.1, 0.01):
        warm = path.solve(strength)
    cold = SoftmaxPath(x, y, 4).solve(0.01)
    torch.testing.assert_close(warm.logits(x), cold.logits(x), atol=2e-3, rtol=0)


def test_linear_probe_on_digits_is_as_good_as_scikit_learn_at_its_best():
    x, y, test_x, test_y = digits()
    scaler = StandardScaler().fit(x)
    best = max(
        LogisticRegression(C=c, max_iter=2000)
        .fit(scaler.transform(x), y)
        .score(scaler.transform(test_x), test_y)
        for c in (0.01, 0.1, 1.0)
    )
    assert linear(x, y, test_x, test_y).value > best - 0.01


def test_linear_probe_takes_labels_with_gaps_constant_features_and_repeats_itself():
    x, y = clouds(300, spread=0.2)
    x = np.concatenate([x, np.full((300, 1), 7.0, np.float32)], axis=1)
    first = linear(x[:200], 10 * y[:200] + 3, x[200:], 10 * y[200:] + 3)
    assert first.value > 0.95
    assert first == linear(x[:200], 10 * y[:200] + 3, x[200:], 10 * y[200:] + 3)


def test_strength_is_the_one_that_does_best_on_the_held_out_rows():
    x, y = clouds(300, d=60, spread=2.0)
    x, y = torch.tensor(x), torch.tensor(y)
    strengths = (100.0, 0.3, 1e-3)
    fit, held = stratified(y.numpy(), 0.2, seed=4)
    right = [
        (SoftmaxPath(x[fit], y[fit], 4).solve(s).logits(x[held]).argmax(1) == y[held]).float().mean()
        for s in strengths
    ]
    assert len(set(right)) == 3
    assert choose_strength(x, y, 4, strengths=strengths, seed=4) == strengths[int(np.argmax(right))]


def test_linear_probe_needs_two_classes():
    x, _ = clouds(5)
    with pytest.raises(ValueError, match="2 or more classes, got 1"):
        linear(x, np.zeros(5, int), x, np.zeros(5, int))


def test_draws_are_balanced_distinct_and_the_seeds_own():
    y = np.repeat([0, 1, 2], [5, 9, 7])
    rows = draw_rows(y, 5, 30, seed=1)
    for draw in rows:
        assert len(set(draw)) == 15
        assert np.bincount(y[draw]).tolist() == [5, 5, 5]
    assert (rows == draw_rows(y, 5, 30, seed=1)).all()
    assert (rows != draw_rows(y, 5, 30, seed=2)).any()


@pytest.mark.parametrize("classifier", ["centroid", "knn", "linear"])
def test_few_shot_grows_with_shots_and_repeats_itself(classifier):
    x, y, test_x, test_y = digits()
    scores = [
        few_shot(x, y, test_x, test_y, shots=shots, draws=6, classifier=classifier) for shots in (1, 5, 20)
    ]
    assert 0.2 < scores[0].value < scores[1].value < scores[2].value
    assert scores[0] == few_shot(x, y, test_x, test_y, shots=1, draws=6, classifier=classifier)
    assert scores[0].low < scores[0].value < scores[0].high
    assert scores[0].n == 6


def test_few_shot_by_centroids_equals_the_formula_written_as_a_loop():
    x, y = clouds(60)
    queries, labels = clouds(40, seed=1)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    accuracies = []
    for rows in draw_rows(y, 3, 4, seed=5):
        centres = [unit[[r for r in rows if y[r] == c]].mean(0) for c in range(4)]
        guess = [int(np.argmax([q @ c / np.linalg.norm(c) for c in centres])) for q in queries]
        accuracies.append(np.mean(guess == labels))
    score = few_shot(x, y, queries, labels, shots=3, draws=4, seed=5)
    assert score.value == pytest.approx(np.mean(accuracies))


def test_few_shot_with_one_label_is_the_same_by_centroid_and_by_nearest_neighbour():
    x, y, test_x, test_y = digits()
    first, second = (
        few_shot(x, y, test_x, test_y, shots=1, draws=3, classifier=c).value for c in ("centroid", "knn")
    )
    assert first == pytest.approx(second, abs=0.03)


def test_few_shot_says_when_there_are_too_few_labels():
    x, y = clouds(20)
    with pytest.raises(
        BadInput, match="30 labels a class were asked for, but the smallest of the 4 classes has"
    ):
        few_shot(x, y, x, y, shots=30)
    with pytest.raises(BadInput, match="Unknown few-shot classifier 'liner'; did you mean 'linear'"):
        few_shot(x, y, x, y, shots=1, classifier="liner")


def test_retrieval_of_four_points_on_a_circle_by_hand():
    angles = np.radians([0, 10, 30, 40])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    # 0 asks for 30 deg: ranked 10, 30, 40 -> 1/2;  10 asks for 40: ranked 0, 30, 40 -> 1/3
    # 30 asks for 0: ranked 40, 10, 0 -> 1/3;       40 asks for 10: ranked 30, 10, 0 -> 1/2
    assert retrieval(x, np.array([0, 1, 0, 1])).value == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    assert retrieval(x, np.array([0, 1, 0, 1]), k=2).value == pytest.approx((1 / 2 + 0 + 0 + 1 / 2) / 4)
    assert retrieval(x, np.array([0, 1, 0, 1]), k=1).value == 0.0


@pytest.mark.parametrize("block", [1, 200, 1 << 24])
def test_retrieval_equals_scikit_learn_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr("vergence.evaluate.protocols.retrieval._BLOCK", block)
    x, y = clouds(70)
    x[5] = x[6] = x[7]  # equal scores
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = []
    for i in range(70):
        rest = np.arange(70) != i
        expected.append(average_precision_score(y[rest] == y[i], (unit[rest] @ unit[i]).round(6)))
    assert retrieval(x, y).value == pytest.approx(np.mean(expected), abs=2e-3)


def test_retrieval_leaves_out_lone_samples_and_needs_one_pair():
    x, _ = clouds(5)
    assert retrieval(x, np.array([0, 0, 1, 2, 3])).n == 2
    with pytest.raises(BadInput, match="a class of 2 or more samples"):
        retrieval(x, np.arange(5))


def test_matched_accuracy_does_not_care_what_clusters_are_called():
    y = np.random.default_rng(0).integers(6, size=300)
    names = np.array([40, 2, 17, 5, 33, 8])
    assert matched_accuracy(names[y], y).value == 1.0
    assert mutual_information(names[y], y).value == pytest.approx(1.0)


def test_matched_accuracy_by_hand_with_more_clusters_than_classes():
    clusters = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    labels = np.array([0, 0, 1, 1, 1, 0, 0, 0])
    # best: cluster 2 -> class 0 (3 right), cluster 1 -> class 1 (2 right), cluster 0 unmatched
    assert matched_accuracy(clusters, labels).value == 5 / 8


def test_mutual_information_is_that_of_scikit_learn_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=400)
    clusters = np.where(rng.random(400) < 0.6, labels, rng.integers(7, size=400))
    score = mutual_information(clusters, labels)
    assert score.value == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert score.low < score.value < score.high
    assert mutual_information(np.zeros(9), np.zeros(9)).value == 1.0


def test_clustering_finds_far_clouds_and_nothing_in_noise():
    x, y = clouds(400, d=20, spread=0.05)
    far = clustering(x, y)
    assert far["acc"].value == 1.0 and far["nmi"].value == pytest.approx(1.0)
    noise = clustering(np.random.default_rng(1).normal(size=(400, 20)), y)
    assert noise["acc"].value < 0.4 and noise["nmi"].value < 0.1


def test_clustering_is_k_means_on_unit_vectors():
    x, y = clouds(200)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assigned = KMeans(4, n_init=5, random_state=0).fit_predict(unit)
    assert clustering(100 * x, y)["acc"].value == pytest.approx(matched_accuracy(assigned, y).value, abs=0.01)


def test_stratified_takes_the_share_of_every_class_and_spares_lone_rows():
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    first, second = stratified(labels, 0.2, seed=3)
    assert np.bincount(labels[second], minlength=3).tolist() == [20, 2, 0]
    assert sorted([*first, *second]) == list(range(111))
    assert (second == stratified(labels, 0.2, seed=3)[1]).all()
