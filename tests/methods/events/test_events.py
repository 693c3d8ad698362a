"""Slices, encoders, CoLES and MLEM on small logs."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import normalize

import vergence
from vergence.core import BadInput
from vergence.engine import embed
from vergence.losses.margin import hard_margin
from vergence.methods.events import encoders, fields
from vergence.methods.events.coles import CoLES
from vergence.methods.events.mlem import MLEM, alignment
from vergence.methods.events.views import Slices, draw_slices, pair


def make(path, entities=24, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 40, entities)
    user = np.repeat(np.arange(entities), lengths)
    kind = user % 2
    amount = np.exp(rng.normal(size=len(user)) + kind)
    amount[::7] = np.nan
    table = pa.table(
        {
            "user": user,
            "ts": np.arange(len(user)),
            "shop": [f"s{(a + b) % 3}" for a, b in zip(rng.integers(0, 2, len(user)), kind, strict=True)],
            "amount": pa.array(amount, from_pandas=True),
            "kind": kind,
        }
    )
    pq.write_table(table, path)
    return vergence.open(f"events:{path}?id=user&time=ts&categorical=shop&numeric=amount&label=kind")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make(tmp_path_factory.mktemp("log") / "log.parquet")


def test_slices_have_the_stated_lengths_and_starts():
    lengths = torch.tensor([3, 10, 1000])
    start, size = draw_slices(lengths, 4000, shortest=5, longest=20)
    start, size = start.view(3, -1), size.view(3, -1)
    assert (size[0] == 3).all() and (start[0] == 0).all()  # too short: whole
    assert size[1].unique().tolist() == [5, 6, 7, 8, 9, 10]
    assert size[2].min() == 5 and size[2].max() == 20
    assert size[2].float().mean().item() == pytest.approx(12.5, abs=0.3)
    assert (start >= 0).all() and (start + size <= lengths[:, None]).all()
    assert start[2].max() > 900  # from anywhere


def test_slices_are_contiguous_parts_of_their_own_history(source):
    batch = next(source.loader(6))
    cut = Slices(3, shortest=2, longest=8)(batch)
    assert cut.index.tolist() == [i for i in range(6) for _ in range(3)]
    for s in range(len(cut)):
        own = batch.time[batch.offsets[cut.index[s]] : batch.offsets[cut.index[s] + 1]]
        part = cut.time[cut.offsets[s] : cut.offsets[s + 1]]
        assert (part.diff() == 1).all() and part[0] >= own[0] and part[-1] <= own[-1]


@pytest.mark.parametrize(
    ("name", "options"), [("gru", {"dim": 8}), ("transformer", {"dim": 8, "heads": 2, "depth": 1})]
)
def test_an_embedding_does_not_depend_on_who_shares_its_batch(source, name, options):
    torch.manual_seed(0)
    encoder = encoders.for_source(source, name, **options).eval()
    together = encoder(next(source.loader(24)))
    for i in (0, 5):
        torch.testing.assert_close(
            encoder(next(source.subset([i]).loader(1)))[0], together[i], rtol=1e-4, atol=1e-5
        )


def test_the_order_of_events_matters_to_the_gru(source):
    encoder = encoders.for_source(source, dim=8).eval()
    batch = next(source.subset(np.flatnonzero(np.diff(source.log.offsets) > 5)[:1]).loader(1))
    back = torch.arange(len(batch.gap)).flip(0)
    turned = batch.pick(back, batch.offsets, torch.zeros(1, dtype=torch.int64))
    assert not torch.allclose(encoder(batch), encoder(turned), atol=1e-4)


def test_numbers_are_scaled_missing_ones_zero_and_flagged(source):
    encoder = encoders.for_source(source)
    batch = next(source.loader(24))
    values, missing = encoder.values(batch)
    assert encoder.flagged == ["amount"] and torch.equal(missing[:, 0], batch.numeric[:, 0].isnan())
    assert (values[missing] == 0).all()
    known = values[:, 0][~missing[:, 0]]
    assert known.mean().item() == pytest.approx(0, abs=1e-4)
    assert known.std().item() == pytest.approx(1, abs=0.02)


def test_another_log_is_read_with_the_words_of_training(source, tmp_path):
    encoder = encoders.for_source(source)
    path = tmp_path / "other.parquet"
    pq.write_table(
        pa.table(
            {"user": [1, 1, 1], "ts": [1, 2, 3], "shop": ["new", "s2", None], "amount": [1.0, 2.0, 3.0]}
        ),
        path,
    )
    other = next(vergence.open(f"events:{path}?id=user&time=ts&categorical=shop&numeric=amount").loader(1))
    words = source.log.fields.words[0]
    assert encoder.codes(other)[:, 0].tolist() == [fields.UNSEEN, words.index("s2") + 2, fields.MISSING]


def test_a_log_without_a_field_of_training_is_refused(source, tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"user": [1], "ts": [1], "amount": [1.0]}), path)
    batch = next(vergence.open(f"events:{path}?id=user&time=ts").loader(1))
    with pytest.raises(BadInput, match="shop"):
        encoders.for_source(source)(batch)


def test_fresh_has_other_weights_and_the_same_words(source):
    encoder = encoders.for_source(source, dim=8)
    other = encoder.fresh()
    assert torch.equal(other.words_0, encoder.words_0) and torch.equal(other.mean, encoder.mean)
    assert not torch.equal(other.gru.gru.weight_hh_l0, encoder.gru.gru.weight_hh_l0)


def test_coles_loss_is_the_margin_loss_of_unit_vectors(source):
    torch.manual_seed(0)
    method = CoLES(
        encoders.for_source(source, dim=8), slices=3, shortest=2, longest=10, margin=0.8, negatives=2
    ).eval()
    views = method.views(next(source.loader(8)))
    terms = method.loss(views)
    z = normalize(method.encode(views), dim=1)
    near, far = hard_margin(z, views.index, margin=0.8, negatives=2)
    torch.testing.assert_close(torch.stack([terms["near"], terms["far"]]), torch.stack([near, far]))


def test_coles_suits_its_slices_to_short_histories_unless_told(source):
    for wanted, result in ((None, source.view_options["shortest"]), (7, 7)):
        method = CoLES(encoders.for_source(source, dim=8), shortest=wanted)
        method.configure_views(source.view_options)
        assert method.cut.shortest == result


def test_alignment_equals_its_formula_written_as_a_loop():
    torch.manual_seed(0)
    h, c = torch.randn(3, 4), torch.randn(5, 4)
    total = 0.0
    for i in range(3):
        for j in range(5):
            z = 10 * torch.cosine_similarity(h[i], c[j], dim=0).item() - 3
            total += math.log1p(math.exp(-z if i == j else z))
    assert alignment(h, c, torch.tensor(10.0), torch.tensor(-3.0)).item() == pytest.approx(
        total / 3, rel=1e-5
    )


def test_other_rows_of_the_same_client_are_no_negatives_of_the_alignment():
    torch.manual_seed(0)
    h, c, client = torch.randn(3, 4), torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 2])
    total = 0.0
    for i in range(3):
        for j in range(5):
            z = 10 * torch.cosine_similarity(h[i], c[j], dim=0).item() - 3
            if i == j or client[i] != client[j]:
                total += math.log1p(math.exp(-z if i == j else z))
    same = client[:3, None] == client
    result = alignment(h, c, torch.tensor(10.0), torch.tensor(-3.0), same)
    assert result.item() == pytest.approx(total / 3, rel=1e-5)


def mlem(source, **options):
    torch.manual_seed(0)
    small = {"slices": 2, "shortest": 2, "longest": 10, "width": 16, "depth": 1, "projection": 8}
    return MLEM(encoders.for_source(source, dim=8, noise=0.0), **{**small, **options})


def test_an_event_is_not_rebuilt_from_itself_or_what_follows(source):
    method = mlem(source).eval()
    batch = next(source.subset(np.flatnonzero(np.diff(source.log.offsets) > 8)[:2]).loader(2))
    h = torch.randn(2, 8)
    events = method.encoder.events(batch)
    changed = events.clone()
    changed[5] += 1.0  # event 5 of the first history
    first, second = (method.decoder.states(h, x, batch.offsets)[0] for x in (events, changed))
    torch.testing.assert_close(first[0, :6], second[0, :6])
    torch.testing.assert_close(first[1], second[1])
    assert not torch.allclose(first[0, 6], second[0, 6])


def test_mlem_gives_no_gradient_from_the_alignment_to_the_contrastive_net(source):
    method = mlem(source, alone=0.0)
    views = method.views(next(source.loader(8)))
    terms = method.loss(views)
    assert "near" not in terms and terms["align"] > 0
    sum(terms.values()).backward()
    assert all(p.grad is None for p in method.contrastive.parameters())
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_mlem_first_learns_both_apart(source):
    method = mlem(source)
    terms = method.loss(method.views(next(source.loader(8))))
    assert terms["align"].item() == 0 and terms["near"] > 0
    sum(terms.values()).backward()
    assert [n for n, p in method.named_parameters() if p.grad is None] == []


def test_mlem_aligns_all_the_time_to_a_target_that_has_learned(source):
    target = encoders.for_source(source, dim=8, noise=0.5)
    method = mlem(source, target=target).train()
    views = method.views(next(source.loader(8)))
    terms = method.loss(views)
    assert "near" not in terms and terms["align"] > 0
    sum(terms.values()).backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not any(p.requires_grad for p in method.contrastive.parameters())
    assert not method.contrastive.training, "its vectors carry no noise"
    clients = [len(set(views.index.tolist())), len(views)]
    assert clients == [8, 16], "each client has two slices in a batch"
    apart = [alignment(torch.eye(2), torch.eye(2), torch.tensor(1.0), torch.tensor(0.0), same)
             for same in (None, torch.ones(2, 2) > 0)]  # fmt: skip
    assert apart[1] < apart[0], "which are not pushed apart"
    with pytest.raises(BadInput, match="vectors of 8 to a target's; it needs as many, not 6"):
        mlem(source, target=encoders.for_source(source, dim=6))


def test_a_missing_number_costs_nothing(source):
    method = mlem(source).eval()
    batch = next(source.loader(24))
    h = torch.randn(24, 8)
    before = method.decoder.errors(method.encoder, h, batch, 0.05)["numbers"]
    states, seen = method.decoder.states(h, method.encoder.events(batch), batch.offsets)
    values, missing = method.encoder.values(batch)
    guess = method.decoder.numbers(states[seen])[:, 0]
    known = ~missing[:, 0]
    torch.testing.assert_close(before, (guess - values[:, 0])[known].square().mean())


@pytest.mark.parametrize(("key", "options"), [("coles", {}), ("simclr", {"lr": 1e-3, "optimizer": "adamw"})])
def test_learn_load_embed_and_store_work_on_histories(source, key, options, tmp_path):
    run = vergence.learn(
        key,
        source,
        epochs=1,
        out=tmp_path / "run",
        encoder_options={"dim": 8},
        quiet=True,
        precision="fp32",
        **options,
    )
    result = embed(vergence.load(tmp_path / "run"), source).vectors
    np.testing.assert_allclose(result, embed(run.encoder, source).vectors, rtol=1e-5, atol=1e-6)
    store = run.embed(source.uri)
    assert len(store) == len(source) and store.names[:2] == ["0", "1"]


def test_pair_gives_two_slices_of_everyone(source):
    first, second = pair(shortest=2, longest=5)(next(source.loader(10)))
    assert len(first) == len(second) == 10 and first.lengths.max() <= 5
