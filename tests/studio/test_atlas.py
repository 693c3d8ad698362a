"""``vergence export --atlas``: the Parquet file that embedding-atlas opens."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from vergence.cli import main
from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio import atlas
from vergence.studio.atlas import AROUND, export_atlas, near_rows
from vergence.studio.cache import fingerprint
from vergence.studio.projection import NOWHERE, Projection


def test_the_file_has_the_columns_that_embedding_atlas_reads(store, tmp_path, capsys):
    out = tmp_path / "atlas.parquet"
    assert main(["export", str(store.path), "--atlas", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == len(store)
    assert said["open"] == (
        f"embedding-atlas {out} --x projection_x --y projection_y --neighbors __neighbors"
    )
    table = parquet.read_table(out)
    assert table["id"].to_pylist() == store.names and "vector" not in table.schema.names
    assert {"camera", "light", "class", "label", "uri"} <= set(table.schema.names)
    unit = store.directions().astype(np.float64)
    cosine = unit @ unit.T
    for row, near in enumerate(table["__neighbors"].to_pylist()):
        assert near["ids"][0] == row and near["distances"][0] == 0
        assert len(near["ids"]) == len(set(near["ids"])) == AROUND == len(near["distances"])
        others = np.sort(1 - np.delete(cosine[row], row))[: AROUND - 1]
        assert near["distances"][1:] == pytest.approx(np.maximum(others, 0), abs=1e-5)
        assert (1 - cosine[row, near["ids"][1:]]) == pytest.approx(near["distances"][1:], abs=1e-5)


def test_x_and_y_are_the_studios_map(store, tmp_path):
    export_atlas(store, tmp_path / "atlas.parquet")
    kept = Projection(store, "vector", fingerprint(store, "vector"))
    assert kept.final  # the studio need not lay it out again
    table = parquet.read_table(tmp_path / "atlas.parquet")
    points = np.stack([table[name].to_numpy() for name in ("projection_x", "projection_y")], 1)
    assert points == pytest.approx(kept.now[0] / (NOWHERE - 1), abs=1e-6)
    assert points.min() == 0 and points.max() == 1


def test_pictures_are_structs_of_bytes_and_rows_without_one_have_none(store, tmp_path):
    export_atlas(store, tmp_path / "atlas.parquet")
    pictures = parquet.read_table(tmp_path / "atlas.parquet")["thumbnail"].to_pylist()
    assert pictures[-3:] == [None] * 3  # appended without a source
    assert Image.open(io.BytesIO(pictures[0]["bytes"])).size == (16, 16)
    assert pictures[0]["path"] == store.names[0]


def test_a_condition_leaves_rows_out_and_neighbours_count_in_the_file(store, tmp_path):
    made = export_atlas(store, tmp_path / "atlas.parquet", where="label = 1")
    rows = store.where("label = 1")
    table = parquet.read_table(tmp_path / "atlas.parquet")
    assert made.rows == len(rows) == len(table)
    assert table["id"].to_pylist() == [store.names[row] for row in rows]
    assert max(max(near["ids"]) for near in table["__neighbors"].to_pylist()) < len(rows)


def test_rows_without_a_vector_are_left_out(store, tmp_path):
    some = store.names[5:25]
    store.add_vectors("other", np.random.default_rng(0).standard_normal((20, 4)), ids=some)
    assert export_atlas(store, tmp_path / "atlas.parquet", column="other").rows == 20
    table = parquet.read_table(tmp_path / "atlas.parquet")
    assert table["id"].to_pylist() == some and "other" not in table.schema.names


def test_cells_find_nearly_what_all_comparisons_find(monkeypatch):
    drawn = np.random.default_rng(0)
    vectors = drawn.standard_normal((40, 8)).repeat(50, 0) + 0.3 * drawn.standard_normal((2000, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    truth = near_rows(unit)[0]
    monkeypatch.setattr(atlas, "_EXACT", 100)
    rows, distances = near_rows(unit)
    assert (rows[:, 0] == np.arange(2000)).all() and (distances[:, 0] == 0).all() and (rows >= 0).all()
    assert (rows[:, :, None] == truth[:, None]).any(2).mean() > 0.9
    assert (np.diff(distances, axis=1) >= 0).all()


def test_every_row_is_its_own_first_neighbour_among_equal_ones():
    rows, distances = near_rows(np.repeat(np.eye(2, dtype=np.float32), 40, 0))
    assert (rows[:, 0] == np.arange(80)).all() and (distances == 0).all()
    assert all(len(set(line)) == AROUND for line in rows.tolist())
    rows, distances = near_rows(np.zeros((4, 3), np.float32))
    assert (rows[:, 0] == np.arange(4)).all() and distances[:, 1:].tolist() == [[1] * 3] * 4


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(store, tmp_path, capsys):
    path = str(store.path)
    for words, line in (
        (["--atlas", str(tmp_path / "a.csv")], "ends in .parquet"),
        (["--atlas", str(tmp_path / "a.parquet"), "--where", "id = 'nobody'"], "No row"),
        (["--atlas", str(tmp_path / "a.parquet"), "--column", "vectr"], "did you mean 'vector'"),
        (["b.parquet", "--atlas", str(tmp_path / "a.parquet")], "leave FILE"),
        ([str(tmp_path / "a.parquet"), "--column", "vector"], "--column with --atlas"),
    ):
        assert main(["export", path, *words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and line in said
    assert list(tmp_path.glob("*a.*")) == []
    store.set_column("projection_x", np.zeros(len(store)))
    with pytest.raises(BadInput, match="projection_x already"):
        export_atlas(Store.open(path), tmp_path / "a.parquet")
