import itertools

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score, average_precision_score, f1_score, roc_auc_score

from vergence.core.errors import BadInput
from vergence.evaluate.protocols.graph import (
    Amount,
    adam_probe,
    attribute_mmd,
    average_precision,
    clustering_mmd,
    degree_mmd,
    dot_scores,
    edge_features,
    f1,
    generation_mmds,
    link_probe,
    link_scores,
    multilabel_probe,
    node_clustering,
    node_probe,
    orbit_counts,
    random_probe,
    ridge_rmse,
    rmse,
    roc_auc,
    sample_mmd,
    spectral_mmd,
    svm_10fold,
)
from vergence.evaluate.protocols.graph.folds import choose_c
from vergence.evaluate.protocols.graph.logistic import fit_logistic
from vergence.evaluate.protocols.graph.nodes import top_labels

RNG = np.random.default_rng


def blobs(n=300, classes=3, d=8, noise=0.7, seed=0):
    rng = RNG(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(classes, d))[y] + noise * rng.normal(size=(n, d)), y


def undirected(graph):
    return torch.tensor(list(graph.edges), dtype=torch.long).reshape(-1, 2).T, graph.number_of_nodes()


# curves


def test_auc_and_precision_by_hand_with_a_tie():
    scores, truth = np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0])
    assert roc_auc(scores, truth).value == pytest.approx(3.5 / 4)
    # thresholds: 0.9 (1 of 1), 0.5 (2 of 3)
    assert average_precision(scores, truth).value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_auc_and_precision_agree_with_sklearn_and_cover_the_truth():
    covered = []
    for seed in range(400):
        rng = RNG(seed)
        truth = rng.random(200) < 0.4
        scores = np.round(truth + rng.normal(size=200), 1)
        auc = roc_auc(scores, truth)
        assert auc.value == pytest.approx(roc_auc_score(truth, scores))
        covered.append(auc.low <= 0.7602 <= auc.high)  # P(N(1, 2) > 0)
    assert 0.91 <= np.mean(covered) <= 0.98
    ap = average_precision(scores, truth)
    assert ap.value == pytest.approx(average_precision_score(truth, scores))
    assert 0.02 < ap.high - ap.low < 0.3


def test_f1_agrees_with_sklearn():
    guess, truth = RNG(0).random((50, 6)) < 0.3, RNG(1).random((50, 6)) < 0.3
    guess[:, 5] = truth[:, 5] = False
    expected = [f1_score(truth, guess, average=how, zero_division=0) for how in ("macro", "micro")]
    assert f1(guess, truth) == pytest.approx(expected)


# nodes


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(120, 6), (40, 90)])
def test_logistic_equals_liblinear_and_the_multinomial(strength, shape):
    rng = RNG(0)
    x = rng.normal(size=shape)
    y = (x[:, :3] + rng.normal(size=(shape[0], 3))).argmax(1)
    target = np.eye(3)[y]
    each = fit_logistic(x, target, [5.0, strength], softmax=False)
    theirs = LogisticRegression(C=strength, solver="liblinear", tol=1e-9, max_iter=10_000).fit(x, y == 1)
    assert each.weight[:, 1, 1] == pytest.approx(theirs.coef_[0], abs=2e-3, rel=1e-3)
    assert each.bias[1, 1] == pytest.approx(theirs.intercept_[0], abs=2e-3, rel=1e-3)
    one = np.concatenate([x, np.ones((len(x), 1))], 1)
    both = fit_logistic(x, target, [strength], softmax=True)
    theirs = LogisticRegression(C=strength, fit_intercept=False, tol=1e-9, max_iter=20_000).fit(one, y)
    assert both.weight[:, 0] == pytest.approx(theirs.coef_[:, :-1].T, abs=2e-3, rel=1e-3)
    assert both.logits(x)[:, 0] == pytest.approx(one @ theirs.coef_.T, abs=1e-2)


