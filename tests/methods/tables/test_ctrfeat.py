"""The parts of click models: exact identities of tables, gates and factorisation machines."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from vergence.core import BadInput
from vergence.data.tables import TableSchema, from_frame
from vergence.methods.tables.ctrfeat import BINS, CATALOGUE, ClickThrough, catalogue
from vergence.methods.tables.encoders import for_source
from vergence.methods.tables.fields import (
    FieldGates,
    HashedTable,
    PrunedTable,
    QuotientRemainder,
    divisor_of,
    fm,
)

PLACE = "vergence.methods.tables.ctrfeat:ClickEncoder"


@pytest.fixture(scope="module")
def clicks():
    rng, n = np.random.default_rng(0), 600
    item = rng.integers(0, 300, n)
    columns = {
        "item": [f"i{k}" for k in item],
        "hour": rng.choice(["am", "pm"], n),
        "age": rng.normal(size=n),
    }
    table = pa.table({**columns, "click": (item % 2).astype(int)})
    return from_frame(table, TableSchema(label="click"))


@pytest.mark.parametrize(("values", "rows"), [(943, 120), (1684, 211), (50, 30), (100, 2)])
def test_quotient_and_remainder_tell_all_values_apart(values, rows):
    torch.manual_seed(0)
    table = QuotientRemainder(values, 4, rows)
    assert table.quotient.num_embeddings * table.remainder.num_embeddings >= values
    ids = torch.arange(values)
    pairs = torch.stack([ids // table.divisor, ids % table.divisor], 1)
    assert len(pairs.unique(dim=0)) == values and len(table(ids).unique(dim=0)) == values
    torch.testing.assert_close(
        table(ids[-1:]), table.quotient.weight[pairs[-1, :1]] * table.remainder.weight[pairs[-1, 1:]]
    )


def test_both_small_tables_have_the_same_size_and_hashing_makes_values_share():
    for values in (400, 943, 1684):
        rows = -(-values // 8)
        divisor = divisor_of(values, rows)
        assert rows - 5 <= -(-values // divisor) + divisor <= rows
    table = HashedTable(10, 3, 4)
    torch.testing.assert_close(table(torch.tensor([1, 5, 9])), table(torch.tensor([1, 1, 1])))


def test_the_fast_sum_over_pairs_is_the_double_sum():
    v = torch.randn(5, 4, 3, dtype=torch.float64)
    double = sum((v[:, i] * v[:, j]).sum(1) for i in range(4) for j in range(i + 1, 4))
    torch.testing.assert_close(fm(v), double)


def test_a_soft_threshold_zeroes_what_is_small_and_shortens_the_rest():
    table = PrunedTable(2, 2, 2, start=0.0)  # threshold 0.5
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[0.4, -2.0], [3.0, -0.1]]))
    out = table(torch.arange(2))
    torch.testing.assert_close(out, torch.tensor([[0.0, -1.5], [2.5, 0.0]]))
    e = table.weight
    torch.testing.assert_close(out, e * (e.abs() - 0.5).clamp_min(0) / e.abs())
    out.sum().backward()
    assert table.threshold.grad.tolist() == [-0.25, 0.25]  # σ'(0) against the sign of what is left


def test_gates_are_noisy_in_training_and_their_mean_opening_after():
    gates = FieldGates(3)
    with torch.no_grad():
        gates.logit.copy_(torch.tensor([-3.0, 0.0, 3.0]))
    torch.manual_seed(0)
    drawn = gates(4000)
    assert (drawn > 0.5).float().mean(0).sub(gates.open).abs().max() < 0.03  # P(gate > 1/2) = σ(a)
    assert torch.equal(gates.eval()(2), gates.open.expand(2, -1))


@pytest.mark.parametrize("core", ["logistic", "fm", "deepfm"])
def test_the_logit_is_the_sum_of_its_parts(clicks, core):
    encoder = for_source(clicks, PLACE, core=core, dim=4, gates=True).eval()
    batch = clicks.batch(np.arange(8))
    vectors = encoder.vectors(batch)
    expected = encoder.bias + vectors[:, :, -1].sum(1)
    v = vectors[:, :, :-1]
    expected = expected + (fm(v) if core != "logistic" else 0)
    expected = expected + (encoder.deep(v.flatten(1))[:, 0] if core == "deepfm" else 0)
    torch.testing.assert_close(encoder.logit(batch), expected)
    torch.testing.assert_close(encoder(batch), v.flatten(1))


def test_numbers_fall_into_tenths_and_missing_ones_into_a_bin_of_their_own(clicks):
    encoder = for_source(clicks, PLACE)
    place = encoder.fields(clicks.batch(np.arange(600)))[2]
    assert torch.bincount(place, minlength=BINS)[:BINS].tolist() == [60] * BINS
    other = from_frame(pa.table({"item": ["new"], "hour": ["am"], "age": pa.array([None], pa.float64())}))
    assert [int(v) for v in encoder.fields(other.batch(np.arange(1)))][::2] == [1, BINS]


def test_a_cross_remembers_pairs_and_tables_have_the_size_asked_for(clicks):
    torch.manual_seed(0)
    encoder = for_source(clicks, PLACE, cross=("item", "hour"), table="hash", ratio=4.0)
    result = encoder.fields(clicks.batch(np.arange(600)))
    seen = torch.stack([result[0], result[1]], 1).unique(dim=0)
    assert len(result[3].unique()) == len(seen)  # no two pairs share
    assert encoder.tables[0].rows == -(-encoder.sizes[0] // 4) and encoder.tables[1].num_embeddings == 4
    with pytest.raises(BadInput, match="hour"):
        for_source(clicks, PLACE, cross=("item", "hours"))


def test_the_loss_is_the_log_loss_of_known_labels(clicks):
    method = ClickThrough(for_source(clicks, PLACE)).eval()
    batch = clicks.batch(np.arange(6))
    batch.label[0] = -1
    p = method.encoder.logit(batch).sigmoid()[1:]
    y = batch.label[1:]
    expected = -(torch.where(y == 1, p, 1 - p)).log().mean()
    torch.testing.assert_close(method.loss(batch)["click"], expected)
    with pytest.raises(BadInput, match="two classes"):
        method.setup(from_frame(pa.table({"a": [1.0, 2.0]})))


def test_the_catalogue_can_be_browsed():
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE) == 20
    assert {entry.question for entry in catalogue("which")} == {"which"}
    assert sum(entry.here is not None for entry in CATALOGUE) == 6
    with pytest.raises(BadInput, match="which"):
        catalogue("whic")
