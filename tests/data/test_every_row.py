"""The law of reading: what became samples, what was skipped and what is noted are all rows of the input."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import vergence

N = 200


def counted(notes):
    """Return how many rows the notes speak of; they begin with the number."""
    return sum(
        int(result.group().replace(",", "")) for note in notes if (result := re.match(r"[\d,]+ ", note))
    )


def broken(lines):
    """Return lines of which some have a cell too many."""
    return [f"{line},9" if i % 20 == 3 else line for i, line in enumerate(lines)]


def people():
    rng = np.random.default_rng(0)
    return [
        f"{a},{b}" for a, b in zip(rng.normal(size=N).round(3), rng.choice(["x", "y", ""], N), strict=True)
    ]


def events():
    rng = np.random.default_rng(0)
    return [f"{u},{t}" for u, t in zip(rng.choice(["u1", "u2", ""], N), rng.integers(0, 99, N), strict=True)]


def links(extra=""):
    rng = np.random.default_rng(0)
    return [f"{a},{b}{extra.format(i)}" for i, (a, b) in enumerate(rng.integers(0, 15, (N, 2)).tolist())]


def edges_in(source):
    a, b = source.data.edge_index.tolist()
    return len({(min(pair), max(pair)) for pair in zip(a, b, strict=True)})


def as_parquet(path):
    pq.write_table(pa.csv.read_csv(path), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("form", ["csv", "parquet", "two files"])
def test_rows_of_a_table(tmp_path, form):
    path = tmp_path / "t.csv"
    path.write_text("v,w\n" + "\n".join(people() if form == "parquet" else broken(people())) + "\n\n")
    if form == "two files":
        (tmp_path / "u.csv").write_text("v,w\n" + "\n".join(broken(people())))
    where = {"csv": path, "two files": f"{tmp_path}/*.csv"}.get(form) or as_parquet(path)
    source = vergence.open(f"table:{where}")
    noted = sum(int(n) for note in source.notes for n in re.findall(r"(\d+) lines have", note))
    assert len(source) + len(source.skipped.reasons) + noted == N * (2 if form == "two files" else 1)
    assert (noted > 0) == (form != "parquet")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_of_an_event_log(tmp_path, form):
    path = tmp_path / "t.csv"
    path.write_text("user,ts\n" + "\n".join(events() if form == "parquet" else broken(events())))
    source = vergence.open(f"events:{path if form == 'csv' else as_parquet(path)}?id=user&time=ts")
    notes = [note for note in source.notes if "left out" in note]
    assert len(source.log.time) + len(source.skipped.reasons) + counted(notes) == N
    assert source.log.offsets[-1] == len(source.log.time) and len(notes) == (2 if form == "csv" else 1)


@pytest.mark.parametrize(
    ("scheme", "name", "extra"),
    [
        ("", "a.edgelist", ""),
        ("", "a.edgelist", ",1.5"),
        ("edges:", "a.csv", ",x,{}"),
        ("temporal:", "a.csv", ",{}"),
    ],
)
def test_lines_of_a_list_of_edges(tmp_path, scheme, name, extra):
    (tmp_path / name).write_text("# by hand\n" + "\n".join(links(extra)))
    columns = "?columns=source,target,-,-" if "x" in extra else ""
    source = vergence.open(f"{scheme}{tmp_path / name}{columns}")
    joined = [note for note in source.notes if "joined" in note or "both ways" in note]
    assert edges_in(source) + counted(joined) == N and len(joined) == 2


def test_members_of_hyperedges(tmp_path):
    rng = np.random.default_rng(0)
    lines = [" ".join(map(str, rng.integers(0, 9, 4))) for _ in range(N)]
    (tmp_path / "h.txt").write_text("% by hand\n\n" + "\n".join(lines))
    source = vergence.open(f"hyper:{tmp_path}/h.txt")
    assert source.data.num_hyperedges == N
    again = [note for note in source.notes if "names again" in note]
    assert source.data.hyperedge_index.shape[1] + counted(again) == 4 * N and len(again) == 1


def test_rows_of_a_table_of_molecules(tmp_path):
    pytest.importorskip("rdkit")
    rows = ["none" if i % 20 == 3 else "C" * (i % 5 + 1) for i in range(N)]
    (tmp_path / "m.csv").write_text("smiles,y\n" + "".join(f"{row},{i}\n" for i, row in enumerate(rows)))
    source = vergence.open(f"smiles:{tmp_path}/m.csv:y")
    assert len(source) + len(source.skipped.reasons) == N and len(source) < N


def test_nodes_of_edges_and_of_features(tmp_path):
    (tmp_path / "e.csv").write_text("\n".join(links()))
    (tmp_path / "f.csv").write_text("node,x\n" + "".join(f"{i},{i / 7}\n" for i in range(10, 25)))
    source = vergence.open(f"edges:{tmp_path}/e.csv?features={tmp_path}/f.csv")
    bare = [note for note in source.notes if "have no row" in note]
    assert len(source) == 25 and (source.x != 0).sum() == 15 and counted(bare) == 10