def test_node_probe_on_a_fixed_split():
    x, y = blobs()
    rows = RNG(0).permutation(300)
    mask = np.zeros(300, dtype=bool)
    mask[rows[200:]] = True
    scores = node_probe(torch.tensor(x), y, rows[:100], rows[100:200], mask)
    assert scores["accuracy"].n == 100 and scores["accuracy"].value > 0.85
    assert scores["auc"].value > scores["accuracy"].value
    assert "C " in scores["accuracy"].note
    turned = x @ np.linalg.qr(RNG(1).normal(size=(8, 8)))[0] * 50
    again = node_probe(turned, y, rows[:100], rows[100:200], mask)
    assert again["accuracy"].value == scores["accuracy"].value  # neither rotation nor size matters
    shuffled = node_probe(x, RNG(2).permutation(y), rows[:100], rows[100:200], mask)
    assert shuffled["accuracy"].low < 1 / 3 < shuffled["accuracy"].high


def test_node_probe_never_fits_to_the_test_labels():
    x, y = blobs()
    rows = np.arange(300)
    wrong = y.copy()
    wrong[200:] = (y[200:] + 1) % 3
    one, other = (node_probe(x, t, rows[:100], rows[100:200], rows[200:])["accuracy"] for t in (y, wrong))
    assert one.note == other.note and one.value + other.value <= 1
    with pytest.raises(BadInput, match="in common"):
        node_probe(x, y, rows[:100], rows[90:200], rows[200:])
    with pytest.raises(BadInput, match="mask"):
        node_probe(x, y, np.ones(7, dtype=bool), rows[100:200], rows[200:])


def test_adam_probe_takes_the_last_of_the_best_steps():
    x, y = blobs(n=240, noise=1.5)
    train, val, test = np.arange(30), np.arange(30, 90), np.arange(90, 240)
    torch.manual_seed(4)
    layer = torch.nn.Linear(8, 3)
    adam = torch.optim.Adam(layer.parameters(), lr=0.05, weight_decay=0.01)
    z, labels = torch.tensor(x).float(), torch.tensor(y)
    steps = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(layer(z[train]), labels[train])
        adam.zero_grad()
        loss.backward()
        adam.step()
        right = (layer(z).argmax(1) == labels).double()
        steps.append((right[val].mean().item(), right[test].mean().item()))
    best = max(steps, key=lambda step: step[0])[0]
    wanted = [judged for chosen, judged in steps if chosen == best][-1]
    before = torch.get_rng_state()
    result = adam_probe(x, y, train, val, test, lr=0.05, weight_decay=0.01, epochs=25, seed=4)
    assert result["accuracy"].value == pytest.approx(wanted)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probe", [node_probe, adam_probe])
def test_probes_refuse_a_node_with_two_tasks(probe):
    x, y = blobs(n=30)
    with pytest.raises(BadInput, match="_probe needs train, val and test without a node in common"):
        probe(x, y, np.arange(10), np.arange(9, 20), np.arange(20, 30))


def test_random_probe_leaves_unlabelled_out_and_ignores_length():
    x, y = blobs(noise=0.4)
    y = np.where(np.arange(300) < 30, -1, y)
    scores = random_probe(x, y, splits=3)
    assert scores["accuracy"].n == 3 and scores["accuracy"].value > 0.85
    longer = x * RNG(0).uniform(1, 9, size=(300, 1))
    assert random_probe(longer, y, splits=3)["accuracy"].value == pytest.approx(scores["accuracy"].value)


def test_top_labels_marks_as_many_as_are_given():
    marked = top_labels(np.array([[0.1, 0.9, 0.5], [3.0, 1.0, 2.0]]), np.array([2, 1]))
    assert marked.tolist() == [[False, True, True], [True, False, False]]


def test_multilabel_probe_finds_labels_that_features_tell():
    rng = RNG(0)
    labels = rng.random((200, 4)) < 0.4
    x = labels @ rng.normal(size=(4, 6)) + 0.05 * rng.normal(size=(200, 6))
    result = multilabel_probe(x, sp.csr_matrix(labels), splits=2, strength=100.0)
    assert result["micro_f1"].value > 0.95 and result["macro_f1"].value > 0.95
    noise = multilabel_probe(rng.normal(size=(200, 6)), labels, splits=2)
    assert noise["micro_f1"].value < 0.6


def test_node_clustering_of_separate_blobs_and_the_rand_index():
    x, y = blobs(noise=0.05)
    scores = node_clustering(x, y)
    assert [scores[k].value for k in ("acc", "nmi", "ari")] == pytest.approx([1, 1, 1])
    x, y = blobs(noise=1.5)
    ari = node_clustering(x, y, scale="none")["ari"]
    theirs = adjusted_rand_score(
        y, KMeans(3, n_init=5, random_state=0).fit_predict(x / np.sqrt((x**2).sum(1).mean()))
    )
    assert ari.value == pytest.approx(theirs, abs=1e-9) and ari.low < ari.value < ari.high


