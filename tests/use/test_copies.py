"""Near-duplicates of stores: the calibrated rule and the other ways, and what they refuse."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vergence.core.errors import BadInput
from vergence.data import open as open_source
from vergence.store.table import Store
from vergence.use.copies import duplicates


def made(tmp_path, vectors, **options):
    return Store.create(
        tmp_path / "s.lance", None, vectors, ids=[f"r{i}" for i in range(len(vectors))], **options
    )


def test_a_large_store_is_compared_in_cells(tmp_path, monkeypatch):
    import vergence.use.copies as module

    x = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    x[200] = x[3]
    store = made(tmp_path, x[:250])
    store.add_vectors("vector_b", x[:250:2], ids=[f"r{i}" for i in range(0, 250, 2)])
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    result = duplicates(store, threshold=0.999)
    assert result.pairs.tolist() == [[3, 200]] and [g.tolist() for g in result.groups] == [[3, 200]]
    assert result.recall == 1 and duplicates(store, threshold=0.999, exact=True).recall is None
    second = duplicates(store, threshold=0.999, column="vector_b")  # row 200 holds x[200], row 6 x[6]
    assert second.total == 0
    assert duplicates(store, threshold=0.6, column="vector_b").pairs.max() > 125, "rows of the store"


@pytest.mark.parametrize("exact", [True, False])
def test_vectors_of_zeros_are_copies_of_each_other_and_of_nothing_else(tmp_path, exact):
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    x[[3, 7, 20]], x[9] = 0, 2 * x[8]
    result = duplicates(made(tmp_path, x), threshold=0.9999, exact=exact)
    assert result.groups[0].tolist() == [3, 7, 20] and result.total == 4
    assert sorted(result.groups[1].tolist()) == [8, 9]


def test_nothing_alike_gives_nothing(tmp_path):
    result = duplicates(made(tmp_path, np.eye(5, dtype=np.float32)), threshold=0.5)
    assert (
        result.pairs.shape == (0, 2) and result.groups == [] and result.total == 0 and not len(result.surplus)
    )


def crowded(seed, n=500, copies=15):
    """Rows whose cosines are all near 1; the last ones are copies of the first ones."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 16)).astype(np.float32)
    x[n - copies :] = x[:copies] + 0.1 * random.standard_normal((copies, 16))
    return x + 20 * np.ones(16, np.float32)


def test_copies_are_told_from_strangers_where_all_cosines_are_high(tmp_path):
    x = crowded(0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert (unit @ unit.T).min() > 0.95
    result = duplicates(made(tmp_path, x))
    wanted = {(i, 485 + i) for i in range(15)}
    assert wanted <= {tuple(pair) for pair in result.pairs.tolist()} and result.total <= 16
    assert result.chance / result.total < 0.05 and result.recall is None
    a, b = result.pairs[3]
    assert result.similarity[3] == pytest.approx(unit[a] @ unit[b], abs=1e-5)


def test_where_nothing_is_a_copy_next_to_nothing_is_found(tmp_path):
    totals = []
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        totals.append(duplicates(made(tmp_path / str(seed), crowded(seed, copies=0))).total)
    assert sum(total > 0 for total in totals) <= 1, totals


def test_cells_find_the_same(tmp_path):
    store = made(tmp_path, crowded(1))
    exact, quick = duplicates(store), duplicates(store, exact=False)
    assert quick.recall > 0.9 and quick.total >= 0.9 * exact.total
    assert {tuple(p) for p in quick.pairs.tolist()} <= {tuple(p) for p in exact.pairs.tolist()}


def test_rows_without_the_vector_are_copies_of_nothing(tmp_path):
    x = crowded(2)
    store = made(tmp_path, x)
    seen = np.flatnonzero(np.arange(500) % 5 > 0)
    store.add_vectors("vector_b", x[seen], ids=[f"r{i}" for i in seen])
    result = duplicates(store, column="vector_b")
    wanted = [(i, 485 + i) for i in range(15) if i % 5 and (485 + i) % 5]
    assert set(wanted) <= {tuple(p) for p in result.pairs.tolist()}
    assert np.isin(result.pairs, seen).all() and np.isin(np.concatenate(result.groups), seen).all()


def test_many_equal_rows_are_one_group_and_a_collapsed_encoder_is_told(tmp_path):
    x = crowded(3)
    x[100:180] = x[100]
    result = duplicates(made(tmp_path, x))
    assert sorted(result.groups[0].tolist()) == list(range(100, 180)) and len(result.groups) <= 17
    (tmp_path / "same").mkdir()
    (tmp_path / "few").mkdir()
    with pytest.raises(BadInput, match="Has the encoder collapsed"):
        duplicates(made(tmp_path / "same", np.ones((100, 4), np.float32)))
    with pytest.raises(BadInput, match="16 rows are too few .* give a threshold"):
        duplicates(made(tmp_path / "few", x[:16]))


def smooth(random):
    """A photo, as far as its coarse shapes go."""
    small = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((60, 60), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """60 pictures and eight edited ones, and vectors that tell nothing."""
    random = np.random.default_rng(0)
    pictures = [smooth(random) for _ in range(60)]
    pictures += [ImageOps.mirror(pictures[0]), ImageOps.mirror(pictures[1])]
    pictures += [ImageEnhance.Brightness(picture).enhance(0.7) for picture in pictures[2:4]]
    pictures += [picture.resize((30, 30)) for picture in pictures[4:6]] + pictures[6:8]
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i:02d}.png")
    vectors = random.standard_normal((68, 8)).astype(np.float32)
    return Store.create(tmp_path / "p.lance", open_source(str(folder)), vectors)


def test_pictures_tell_copies_that_the_vectors_do_not_know(photos):
    edited = {(i, 60 + i) for i in range(8)}
    assert edited <= {tuple(p) for p in duplicates(photos).pairs.tolist()}
    assert duplicates(photos).total <= 9
    equal = duplicates(photos, by="pixels")
    assert equal.pairs.tolist() == [[6, 66], [7, 67]] and [g.tolist() for g in equal.groups] == [
        [6, 66],
        [7, 67],
    ]
    hashed = {tuple(p) for p in duplicates(photos, by="hash", threshold=10).pairs.tolist()}
    assert edited <= hashed and len(hashed) <= 9
    exactly = duplicates(photos, by="hash", threshold=0)
    assert {(6, 66), (7, 67)} <= {tuple(p) for p in exactly.pairs.tolist()} <= hashed
    assert exactly.similarity.min() == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"threshold": 1.5}, r"threshold is a cosine in \(0, 1\]; got 1.5"),
        ({"by": "neighbours", "threshold": 0.9}, "by='neighbours' needs none"),
        ({"by": "pixels"}, "no small pictures"),
        ({"by": "hash"}, "no small pictures"),
        ({"by": "hash", "threshold": 0.5}, "a number of bits, 0 to 63; got 0.5"),
        ({"by": "neighbour"}, "neighbours"),
        ({"chance": 0.0}, r"in \(0, 1\); got 0.0"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path, options, line):
    with pytest.raises(BadInput, match=line):
        duplicates(made(tmp_path, crowded(0, n=60)), **options)
