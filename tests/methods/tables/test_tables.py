"""Corruption, encoders and TLDR on small tables."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch

from vergence.core import BadInput
from vergence.data.tables import from_frame, from_vectors
from vergence.engine import embed
from vergence.methods.tables import encoders
from vergence.methods.tables.tldr import TLDR, nearest, principal
from vergence.methods.tables.views import Corrupted, pair


def table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(50, 10, n)
    age[::5] = np.nan
    columns = {"age": pa.array(age, from_pandas=True), "paid": rng.normal(size=n)}
    return from_frame(pa.table({**columns, "town": rng.choice(["a", "b", "c"], n)}))


def test_corruption_replaces_the_stated_share_by_values_of_the_same_column():
    numbers = np.arange(50 * 5, dtype=np.float32).reshape(50, 5)  # every cell differs
    batch = from_vectors(numbers).batch(np.arange(50))
    torch.manual_seed(0)
    result = Corrupted(0.6)(batch)
    changed = result.numeric != batch.numeric
    assert changed.sum(1).max() == 3 and changed.sum() > 0.9 * 3 * 50  # a row may draw itself
    assert all(set(result.numeric[:, i].tolist()) <= set(batch.numeric[:, i].tolist()) for i in range(5))
    assert torch.equal(batch.numeric, torch.from_numpy(numbers))
    assert (changed.any(0)).all()
    with pytest.raises(BadInput):
        Corrupted(1.0)


def test_a_pair_is_the_row_and_its_corruption_categories_included():
    batch = table().batch(np.arange(40))
    torch.manual_seed(0)
    first, second = pair(corrupt=0.5)(batch)
    assert first is batch
    assert (second.categorical != batch.categorical).any()


def test_numbers_are_standard_and_missing_ones_the_mean_with_a_flag():
    source = table()
    encoder = encoders.for_source(source, "raw", embedding=4)
    assert encoder.flagged == ["age"] and encoder.out_dim == 2 + 1 + 4
    cells = encoder(source.batch(np.arange(40)))
    assert torch.equal(cells[::5, 0], torch.zeros(8)) and torch.equal(cells[::5, 2], torch.ones(8))
    known = torch.ones(40, dtype=torch.bool)
    known[::5] = False
    torch.testing.assert_close(cells[known, 0].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(cells[:, 1].std(correction=0), torch.tensor(1.0))


def test_one_unit_keeps_the_proportions_of_the_columns():
    x = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 3.0]
    cells = encoders.for_source(from_vectors(x), "raw")(from_vectors(x).batch(np.arange(200)))
    ratio = cells.std(0)
    np.testing.assert_allclose(ratio[1] / ratio[0], x[:, 1].std() / x[:, 0].std(), rtol=1e-4)


def test_another_table_is_read_by_words_and_an_unseen_one_shares_a_vector():
    encoder = encoders.for_source(table(), "mlp", dim=8, layers=2).eval()
    row = {"age": [50.0], "paid": [0.0]}
    towns = ["b", "nowhere", "elsewhere", None]
    other = from_frame(pa.table({"town": towns, "age": [50.0] * 4, "paid": [0.0] * 4}))
    code = encoder.codes(other.batch(np.arange(4)))[0].tolist()
    assert code[1:] == [encoders.UNSEEN, encoders.UNSEEN, encoders.MISSING]
    known = table()
    assert code[0] == known.columns.words[0].index("b") + 2
    assert torch.equal(*encoder.cells(other.batch(np.arange(1, 3))))
    z = embed(encoder, other).vectors
    np.testing.assert_allclose(z[1], z[2], atol=1e-6)  # a matrix product may add up its rows in other orders
    assert not np.allclose(z[0], z[1], atol=1e-3)
    with pytest.raises(BadInput, match="town"):
        encoder(from_frame(pa.table(row)).batch(np.arange(1)))


def test_a_word_of_other_rows_is_unseen():
    source = from_frame(pa.table({"town": ["a", "a", "b", "c"]}))
    encoder = encoders.for_source(source.subset(np.array([0, 1, 3])), "raw")
    assert encoder.categories == {"town": 2}
    assert encoder.codes(source.batch(np.arange(4)))[0].tolist() == [2, 2, encoders.UNSEEN, 3]


def test_a_fresh_encoder_knows_the_words_but_has_new_weights():
    encoder = encoders.for_source(table(), "mlp", dim=8, layers=2)
    fresh = copy.deepcopy(encoder).fresh()
    assert torch.equal(fresh.words_0, encoder.words_0) and torch.equal(fresh.mean, encoder.mean)
    assert not torch.equal(fresh.net[0].weight, encoder.net[0].weight)
    with pytest.raises(BadInput, match="mlp"):
        encoders.for_source(table(), "mpl")
    with pytest.raises(BadInput):
        encoders.build("os:system", numbers=[], categories={})


def test_the_nearest_are_others_in_order():
    rows = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    assert nearest(rows, 2).tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]
    with pytest.raises(BadInput):
        nearest(rows, 4)


def test_tldr_pairs_a_row_with_a_neighbour_never_with_itself():
    source = from_vectors(np.repeat(np.arange(10.0), 2)[:, None] + np.tile([0, 0.01], 10)[:, None])
    method = TLDR(encoders.for_source(source, "linear", dim=1), neighbours=1, hidden=8)
    method.setup(source)
    first, second = method.views(source.batch(np.arange(20)))
    assert torch.equal(second.index, first.index ^ 1)  # its twin


def test_tldrs_loss_is_the_stated_one():
    source = from_vectors(np.random.default_rng(0).normal(size=(32, 6)))
    method = TLDR(encoders.for_source(source, "linear", dim=3), hidden=0, weight=0.1, scale=0.5)
    a, b = source.batch(np.arange(16)), source.batch(np.arange(16, 32))
    z1, z2 = ((z := method.encode(v)).sub(z.mean(0)) / z.std(0, correction=0) for v in (a, b))
    c = z1.T @ z2 / 16
    off = c - torch.diag(c.diag())
    expected = 0.5 * ((1 - c.diag()).square().sum() + 0.1 * off.square().sum())
    torch.testing.assert_close(sum(method.loss((a, b)).values()), expected, rtol=1e-3, atol=1e-4)


def test_principal_components_are_uncorrelated_ordered_and_white_when_asked():
    x = np.random.default_rng(0).normal(size=(300, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    source = from_vectors(x)
    z = principal(source, 3)(source.batch(np.arange(300))).detach().numpy()
    cov = np.cov(z.T)
    np.testing.assert_allclose(cov - np.diag(np.diag(cov)), 0, atol=1e-4)
    assert (np.diff(np.diag(cov)) < 0).all()
    white = principal(source, 3, whiten=True)(source.batch(np.arange(300))).detach().numpy()
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(3), atol=1e-3)