# whole graphs


def test_svm_judges_each_graph_once_and_chance_is_chance():
    x, y = blobs(n=120, classes=2)
    score = svm_10fold(x, y, strengths=(0.1, 10.0))
    assert score.n == 120 and score.value > 0.8
    assert score.value * 120 == pytest.approx(round(score.value * 120))
    noise = svm_10fold(RNG(0).normal(size=(120, 4)), y, strengths=(0.1, 10.0), kernel="linear")
    assert noise.low < 0.62 and noise.value < 0.65
    with pytest.raises(BadInput, match="10 or more"):
        svm_10fold(x[:12], y[:12])


def test_c_is_chosen_by_what_generalises():
    x = RNG(0).normal(size=(80, 20))
    y = (x[:, 0] + 2 * RNG(1).normal(size=80) > 0).astype(int)
    kernel = x @ x.T
    assert choose_c(kernel, y, (1e-2, 10.0)) == 1e-2


# links


def test_edge_features_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    pair = torch.tensor([[0], [1]])
    expected = {"hadamard": [3, -2], "mean": [2, 0.5], "l1": [2, 3], "l2": [4, 9], "concat": [1, 2, 3, -1]}
    for op, values in expected.items():
        assert edge_features(x, pair, op)[0].tolist() == values
    assert dot_scores(x, pair).item() == 1.0
    with pytest.raises(BadInput, match="hadamard"):
        edge_features(x, pair, "hadamar")
    with pytest.raises(BadInput, match="node 5"):
        dot_scores(x, torch.tensor([[0], [5]]))


def test_link_scores_put_true_pairs_above():
    scores = link_scores(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 1.5]))
    assert scores["auc"].value == 0.75
    assert scores["ap"].value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_link_probe_learns_and_refuses_edges_it_has_seen():
    x, y = blobs(n=200, noise=0.3)
    pairs = RNG(0).integers(0, 200, (2, 2000))
    same = y[pairs[0]] == y[pairs[1]]
    yes, no = pairs[:, same], pairs[:, ~same]
    fresh = ~np.isin(yes.min(0) * 200 + yes.max(0), yes[:, :300].min(0) * 200 + yes[:, :300].max(0))
    scores = link_probe(x, yes[:, :300], no[:, :300], yes[:, fresh], no[:, 300:])
    assert scores["auc"].value > 0.9
    with pytest.raises(BadInput, match="1 test edges"):
        link_probe(x, yes[:, :300], no[:, :300], yes[::-1, :1], no[:, 300:])


# numbers


def test_rmse_by_hand_prints_its_unit():
    score = rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert score.value == pytest.approx(2**0.5)
    assert isinstance(score, Amount) and str(score).startswith("1.41 [")


def test_ridge_equals_sklearn_on_rows_scaled_by_training():
    rng = RNG(0)
    x = rng.normal(size=(150, 5)) * [1, 10, 0.1, 1, 0] + 3
    y = x[:, 0] - 0.2 * x[:, 1] + rng.normal(size=150)
    a, b, c = np.arange(50), np.arange(50, 100), np.arange(100, 150)
    score = ridge_rmse(x, y, a, b, c, strengths=[7.0])
    deviation = np.where(x[a].std(0) > 0, x[a].std(0), 1)
    z = (x - x[a].mean(0)) / deviation
    theirs = Ridge(7.0).fit(z[a], y[a]).predict(z[c])
    assert score.value == pytest.approx(np.sqrt(np.mean((theirs - y[c]) ** 2)), rel=1e-5)
    assert "1.0e+01" in ridge_rmse(x, y, a, b, c, strengths=[1e6, 10.0]).note


# generated graphs

ROLES = [  # edges, orbit of each node: Przulj 2007, graphlets of 4 nodes
    ([(0, 1), (1, 2), (2, 3)], [4, 5, 5, 4]),
    ([(0, 1), (0, 2), (0, 3)], [7, 6, 6, 6]),
    ([(0, 1), (1, 2), (2, 3), (3, 0)], [8, 8, 8, 8]),
    ([(0, 1), (1, 2), (2, 3), (3, 1)], [9, 11, 10, 10]),
    ([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)], [13, 12, 13, 12]),
    ([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)], [14, 14, 14, 14]),
]


