"""Lists of edges as people and programs write them: names, weights, times, and what is said of them."""

import os
import re

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.edges import numbered

RING = [(i, (i + 1) % 20) for i in range(20)]


def read(tmp_path, text, name="a.edgelist", scheme="", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return vergence.open(f"{scheme}{path}" + (f"?{query}" if query else ""))


def edges_of(source):
    """Return the edges of an undirected graph by the names of their ends."""
    names = source.names
    return {frozenset((names[a], names[b])) for a, b in source.data.edge_index.T.tolist()}


def ring(line="{} {}\n", head=""):
    return head + "".join(line.format(a, b) for a, b in RING)


WANTED = {frozenset((str(a), str(b))) for a, b in RING}


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (ring(), ""),
        (ring().encode("utf-8-sig"), ""),
        (ring().encode("utf-16"), ""),
        (ring().replace("\n", "\r\n"), ""),
        (ring("{},{}\n", "source,target\n"), "line 1 was read as a header: source, target"),
        (ring("{};{}\n", "Id;Friend\n"), "line 1 was read as a header: id, friend"),
        (ring("{}\t{}\n", "# FromNodeId\tToNodeId\n"), ""),
        (ring("{} {} {{}}\n"), ""),
        (ring("{} {} {{'kind': 'x'}}\n"), "what else than a weight"),
        (ring("{}.0,{}.0\n"), ""),
        (ring("{}, {}  # seen\n"), ""),
        (ring("{}|{}\n"), ""),
        (ring('"{}";"{}"\n'), ""),
    ],
)
def test_the_same_ring_is_read_from_every_spelling(tmp_path, text, noted):
    source = read(tmp_path, text)
    assert edges_of(source) == WANTED and list(source.names) == [str(i) for i in range(20)]
    assert "edge_weight" not in source.data
    assert len(source.notes) == bool(noted) and noted in "".join(source.notes)


def test_ids_above_2_to_the_53_stay_apart(tmp_path):
    base = 1_500_000_000_000_000_000
    names = [str(base + i) for i in range(40)] + [str(10**25 + i) for i in range(40)]
    text = "".join(f"{a} {b}\n" for a, b in zip(names, names[1:], strict=False))
    assert list(read(tmp_path, text).names) == names
    text = "".join(f"{a} {b} 0.5\n" for a, b in zip(names[:40], names[1:40], strict=False))
    source = read(tmp_path, text)
    assert list(source.names) == names[:40] and set(source.csr.weights.tolist()) == {0.5}


def test_leading_zeros_tell_nodes_apart(tmp_path):
    source = read(tmp_path, "01 02\n1 01\n10 1\n")
    assert list(source.names) == ["01", "1", "02", "10"] and len(edges_of(source)) == 3


def test_names_may_hold_blanks_commas_and_umlauts(tmp_path):
    towns = read(tmp_path, "New York\tLos Angeles\nKöln\tNew York\n")
    assert edges_of(towns) == {frozenset(("New York", "Los Angeles")), frozenset(("New York", "Köln"))}
    people = read(tmp_path, 'from,to,weight\n"Smith, J","Doe, A",3\n"Doe, A",C#,1\n')
    assert set(people.names) == {"Smith, J", "Doe, A", "C#"}
    old = read(tmp_path, "Köln Bonn\n".encode("latin-1"))
    assert "Köln" in old.names and "Windows-1252 (latin-1)" in old.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        ring("{} {} 2.5\n"),
        ring("{},{},2.5\n", "source,target,weight\n"),
        ring("{} {} {{'weight': 2.5}}\n"),
        ring("2.5;{};{}\n", "w;from;to\n"),
        ring("{};{};2,5\n"),
        ring("{} {} 2.5 1700000000\n", "% sym weighted\n"),
    ],
)
def test_weights_are_found(tmp_path, text):
    source = read(tmp_path, text)
    assert edges_of(source) == WANTED and set(source.csr.weights.tolist()) == {2.5}


def test_times_are_no_weights(tmp_path):
    text = "".join(f"{a} {b} {1_700_000_000 + 60 * a}\n" for a, b in RING)
    source = read(tmp_path, text)
    assert "edge_weight" not in source.data
    assert "column 3 was taken for times and left out: temporal:FILE reads them" in source.notes


