"""Names of clusters on the map: what they are by default, where they lie, and what people call them."""

from __future__ import annotations

import numpy as np
import pytest

from vergence.store.table import Store
from vergence.studio.cluster_names import cluster_names
from vergence.studio.projection import NOWHERE
from vergence.studio.session import Session

EVIL = "<img src=x onerror=alert(1)>"
ROWS = 120
OF = np.repeat([0, 1, 2], [60, 40, 20])


def made(path, *, texts=None):
    x = np.eye(3, dtype=np.float32)[OF] + 0.05 * np.random.default_rng(0).standard_normal((ROWS, 3))
    metadata = None if texts is None else {"caption": texts}
    ids = [f"folder/{i}.png" for i in range(ROWS)]
    session = Session(Store.create(path / "s.lance", None, x.astype(np.float32), ids=ids, metadata=metadata))
    session.groups.find(3)
    return session


def test_words_that_others_lack_name_a_cluster_and_people_rename_it(tmp_path):
    words = ["a boat at sea", "red house", f"{EVIL} dog"]
    session = made(tmp_path, texts=[f"{words[c]} photo {i}" for i, c in enumerate(OF)])
    shown = cluster_names(session)
    assert [one["typical"] for one in shown] == ["boat, sea", "house, red", "onerror, alert"]
    points = session.projection.now[0].astype(int)
    for c, one in enumerate(shown):  # its name lies among its own rows
        near = np.abs(points - [one["x"], one["y"]]).sum(1).argmin()
        assert OF[near] == c and one["usual"] == f"cluster {c + 1}" and one["name"] == ""
    session.groups.rename(1, EVIL)
    assert [one["name"] for one in cluster_names(session)] == ["", EVIL, ""]


def test_nothing_typical_leaves_numbers_and_clusters_without_a_place_are_left_out(tmp_path):
    session = made(tmp_path)
    assert [one["typical"] for one in cluster_names(session)] == ["", "", ""]
    points, how, stage = session.projection.now
    places = points.copy()
    places[OF == 2] = NOWHERE
    session.projection.now = places, how, stage
    assert [one["cluster"] for one in cluster_names(session)] == [0, 1]
    session.axes = ("x", "y")
    assert cluster_names(session) == []


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_the_class_of_most_rows_names_a_cluster(tmp_path, share):
    x = np.eye(3, dtype=np.float32)[OF] + 0.05 * np.random.default_rng(0).standard_normal((ROWS, 3))
    labels = np.array([0 if i % 10 < 10 * share else 1 + i % 7 for i in range(ROWS)])
    ids = [str(i) for i in range(ROWS)]
    store = Store.create(tmp_path / "s.lance", None, x.astype(np.float32), ids=ids, labels=labels)
    session = Session(store)
    session.groups.find(3)
    expected = "0" if share > 0.5 else ""
    assert [one["typical"] for one in cluster_names(session)] == [expected] * 3
