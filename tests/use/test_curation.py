"""One function curates by either paper, and says what it kept in types."""

import numpy as np
import pytest

import vergence
from vergence.core import BadInput
from vergence.store.table import Store
from vergence.use import hkmeans, sas
from vergence.use.curation import Curation


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    vectors = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
    vectors[:60] = 0.1 * vectors[:60] + 1  # three quarters are of one kind
    path = tmp_path_factory.mktemp("curation") / "s.lance"
    return Store.create(path, None, vectors, ids=[f"r{i}" for i in range(80)])


def test_curate_keeps_what_the_papers_functions_keep(store):
    balanced, useful = vergence.curate(store, 0.25), vergence.curate(store, 20, method="sas", seed=3)
    assert balanced.rows.tolist() == hkmeans.curate(store, 20).rows.tolist()
    assert useful.rows.tolist() == sas.select(store, 20, seed=3).rows.tolist()
    for kept in (balanced, useful):
        assert len(kept) == 20 and kept.ids == [f"r{row}" for row in kept.rows]
        assert kept.before.sum() == 80 and kept.after.sum() == 20


def test_evenness_is_the_entropy_of_the_sizes_as_a_share_of_the_most(store):
    kept = vergence.curate(store.path, 0.25)
    for sizes, evenness in zip((kept.before, kept.after), kept.evenness, strict=True):
        shares = sizes[sizes > 0] / sizes.sum()
        assert evenness == pytest.approx(-(shares * np.log(shares)).sum() / np.log(len(sizes)))
    rows = np.arange(6)
    assert Curation(rows, [], np.array([0, 0, 1, 1, 2, 2])).evenness == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("keep", "method", "said"),
    [
        (0, "hkmeans", r"a share in \(0, 1\] or a whole number from 2 on; got 0"),
        (2.5, "sas", "got 2.5"),
        (81, "hkmeans", "81"),
        (0.5, "hkmean", "Unknown way to curate 'hkmean'; did you mean 'hkmeans'"),
    ],
)
def test_what_cannot_be_kept_is_one_line(store, keep, method, said):
    with pytest.raises(BadInput, match=said):
        vergence.curate(store, keep, method=method)