def times(source):
    names = source.names
    return {
        (names[a], names[b]): time
        for (a, b), time in zip(
            source.data.edge_index.T.tolist(), source.data.edge_time.tolist(), strict=True
        )
    }


@pytest.mark.parametrize("unit", [1, 10**3, 10**9])
@pytest.mark.parametrize("order", ["{a} {b} {t}", "{a} {b} 1 {t}", "{a},{b},{t},0.5"])
def test_times_since_1970_stay_apart(tmp_path, unit, order):
    when = {(str(a), str(b)): 1_700_000_000 * unit + a for a, b in RING}
    lines = [order.format(a=a, b=b, t=t) for (a, b), t in when.items()]
    source = read(tmp_path, "\n".join(lines), "t.csv", "temporal:")
    assert source.times.tolist() == sorted(when.values())
    assert {pair: times(source)[pair] for pair in when} == when
    assert source.until(1_700_000_000 * unit + 4).num_edges == 2 * 5
    assert ("edge_weight" in source.data) == (order != "{a} {b} {t}")


def test_dates_become_seconds_and_an_edge_seen_again_keeps_its_first_time(tmp_path):
    text = "from,to,when\na,b,1970-01-02 00:00:00\nb,a,1970-01-01 00:00:05\nb,c,1970-01-01 00:00:09\n"
    source = read(tmp_path, text, "t.csv", "temporal:")
    assert times(source) == {("a", "b"): 5, ("b", "a"): 5, ("b", "c"): 9, ("c", "b"): 9}


def test_columns_can_be_named(tmp_path):
    text = "7 1 2 9\n8 2 3 4\n"
    source = read(tmp_path, text, scheme="edges:", columns="-,source,target,weight")
    assert list(source.names) == ["1", "2", "3"] and source.csr.weights.tolist() == [9, 9, 4, 4]
    assert source.reading == "source column 2, target column 3, weight column 4, column 1 left out (as named)"
    source = read(tmp_path, text, scheme="temporal:", columns="time,source,target,-")
    assert source.times.tolist() == [7, 8] and "edge_weight" not in source.data
    assert vergence.open(source.uri).times.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("scheme", "options", "said"),
    [
        ("", {}, "the first has 5 entries. Name them: columns=source"),
        ("edges:", {"columns": "source,target,wait,-,-"}, "did you mean 'weight'"),
        ("edges:", {"columns": "source,target"}, "names 2 columns, but a line has 5 entries"),
        ("edges:", {"columns": "source,source,-,-,-"}, "needs source, target once each"),
        ("temporal:", {"columns": "source,target,-,-,-"}, "needs source, target, time once each"),
        ("edges:", {"colums": "source"}, "did you mean 'columns'"),
        ("edges:", {"features": "none.csv"}, "there is no file none.csv of features"),
    ],
)
def test_wrong_columns_are_one_line(tmp_path, scheme, options, said):
    with pytest.raises(BadInput, match=re.escape(said)) as error:
        read(tmp_path, "a b 1 2 3\n", scheme=scheme, **options)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(
    "name", ["x.edgelist", "temporal:x.csv", "edges:x.csv", "hyper:x.txt", "x.mat", "x.npy"]
)
def test_a_pipe_is_refused_and_hangs_nobody(tmp_path, name):
    scheme, _, file = name.rpartition(":")
    os.mkfifo(tmp_path / file)
    with pytest.raises(BadInput, match="regular file|Nothing found"):
        vergence.open(f"{scheme}:{tmp_path / file}" if scheme else tmp_path / file)


