"""SSDL: the closed form at p = 2, falling objectives, codes that solve the lasso."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.tables import from_vectors
from vergence.methods.tables.ssdl import SSDL, dictionary, hypergraph, one_hot, p_laplacian, pairs_of

CONTRACT = {"kinds": ("few labels",), "options": {"atoms": 20, "rounds": 3}}


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)) + 3 * np.eye(6)[np.arange(60) % 3]
    labels = np.where(np.arange(60) < 9, np.arange(60) % 3, -1)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def test_p_of_2_is_the_closed_form(parts):
    x, labels = parts
    h = hypergraph(x, 5)
    y = one_hot(labels)
    dense = h.toarray()
    d = dense.sum(1) ** -0.5
    delta = np.eye(60) - d[:, None] * (dense / dense.sum(0)) @ dense.T * d
    expected = 0.3 * np.linalg.solve(0.3 * np.eye(60) + delta, y)
    soft, objective = p_laplacian(h, y, p=2, mu=0.3)
    np.testing.assert_allclose(soft, expected, atol=1e-7)
    np.testing.assert_allclose(
        objective[-1], np.trace(expected.T @ delta @ expected) + 0.3 * ((expected - y) ** 2).sum()
    )


def test_pair_weights_sum_to_the_degrees(parts):
    h = hypergraph(parts[0], 4)
    theta, degree = pairs_of(h)
    np.testing.assert_allclose(theta.sum(1), degree)
    assert (h.toarray().diagonal() == 1).all() and (np.diff(h.tocsc().indptr) == 5).all()


@pytest.mark.parametrize("p", [1.2, 1.8])
def test_the_spreading_never_rises_and_beats_small_changes(parts, p):
    x, labels = parts
    h, y = hypergraph(x, 5), one_hot(labels)
    soft, objective = p_laplacian(h, y, p=p, mu=0.3, rounds=60, tolerance=0.0)
    assert (np.diff(objective) <= 1e-9).all() and objective[0] > objective[-1]
    theta, degree = pairs_of(h)

    def value(f):
        g = f / np.sqrt(degree)[:, None]
        square = ((g[:, None] - g) ** 2).sum(2)
        return 0.5 * (theta.toarray() * (square + 1e-6) ** (p / 2)).sum() + 0.3 * ((f - y) ** 2).sum()

    bump = 1e-2 * np.random.default_rng(0).normal(size=soft.shape)
    # the sum over stored pairs leaves out the constant of the others
    assert value(soft) < value(soft + bump) and value(soft) < value(soft - bump)


def test_the_dictionary_never_rises_and_keeps_its_atoms_short(parts):
    x, labels = parts
    base, classes, objective = dictionary(
        x, one_hot(labels), atoms=12, weight=0.5, sparsity=0.05, rounds=15, seed=0
    )
    assert (np.diff(objective) <= 1e-9).all() and objective[-1] < 0.9 * objective[0]
    assert np.linalg.norm(base, axis=1).max() < 1 + 1e-6 and np.linalg.norm(classes, axis=1).max() < 1 + 1e-6


def test_few_labels_are_enough_and_codes_solve_the_lasso(parts):
    x, labels = parts
    source = from_vectors(x, labels)
    fitted = SSDL(atoms=12, neighbours=5, sparsity=0.05).fit(source)
    batch = source.batch(np.arange(60))
    encoder = fitted.encoder
    assert (encoder.scores(batch).argmax(1).numpy() == np.arange(60) % 3).mean() > 0.8
    rows = torch.nn.functional.normalize(encoder.cells(batch), dim=1)
    code = encoder(batch)
    slope = (rows - code @ encoder.atoms) @ encoder.atoms.T  # 0.05 sign(s) where s is not 0, else within
    torch.testing.assert_close(slope[code != 0], 0.05 * code[code != 0].sign(), atol=5e-3, rtol=0)
    assert slope.abs().max() < 0.055
    torch.testing.assert_close(encoder(source.batch(np.array([7])))[0], code[7], atol=1e-4, rtol=0)


def test_what_cannot_be_learned_from_is_said():
    with pytest.raises(BadInput, match="labelled"):
        SSDL().fit(from_vectors(np.eye(4)))
    with pytest.raises(BadInput, match="p in"):
        SSDL(p=1.0)
    assert vergence.open("sklearn:digits").columns.one_unit