@pytest.mark.parametrize(("edges", "roles"), ROLES)
def test_orbits_of_each_graph_of_four_nodes(edges, roles):
    counts = orbit_counts(np.array(edges).T, 4)
    assert counts[:, 4:].sum(1).tolist() == [1, 1, 1, 1]
    assert (counts[:, 4:].argmax(1) + 4).tolist() == roles


def test_orbits_equal_all_subsets_of_a_random_graph():
    graph = nx.gnp_random_graph(14, 0.35, seed=2)
    expected = np.zeros((14, 15), dtype=int)
    expected[:, 0] = [graph.degree(v) for v in range(14)]
    for group in itertools.combinations(range(14), 3):
        inside = graph.subgraph(group)
        if nx.is_connected(inside):
            for v in group:
                triangle = inside.number_of_edges() == 3
                expected[v, 3 if triangle else inside.degree(v)] += 1
    kinds = [(nx.Graph(edges), dict(zip(range(4), roles, strict=True))) for edges, roles in ROLES]
    for group in itertools.combinations(range(14), 4):
        inside = graph.subgraph(group)
        for kind, roles in kinds:
            match = nx.isomorphism.GraphMatcher(inside, kind)
            if match.is_isomorphic():
                for v, role in match.mapping.items():
                    expected[v, roles[role]] += 1
    edges, n = undirected(graph)
    assert (orbit_counts(edges, n) == expected).all()


def test_degree_mmd_by_hand():
    star, triangle = undirected(nx.star_graph(2)), undirected(nx.cycle_graph(3))
    # degrees: two of 1 and one of 2, against three of 2: earth mover 2/3, total variation 2/3
    expected = 2 - 2 * np.exp(-((2 / 3) ** 2) / 2)
    assert degree_mmd([star], [triangle]).value == pytest.approx(expected)
    assert degree_mmd([star], [triangle], kernel="tv").value == pytest.approx(expected)
    # clustering 0 against 1: the first bin against the last, 0.99 apart at a width of 0.1
    assert clustering_mmd([star], [triangle]).value == pytest.approx(2)


def test_mmds_are_zero_for_the_same_set_and_grow_with_the_difference():
    sparse = [undirected(nx.gnp_random_graph(20, 0.15, seed=i)) for i in range(12)]
    more = [undirected(nx.gnp_random_graph(20, 0.15, seed=100 + i)) for i in range(12)]
    dense = [undirected(nx.gnp_random_graph(20, 0.4, seed=i)) for i in range(12)]
    same, near, far = (generation_mmds(sparse, other) for other in (sparse, more, dense))
    for name in ("degree", "clustering", "orbit", "spectral"):
        assert same[name].value == pytest.approx(0, abs=1e-12)
        assert 0 <= near[name].value < far[name].value
    reordered = [(torch.randperm(20)[edges], n) for edges, n in sparse]
    assert spectral_mmd(sparse, reordered).value == pytest.approx(0, abs=0.02)
    with pytest.raises(BadInput, match="both sides"):
        degree_mmd(sparse, [])


def test_attribute_mmd_of_kinds_and_numbers():
    kinds = attribute_mmd([np.array([0, 0])], [np.array([0, 1])], categories=2)
    assert kinds.value == pytest.approx(2 - 2 * np.exp(-(0.5**2) / 2))
    numbers = attribute_mmd([np.array([0.0, 1.0])], [np.array([0.0, 0.0])], bins=2)
    assert numbers.value == pytest.approx(2 - 2 * np.exp(-(0.25**2) / (2 * 0.1**2)))


def test_sample_mmd_sees_how_values_are_joined():
    rng = RNG(0)
    u, v = rng.normal(size=(2, 500))
    real = np.stack([u, v, u + v], 1)
    again = rng.normal(size=(500, 2))
    again = np.concatenate([again, again.sum(1, keepdims=True)], 1)
    shuffled = np.stack([u, v, rng.permutation(u + v)], 1)
    assert sample_mmd(real, again).high < sample_mmd(real, shuffled).low