def test_every_line_is_an_edge_or_noted(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{a} {b}" for a, b in rng.integers(0, 12, (200, 2)).tolist()]
    source = read(tmp_path, "# by hand\nfrom to\n" + "\n".join(lines) + "\n\n")
    noted = sum(
        int(re.match(r"[\d,]+", note).group()) for note in source.notes if "joined" in note or "both" in note
    )
    assert len(edges_of(source)) + noted == 200
    assert "line 2 was read as a header: from, to" in source.notes


def test_numbers_are_in_their_order_and_names_in_theirs():
    assert numbered(np.array(["10", "9", "-1"]))[0] == ["-1", "9", "10"]
    names, place = numbered(np.array(["2.0", "1", "2"]))
    assert names == ["1", "2"] and place.tolist() == [1, 0, 1]
    assert numbered(np.array(["b", "10", "9"]))[0] == ["10", "9", "b"]
    assert numbered(np.array([3, 1, 3]))[0] == ["1", "3"]


def test_graphml_says_what_it_left_out(tmp_path):
    graph = nx.path_graph(4)
    for node in graph:
        graph.nodes[node].update(club="ab"[node % 2], size=node, town=f"t{node}")
    graph.nodes[0]["once"] = 1
    graph.add_node(4, club="a", size=0, town="x")
    nx.write_graphml(graph, tmp_path / "a.graphml")
    source = vergence.open(tmp_path / "a.graphml")
    assert source.x[:, 0].tolist() == [0, 1, 2, 3, 0] and source.classes == ["a", "b"]
    assert source.reading.startswith("label club; numeric size; left out town (of words")
    assert "once (" in source.reading and "1 nodes have no edges" in source.notes


def nodes(tmp_path, text, name="nodes.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_edges_features_and_labels_are_one_graph(tmp_path):
    features = nodes(tmp_path, "node;age;flag;town;born\n" + "".join(
        f"{n};{a};{f};{t};1990-01-0{n[1]}\n" for n, a, f, t in
        [("p1", "10,5", 1, "Rome"), ("p2", "?", 0, "Oslo"), ("p3", "20,5", 1, "Rome"), ("p9", "15,5", 0, "")]
    ))  # fmt: skip
    labels = nodes(tmp_path, "node,class\np1,red\np3,blue\n", "labels.csv")
    text = "p1,p2\np2,p3\np3,p4\n"
    source = read(tmp_path, text, "e.csv", "edges:", features=features, labels=labels)
    assert list(source.names) == ["p1", "p2", "p3", "p4", "p9"]
    age = [-np.sqrt(1.5), 0, np.sqrt(1.5), 0, 0]  # mean 15.5
    wanted = np.stack([age, [1, 0, 1, 0, 0], [1, 0, 1, 0, 0], [0, 1, 0, 0, 0]], axis=1)
    np.testing.assert_allclose(source.x.numpy(), wanted, atol=1e-6)
    assert source.labels.tolist() == [1, -1, 0, -1, -1] and source.classes == ["blue", "red"]

    assert source.reading == (
        "source column 1, target column 2 (by place); node node; "
        "numeric age (10,5 is 10.5, '?' is missing in 1 rows), flag; categorical town (2 values); "
        "left out born (a time)"
    )
    assert [note for note in source.notes if "have no" in note] == [
        f"1 nodes have no row in {features}: their features are 0", "1 nodes have no edges"
    ]  # fmt: skip
    assert torch.equal(vergence.open(source.uri).x, source.x)


def test_the_label_may_be_a_column_of_the_features(tmp_path):
    features = nodes(tmp_path, "id,x,subject\n1,0.5,a\n2,1.5,b\n3,2.5,\n")
    source = read(tmp_path, "1 2\n2 3\n", scheme="edges:", features=features, labels="subject")
    assert source.labels.tolist() == [0, 1, -1] and source.x.shape == (3, 1)


def test_the_index_of_a_data_frame_may_name_the_nodes(tmp_path):
    frame = pa.table({"x": [0.5, 1.5, None], "__index_level_0__": [3, 1, 2]})
    pq.write_table(frame, tmp_path / "n.parquet")
    source = read(tmp_path, "1 2\n2 3\n", scheme="edges:", features=tmp_path / "n.parquet")
    assert source.x[:, 0].tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("table", "said"),
    [("id,x\n1,2\n1,3\n", "has a node twice"), ("id,day\n1,2024-01-01\n", "no column of numbers")],
)
def test_features_that_cannot_be_used_are_one_line(tmp_path, table, said):
    with pytest.raises(BadInput, match=said) as error:
        read(tmp_path, "1 2\n", scheme="edges:", features=nodes(tmp_path, table))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"), [("9 x\n", "labels node '9'"), ("1 x\n1 y\n", "gives a node two classes")]
)
def test_labels_that_do_not_fit_are_one_line(tmp_path, text, said):
    (tmp_path / "a.labels").write_text(text)
    with pytest.raises(BadInput, match=said):
        read(tmp_path, "1 2\n2 3\n")
