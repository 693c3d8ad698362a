"""Search against slow, obvious derivations."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vergence
from vergence.core.errors import BadInput
from vergence.store.table import INDEX_FROM, Store
from vergence.use.copies import duplicates
from vergence.use.nearest import search


def cosines(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def made(tmp_path, vectors, **options):
    return Store.create(
        tmp_path / "s.lance", None, vectors, ids=[f"r{i}" for i in range(len(vectors))], **options
    )


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)


def test_a_row_finds_its_nearest_but_not_itself(tmp_path, vectors):
    store = made(tmp_path, vectors)
    hits = search(store, "r7", k=5)
    similarity = cosines(vectors)[7]
    similarity[7] = -2
    expected = np.argsort(-similarity)[:5]
    assert hits.rows[0].tolist() == expected.tolist()
    assert hits.ids == [[f"r{i}" for i in expected]]
    np.testing.assert_allclose(hits.scores[0], similarity[expected], rtol=1e-5)
    assert search(str(store.path), 7, k=5).ids == hits.ids, "by row and by path alike"


def test_vectors_find_rows_and_conditions_are_kept(tmp_path, vectors):
    store = made(tmp_path, vectors, metadata={"even": [i % 2 == 0 for i in range(60)]})
    hits = search(store, vectors[[3, 4]], k=4, where="even")
    assert hits.rows.shape == (2, 4) and (hits.rows % 2 == 0).all()
    assert hits.rows[1, 0] == 4 and hits.scores[1, 0] == pytest.approx(1)
    few = search(store, vectors[3], k=4, where="id IN ('r5', 'r9')")
    assert (
        sorted(few.rows[0]) == [-1, -1, 5, 9] and len(few.ids[0]) == 2 and np.isnan(few.scores[0, 2:]).all()
    )


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_a_query_that_is_not_finite_is_told(tmp_path, vectors, metric):
    queries = vectors[:3].copy()
    queries[1, 2] = np.nan
    with pytest.raises(BadInput, match=r"not finite, in row 1\."):
        search(made(tmp_path, vectors), queries, metric=metric)


def test_zeros_are_like_nothing_by_cosine_and_near_by_distance(tmp_path, vectors):
    vectors[:2] = 0
    store = made(tmp_path, vectors)
    hits = search(store, 0, k=4)
    assert hits.rows.tolist() == [[-1] * 4] and hits.ids == [[]] and np.isnan(hits.scores).all()
    assert search(store, 0, k=1, metric="euclidean").ids == [["r1"]]


def test_a_second_model_is_searched_where_it_has_vectors(tmp_path, vectors):
    store = made(tmp_path, vectors)
    store.add_vectors("vector_b", vectors[:3, :2], ids=["r10", "r20", "r30"])
    hits = search(store, vectors[1, :2], k=5, column="vector_b")
    assert hits.rows[0, 0] == 20 and set(hits.rows[0]) == {10, 20, 30, -1}


def test_an_image_finds_its_like(tmp_path):
    class Mean(nn.Module):
        size = 8

        def forward(self, pixels):
            return pixels.mean((2, 3))

    colours = np.eye(3, dtype=np.float32) * 255
    store = made(tmp_path, colours)
    Image.new("RGB", (8, 8), (0, 200, 0)).save(tmp_path / "green.png")
    assert search(store, str(tmp_path / "green.png"), k=1, encoder=Mean()).ids == [["r1"]]
    with pytest.raises(BadInput, match=r"cannot tell its encoder: it does not say which. Pass the encoder"):
        search(store, tmp_path / "green.png")


def test_what_is_not_in_the_store_is_seen_by_the_encoder_that_the_store_remembers(tmp_path):
    digits = vergence.open("digits").subset(range(60))
    run = vergence.learn(
        "simclr", digits, encoder="resnet-tiny", encoder_options={"width": 4}, epochs=1, batch_size=30,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    store = run.embed(digits)
    pixels = digits.sample(7)
    Image.fromarray(pixels).save(tmp_path / "seven.png")
    wanted = digits.names[7]
    others = search(store, wanted, k=60).ids
    assert len(others[0]) == 59 and wanted not in others[0]
    assert search(store, 7, k=60).ids == search(store, np.int64(7), k=60).ids == others
    for query in (
        store.vectors()[7], store.vectors()[7].tolist(), tmp_path / "seven.png", str(tmp_path / "seven.png"),
        Image.fromarray(pixels), pixels, torch.from_numpy(pixels), torch.from_numpy(pixels).permute(2, 0, 1),
    ):  # fmt: skip
        assert search(store, query, k=1).ids == [[wanted]]
    assert [ids[0] for ids in search(store, [Image.fromarray(pixels), digits.sample(3)], k=1).ids] == [
        wanted, digits.names[3],
    ]  # fmt: skip
    assert search(store, digits.subset([7, 3]), k=1, encoder=run.path).rows[:, 0].tolist() == [7, 3]
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    moved = Store.open(tmp_path / "elsewhere" / "embeddings.lance")
    with pytest.raises(
        BadInput, match="the encoder of vector was .*run, which is not there. Pass the encoder"
    ):
        search(moved, pixels)
    assert search(moved, pixels, k=1, encoder=tmp_path / "elsewhere").ids == [[wanted]]
    for strange, said in (
        ("none.png", "has no row 'none.png'"), (tmp_path / "none.png", "There is no image file"),
        (None, "cannot read a NoneType"), (np.zeros((4, 4, 3), np.uint16), "got uint16"),
        (99, "rows 0 to 59"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=said):
            search(moved, strange, encoder=run)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A store that is just large enough for an index, and its vectors: 50 groups in 16 dimensions."""
    generator = np.random.default_rng(0)
    n = INDEX_FROM + 500
    x = generator.standard_normal((50, 16))[np.arange(n) % 50] + generator.standard_normal((n, 16))
    x = x.astype(np.float32)
    return made(tmp_path_factory.mktemp("large"), x, metadata={"odd": np.arange(n) % 2 == 1}), x


@pytest.mark.parametrize(("queries", "kind"), [(30, "hnsw"), (30, "pq"), (50, None)])
def test_an_index_finds_nearly_all_true_neighbours_and_says_so(large, queries, kind):
    store, x = large
    if kind:
        recall = store.index(kind=kind)
        assert store.has_index() and store.recall() == pytest.approx(recall, abs=1e-4)
    exact, quick = search(store, x[:queries], k=10), search(store, x[:queries], k=10, exact=False)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.rows, quick.rows, strict=True)])
    assert recall > 0.9 and quick.recall >= 0.95 and exact.recall is None
    assert (np.diff(quick.scores, axis=1) <= 0).all()
    np.testing.assert_allclose(quick.scores[:, 0], 1, rtol=1e-5)


@pytest.mark.parametrize("queries", [30, 40])
@pytest.mark.parametrize("where", ["odd", "id IN ('r1', 'r2', 'r3')"])
def test_an_index_keeps_conditions(large, queries, where):
    store, x = large
    quick = search(store, x[:queries], k=5, exact=False, where=where)
    exact = search(store, x[:queries], k=5, where=where)
    if where == "odd":
        assert (quick.rows % 2 == 1).all()
        assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact.rows, quick.rows, strict=True)]) > 0.85
    else:
        assert [set(line) for line in quick.rows] == [{1, 2, 3, -1}] * queries


def test_an_index_stays_right_when_rows_go(tmp_path, large):
    _, x = large
    store = made(tmp_path, x)
    assert 3 not in search(store, "r3", k=5, exact=False).rows
    store.delete(["r0"])
    for queries in (x[5:6], x[5:50]):
        moved = search(store, queries, k=1, exact=False)
        assert moved.ids[0] == ["r5"] and moved.rows[0].tolist() == [4]


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda s: search(s, "r99"), "no row 'r99'"),
        (lambda s: search(s, 60), "rows 0 to 59; row 60"),
        (lambda s: search(s, np.ones(3)), "The query has 3 values, vector of .* has 8"),
        (lambda s: search(s, "r1", k=0), "k of at least 1; got 0"),
        (lambda s: search("nowhere.lance", "r1"), "There is no store at nowhere.lance"),
    ],
)
def test_mistakes_are_told(tmp_path, vectors, ask, line):
    with pytest.raises(BadInput, match=line):
        ask(made(tmp_path, vectors))


def stores_with_a_crowd(tmp_path):
    """Rows 0 and 1 lie where everything lies, 2 and 3 where nothing does; both pairs are as alike."""
    background = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32) * 0.1
    background[:, 0] += 1
    rows = np.zeros((4, 6), np.float32)
    rows[0, :2] = rows[1, :2] = (1, 0.3)
    rows[1, 1] = -0.3
    rows[2, 4:] = rows[3, 4:] = (1, 0.3)
    rows[3, 5] = -0.3
    store = made(tmp_path, rows)
    return store, Store.create(tmp_path / "b.lance", None, background, ids=[f"b{i}" for i in range(40)])


def test_a_background_lowers_the_scores_of_what_is_like_everything(tmp_path):
    store, background = stores_with_a_crowd(tmp_path)
    plain, normal = (search(store, store.vectors(), k=4, background=b) for b in (None, background))
    assert (plain.rows == normal.rows).all()
    fallen = plain.scores - normal.scores
    np.testing.assert_allclose(fallen, fallen[:, :1] * np.ones((1, 4)), atol=1e-6)
    near = np.sort(cosines(np.concatenate([store.vectors(), background.vectors()]))[:4, 4:], 1)[:, -3:]
    np.testing.assert_allclose(fallen[:, 0], near.mean(1), rtol=1e-5)
    assert fallen[:2].min() > 0.8 > 0.3 > fallen[2:].max()


def test_a_background_must_fit_and_come_from_elsewhere(tmp_path):
    store, background = stores_with_a_crowd(tmp_path)
    narrow = Store.create(tmp_path / "n.lance", None, np.ones((4, 2), np.float32), ids=list("abcd"))
    with pytest.raises(BadInput, match="from elsewhere"):
        search(store, 0, background=str(store.path))
    with pytest.raises(BadInput, match="has 2 values, of .* 6: embed both with one encoder"):
        duplicates(store, background=narrow)
    with pytest.raises(BadInput, match="by cosine; leave it out"):
        search(store, 0, metric="dot", background=background)
